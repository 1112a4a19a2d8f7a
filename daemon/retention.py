"""Forgets, once an hour, what is older than the settings keep: judged parts in the journal, their pictures, and scans in quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import structlog

from daemon.clock_watch import ClockWatch
from mdss.errors import MdssError

EVERY_NS, DAY_NS = 3600 * 10**9, 86_400 * 10**9
KEPT = ("evidence/*.png", "quarantine/*.json", "quarantine/rgb/*.png", "quarantine/xyz/*.tiff")  # in the state directory
log = structlog.get_logger()


class Prunable(Protocol):
    """What retention needs of the journal."""

    def prune(self, older_than_ns: int) -> int:
        """Forget some of the parts judged before this time and return how many; 0 when there is none left."""


class Retention:
    """Prunes in small steps, so that the line never waits long for the journal."""

    def __init__(self, journal: Prunable, state: Path, keep_days: int, clock: ClockWatch) -> None:
        self._journal, self._state = journal, state
        self._keep_ns, self._clock = keep_days * DAY_NS, clock
        self._due_ns = 0  # by the clock that nobody sets

    def keep(self, keep_days: int) -> None:
        """Keep for so many days from now on; what is older goes at the next turn."""
        self._keep_ns, self._due_ns = keep_days * DAY_NS, 0

    def turn(self) -> None:
        """Forget a little when it is due; called often. What fails is logged and tried again when it is due next."""
        now_ns = self._clock.now_ns(self._keep_ns)
        if now_ns is None or self._clock.since_boot_ns() < self._due_ns:
            return
        self._due_ns = self._clock.since_boot_ns() + EVERY_NS
        try:
            self._forget(now_ns - self._keep_ns)
        except (MdssError, OSError) as error:
            log.error("what is old cannot be removed", reason=str(error))

    def _forget(self, oldest_ns: int) -> None:
        forgotten = self._journal.prune(oldest_ns)
        if forgotten:
            self._due_ns = 0  # there may be more: at the next turn
            log.info("journal pruned", parts=forgotten)
            return
        kept = [path for pattern in KEPT for path in self._state.glob(pattern)]
        old = [path for path in kept if path.stat().st_mtime_ns < oldest_ns]
        for path in old:
            path.unlink(missing_ok=True)
        if old:
            log.info("old pictures and scans removed", files=len(old))
