"""A gateway to a PLC in Python: says of each part whether it may pass, and when the line has to stop.

Run: python examples/gateway.py VERDICTS_ENDPOINT SNAPSHOT_ENDPOINT
"""

from __future__ import annotations

import signal
import sys
import time

from mdss.client import VerdictStream
from mdss.errors import MdssError

SILENCE_S = 3.0  # without a heartbeat, which the station sends once a second
T_S = 10.0  # as in the PLC, whose timer has ejected the part by then; an older OK could let a later part pass that has the same id by now


def write(words: str) -> None:
    """Print what a real gateway writes to the PLC's bus."""
    print(words, flush=True)


def main(endpoint: str, snapshot_endpoint: str) -> None:
    """Translate verdicts, by part_id. Anything but OK ejects; a part without a verdict is ejected by the PLC's own timer."""
    is_running, beats, heard_s = False, None, time.monotonic()
    write("stop")  # until the first heartbeat
    with VerdictStream(endpoint, snapshot_endpoint) as stream:
        while True:
            verdict = stream.receive(timeout_s=0.2)
            if stream.beats is not beats:
                beats, heard_s = stream.beats, time.monotonic()
            if is_running != (beats is not None and time.monotonic() - heard_s < SILENCE_S):
                is_running = not is_running
                write("run" if is_running else "stop")
            if verdict is None:
                continue
            age_s = time.time() - verdict.times.captured / 1e9
            if verdict.is_simulated:  # by `mdss replay`, or by a camera that tests the station: its id may be that of a part on the line
                print(f"gateway: not handed on: {verdict.part_id} is simulated, it is not on the line", file=sys.stderr)
            elif abs(age_s) > T_S:  # from the future comes no scan: where the camera's clock is ahead, nobody knows how old this one is
                when = f"{abs(age_s):.0f} s {'ago' if age_s > 0 else 'ahead'}"
                print(f"gateway: not handed on: {verdict.part_id}, by the camera's clock scanned {when}", file=sys.stderr)
            else:
                took_ms = (verdict.times.published - verdict.times.captured) / 1e6
                write(f"{'pass' if verdict.evaluation == 'OK' else 'eject'} {verdict.part_id} after {took_ms:.0f} ms")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/gateway.py VERDICTS_ENDPOINT SNAPSHOT_ENDPOINT")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except MdssError as error:  # no valid endpoint, or that of another program
        print(f"gateway: {error}", file=sys.stderr)
        sys.exit(2)
    finally:
        write("stop")  # from now on nobody tells the PLC of verdicts
