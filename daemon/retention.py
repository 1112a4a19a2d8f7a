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
        self._files_due_ns = self._journal_due_ns = 0  # by the clock that nobody sets

    def keep(self, keep_days: int) -> None:
        """Keep for so many days from now on; what is older goes at the next turn."""
        self._keep_ns, self._files_due_ns, self._journal_due_ns = keep_days * DAY_NS, 0, 0

    def turn(self) -> None:
        """Forget a little when it is due; called often. What fails is logged and tried again when it is due next."""
        now_ns = self._clock.now_ns(self._keep_ns)
        if now_ns is None:
            return
        oldest_ns, since_boot_ns = now_ns - self._keep_ns, self._clock.since_boot_ns()
        if since_boot_ns >= self._files_due_ns:  # before the journal: on a full disk it needs room to forget anything
            self._files_due_ns = since_boot_ns + EVERY_NS
            self._remove_files(oldest_ns)
        if since_boot_ns >= self._journal_due_ns:
            self._journal_due_ns = since_boot_ns + EVERY_NS
            self._prune(oldest_ns)

    def _prune(self, oldest_ns: int) -> None:
        try:
            forgotten = self._journal.prune(oldest_ns)
        except MdssError as error:
            log.error("the journal cannot be pruned", reason=str(error))
            return
        if forgotten:
            self._journal_due_ns = 0  # there may be more: at the next turn
            log.info("journal pruned", parts=forgotten)

    def _remove_files(self, oldest_ns: int) -> None:
        """Remove each file that is old; one that stays keeps no other, nor does a folder that its disk does not show."""
        removed, refused = 0, list[str]()
        for path in [path for pattern in KEPT for path in self._found(pattern, refused)]:
            try:
                removed += is_removed(path, oldest_ns)
            except OSError as error:
                refused.append(str(error))
        if refused:
            log.error("old pictures and scans cannot be removed", files=len(refused), reason=refused[0])
        if removed:
            log.info("old pictures and scans removed", files=removed)

    def _found(self, pattern: str, refused: list[str]) -> list[Path]:
        try:
            return list(self._state.glob(pattern))
        except OSError as error:
            refused.append(str(error))
            return []


def is_removed(path: Path, oldest_ns: int) -> bool:
    """Remove a file that is older than this time (UTC ns); False where it is not, or was gone before."""
    try:
        is_old = path.stat().st_mtime_ns < oldest_ns
        if is_old:
            path.unlink()
    except FileNotFoundError:
        return False
    return is_old
