"""A subscriber in Python: prints each part that is not OK.

Run: python examples/subscriber.py VERDICTS_ENDPOINT SNAPSHOT_ENDPOINT [SINCE]
"""

from __future__ import annotations

import os
import sys

from mdss.client import VerdictStream
from mdss.errors import BadInput, MdssError


def main(endpoint: str, snapshot_endpoint: str, since: str = "0") -> None:
    """Follow the stream from a known sequence on. To go on there after a restart, store `verdict.sequence`."""
    if not since.isdecimal():
        raise BadInput(f"SINCE: found {since!r}, expected the sequence of a verdict, or 0")
    with VerdictStream(endpoint, snapshot_endpoint, since=int(since)) as stream:
        for verdict in stream:
            if verdict.evaluation != "OK":  # whatever is not OK is not accepted
                print(verdict.sequence, verdict.part_id, verdict.evaluation, verdict.score, "; ".join(verdict.reasons), flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: python examples/subscriber.py VERDICTS_ENDPOINT SNAPSHOT_ENDPOINT [SINCE]")
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has gone, as `| head` does
        os._exit(141)  # as a shell has it; without the last flush, which would fail, too
    except MdssError as error:  # no valid endpoint, or that of another program
        print(f"subscriber: {error}", file=sys.stderr)
        sys.exit(2)
