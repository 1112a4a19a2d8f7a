"""Detects jumps of the machine's clock, also across restarts, so that nothing is deleted as old just because the clock was set."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from mdss.errors import UNREADABLE
from mdss.whole_files import write_whole

MINUTE_NS, HOUR_NS, DAY_NS = 60 * 10**9, 3600 * 10**9, 86_400 * 10**9
LONGEST_REST_NS = 7 * DAY_NS  # a machine that was off for longer than this may just as well have had its clock set
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
log = structlog.get_logger()


@dataclass(frozen=True)
class Clocks:
    """The clock that people and programs set (UTC), and the clock that only counts from the machine's start."""

    wall_ns: Callable[[], int] = time.time_ns
    since_boot_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    boot_id: Callable[[], str] = lambda: BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Both clocks at the last look, and what was still to be taken into account of an earlier jump (all in ns)."""

    boot_id: str
    wall_ns: int
    since_boot_ns: int
    doubt_ns: int = 0
    lag_ns: int = 0
    age_ns: int = 0


def is_rest(passed_ns: int) -> bool:
    """Return whether a machine may plausibly have been off for this long since its clock was last looked at."""
    return -MINUTE_NS <= passed_ns <= LONGEST_REST_NS


class ClockWatch:
    """Gives the time by which ages are measured.

    After a jump of more than a minute there is no such time for one day of running: time enough to notice the jump and correct the clock.
    After a jump ahead, the time given lags behind the clock by the size of the jump, until everything older than the jump has reached its
    age in time that really passed. A machine without a battery clock starts with a wrong time that a time service soon corrects: that is no
    jump.
    """

    def __init__(self, path: Path, clocks: Clocks | None = None) -> None:
        self._path, self._clocks = path, clocks or Clocks()
        self._boot_id = self._clocks.boot_id()
        self._wall_ns, self._since_boot_ns = self._clocks.wall_ns(), self.since_boot_ns()
        self._doubt_until_ns = self._noted_ns = self._lag_ns = self._jumped_ns = 0
        self._began_ns, self._before = self._since_boot_ns, self._read()
        if self._before is not None:
            self._go_on_from(self._before)

    def since_boot_ns(self) -> int:
        """Return the time in ns since the machine was started, which nobody can set."""
        return self._clocks.since_boot_ns()

    def now_ns(self, keep_ns: int) -> int | None:
        """Return the time (UTC ns) by which things kept for `keep_ns` are old, None while the clock is in doubt; call it often."""
        wall_ns, since_boot_ns = self._clocks.wall_ns(), self.since_boot_ns()
        jump_ns = (wall_ns - self._wall_ns) - (since_boot_ns - self._since_boot_ns)
        self._wall_ns, self._since_boot_ns = wall_ns, since_boot_ns
        if abs(jump_ns) > MINUTE_NS and not self._is_set_right():
            self._doubt(jump_ns)
        if since_boot_ns >= self._noted_ns:
            self._write()
        if since_boot_ns - self._jumped_ns > keep_ns:
            self._lag_ns = 0
        return None if since_boot_ns < self._doubt_until_ns else wall_ns - self._lag_ns

    def _go_on_from(self, note: Note) -> None:
        """Compare with the last note; after a restart of the machine only a clock that went back or far ahead is noticed."""
        self._take_over(note)
        if note.boot_id == self._boot_id:
            self._wall_ns, self._since_boot_ns = note.wall_ns, note.since_boot_ns
        elif not is_rest(self._wall_ns - note.wall_ns):
            self._doubt(self._wall_ns - note.wall_ns)

    def _take_over(self, note: Note) -> None:
        self._doubt_until_ns = self._began_ns + note.doubt_ns
        self._lag_ns, self._jumped_ns = note.lag_ns, self._began_ns - note.age_ns

    def _is_set_right(self) -> bool:
        """Return whether the clock was corrected, after a restart of the machine, to where it would be had it never been wrong.

        Only within an hour of the first start of this watch; later corrections count as jumps.
        """
        before, running_ns = self._before, self._since_boot_ns - self._began_ns
        if before is None or before.boot_id == self._boot_id or running_ns > HOUR_NS:
            return False
        is_right = is_rest(self._wall_ns - running_ns - before.wall_ns)
        if is_right:
            self._take_over(before)
            self._noted_ns = 0
        return is_right

    def _doubt(self, jump_ns: int) -> None:
        self._doubt_until_ns, self._noted_ns = self._since_boot_ns + DAY_NS, 0
        self._lag_ns, self._jumped_ns = max(0, self._lag_ns + jump_ns), self._since_boot_ns
        log.warning("the clock was set: nothing is deleted as old for a day", by_s=round(jump_ns / 1e9))

    def _read(self) -> Note | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Note)
        except (OSError, *UNREADABLE):  # the first start, or half a file: treated as if there were no note
            return None

    def _write(self) -> None:
        self._noted_ns = self._since_boot_ns + HOUR_NS
        note = Note(
            boot_id=self._boot_id,
            wall_ns=self._wall_ns,
            since_boot_ns=self._since_boot_ns,
            doubt_ns=max(0, self._doubt_until_ns - self._since_boot_ns),
            lag_ns=self._lag_ns,
            age_ns=self._since_boot_ns - self._jumped_ns,
        )
        try:
            write_whole(self._path, msgspec.json.encode(note))
        except OSError as error:  # a full disk must not stop the removal of old things
            log.warning("the record of the clock cannot be written", reason=str(error))
