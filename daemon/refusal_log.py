"""Logs refused frames, with a limit per camera, so that one camera's endless refusals do not hide everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog

from mdss.wire.headers import PASSING_CODES, WireRefusal

MOST_LINES, WITHIN_S = 100, 10.0  # per camera; counters count all refusals, and each NACK carries its reason
MOST_NAMES = 64  # on ipc a sender may use a new name each time: names beyond this number are counted as one
log = structlog.get_logger()


class LineCount:
    """Counts lines per camera within a time window."""

    def __init__(self, clock: Callable[[], float], within_s: float = WITHIN_S) -> None:
        self._clock, self._since_s, self._lines = clock, float("-inf"), Counter[str | None]()
        self._within_s = within_s

    def another(self, source: str | None) -> int:
        """Count one more line for a camera and return its number within the window."""
        if self._clock() - self._since_s > self._within_s:
            self._since_s, self._lines = self._clock(), Counter()
        counted = source if source in self._lines or len(self._lines) < MOST_NAMES else None
        self._lines[counted] += 1
        return self._lines[counted]


class RefusalLog:
    """Writes the log lines, and a final note where there would be too many."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._lines = LineCount(clock)

    def tell(self, source: str | None, refusal: WireRefusal) -> None:
        """Log one refusal; refusals that pass by themselves are logged at debug level only, because a busy line produces many."""
        if refusal.code in PASSING_CODES:
            log.debug("frame refused", source=source, frame=refusal.frame_id, code=refusal.code, reason=str(refusal))
            return
        line = self._lines.another(source)
        if line <= MOST_LINES:
            log.warning("frame refused", source=source, frame=refusal.frame_id, code=refusal.code, reason=str(refusal))
        if line == MOST_LINES:
            log.warning("further refusals of this camera are not logged", source=source, within_s=WITHIN_S)
