"""What was refused at the front door, in the log: of one camera so much at once, that one without end hides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog

from mdss.wire.headers import PASSING_CODES, WireRefusal

MOST_LINES, WITHIN_S = 100, 10.0  # of one camera; the counters count all, and each NACK has the reason
MOST_NAMES = 64  # on ipc a sender may call itself something else each time: those beyond are taken for one
log = structlog.get_logger()


class LineCount:
    """How often something has been said of each camera within a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._since_s, self._lines = clock, float("-inf"), Counter[str | None]()

    def another(self, source: str | None) -> int:
        """Count one line more of a camera, and return which one it is."""
        if self._clock() - self._since_s > WITHIN_S:
            self._since_s, self._lines = self._clock(), Counter()
        counted = source if source in self._lines or len(self._lines) < MOST_NAMES else None
        self._lines[counted] += 1
        return self._lines[counted]


class RefusalLog:
    """Writes the lines, and a last one where there would be too many."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._lines = LineCount(clock)

    def tell(self, source: str | None, refusal: WireRefusal) -> None:
        """Write one refusal; what passes by itself comes with every busy line."""
        if refusal.code in PASSING_CODES:
            log.debug("frame refused", source=source, frame=refusal.frame_id, code=refusal.code, reason=str(refusal))
            return
        line = self._lines.another(source)
        if line <= MOST_LINES:
            log.warning("frame refused", source=source, frame=refusal.frame_id, code=refusal.code, reason=str(refusal))
        if line == MOST_LINES:
            log.warning("more of this camera is refused without a line here", source=source, within_s=WITHIN_S)
