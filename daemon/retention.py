"""Deletes, once an hour, what is older than journal.keep_days: judged parts and their pictures, quarantined scans, half-written files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog

from daemon.clock_watch import ClockWatch, Misdated, true_time
from mdss.errors import MdssError

EVERY_NS, DAY_NS = 3600 * 10**9, 86_400 * 10**9
# in the state directory; the last five are left half written by processes that were killed
KEPT = (
    *("evidence/*.png", "quarantine/*.json", "quarantine/rgb/*.png", "quarantine/xyz/*.tiff"),
    *(".*-*.partial", "collect_all/.*-*.partial", "drift/.*-*.partial", "retrain/.*-*.partial", "retrain/plans/.*-*.partial"),
)
log = structlog.get_logger()


class Prunable(Protocol):
    """What retention needs from the journal."""

    def prune(self, older_than_ns: int) -> int:
        """Delete some of the parts judged before this time (UTC ns) and return how many; 0 if none are left."""

    def redate(self, first_ns: int, last_ns: int, by_ns: int) -> int:
        """Move the times by which parts age, where they are from `first_ns` to `last_ns` (UTC), and return of how many parts."""


class Retention:
    """Prunes in small steps, so that the line never waits long for the journal."""

    def __init__(self, journal: Prunable, state: Path, keep_days: int, clock: ClockWatch) -> None:
        self._journal, self._state = journal, state
        self._keep_ns, self._clock = keep_days * DAY_NS, clock
        self._files_due_ns = self._journal_due_ns = 0  # by the clock since the machine's start
        self._has_seen_all_files = False  # and given those that are misdated their true times

    def keep(self, keep_days: int) -> None:
        """Keep this many days from now on; what is older goes at the next turn."""
        self._keep_ns, self._files_due_ns, self._journal_due_ns = keep_days * DAY_NS, 0, 0

    def turn(self) -> None:
        """Delete a little if it is due; called often. Failures are logged and tried again an hour later."""
        now_ns = self._clock.now_ns(self._keep_ns)
        if now_ns is None:
            self._has_seen_all_files = False  # the clock was set, and files may bear a wrong time
            return
        oldest_ns, since_boot_ns = now_ns - self._keep_ns, self._clock.since_boot_ns()
        # files first: on a full disk the journal needs room even to delete
        if since_boot_ns >= self._files_due_ns:
            self._files_due_ns = since_boot_ns + EVERY_NS
            self._remove_files(oldest_ns)
        if since_boot_ns >= self._journal_due_ns:
            self._journal_due_ns = since_boot_ns + EVERY_NS
            self._prune(oldest_ns)

    def _prune(self, oldest_ns: int) -> None:
        try:
            self._redate()
            forgotten = self._journal.prune(oldest_ns)
        except MdssError as error:
            log.error("the journal cannot be pruned", reason=str(error))
            return
        if forgotten:
            self._journal_due_ns = 0  # there may be more: continue at the next turn
            log.info("journal pruned", parts=forgotten)

    def _redate(self) -> None:
        """Give parts their true times that a wrong clock has dated; until that is done, none is deleted."""
        misdated = self._clock.misdated
        parts = sum(self._journal.redate(each.first_ns, each.last_ns, each.by_ns) for each in misdated)
        if parts:
            log.info("what was judged before the clock was set right is kept by its true time", parts=parts)
        if misdated and self._has_seen_all_files:
            self._clock.forget_misdated()

    def _remove_files(self, oldest_ns: int) -> None:
        """Remove all old files; one that cannot be removed, or a folder that cannot be listed, does not stop the others."""
        removed, refused, misdated = 0, list[str](), self._clock.misdated
        for path in [path for pattern in KEPT for path in self._found(pattern, refused)]:
            try:
                removed += is_removed(path, oldest_ns, misdated)
            except OSError as error:
                refused.append(str(error))
        self._has_seen_all_files = not refused
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


def is_removed(path: Path, oldest_ns: int, misdated: Sequence[Misdated]) -> bool:
    """Remove a file if it is older than this time (UTC ns); return False if it is newer or already gone. What is misdated is dated anew."""
    try:
        dated_ns = path.stat().st_mtime_ns
        true_ns = true_time(dated_ns, misdated)
        if true_ns < oldest_ns:
            path.unlink()
        elif true_ns != dated_ns:
            os.utime(path, ns=(true_ns, true_ns))
    except FileNotFoundError:
        return False
    return true_ns < oldest_ns
