"""A camera that never pauses, for tests of what becomes of a station under load."""

from __future__ import annotations

import threading
from itertools import cycle

from demo.station import READY_WITHIN_S
from mdss.wire.verdict import Verdict
from tests.station import GOOD, PATIENCE_S, Station


class Load:
    """A camera in a thread that sends good parts without end, whatever becomes of the station."""

    def __init__(self, station: Station) -> None:
        self._station, self._stop = station, threading.Event()
        self.camera = station.camera("busy")
        self.camera.send_timeout_s = READY_WITHIN_S  # a station that is started anew gives no credit until it is ready
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def end(self) -> None:
        """Send no more, and wait for the last verdict."""
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        with self.camera as camera:
            for part in cycle(GOOD):
                self._station.send(camera, part)
                if self._stop.is_set():
                    break
            camera.wait_until_done(PATIENCE_S)


def ids(verdicts: list[Verdict]) -> list[str]:
    """Return the frames that verdicts are of, in order of name."""
    return sorted(verdict.frame_id for verdict in verdicts)
