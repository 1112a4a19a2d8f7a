"""What was refused at the front door, in the log: of one camera so much at once, that one without end hides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog

from mdss.wire.headers import PASSING_CODES, WireRefusal

MOST_LINES, WITHIN_S = 100, 10.0  # of one camera; the counters count all, and each NACK has the reason
log = structlog.get_logger()


class RefusalLog:
    """Writes the lines, and a last one where there would be too many."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._since_s, self._lines = clock, float("-inf"), Counter[str | None]()

    def tell(self, source: str | None, refusal: WireRefusal) -> None:
        """Write one refusal; what passes by itself comes with every busy line."""
        if refusal.code in PASSING_CODES:
            log.debug("frame refused", source=source, frame=refusal.frame_id, code=refusal.code, reason=str(refusal))
            return
        if self._clock() - self._since_s > WITHIN_S:
            self._since_s, self._lines = self._clock(), Counter()
        self._lines[source] += 1
        if self._lines[source] <= MOST_LINES:
            log.warning("frame refused", source=source, frame=refusal.frame_id, code=refusal.code, reason=str(refusal))
        if self._lines[source] == MOST_LINES:
            log.warning("more of this camera is refused without a line here", source=source, within_s=WITHIN_S)
