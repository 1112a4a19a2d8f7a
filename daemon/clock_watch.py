"""Detects jumps of the machine's clock, also across restarts, so that nothing is deleted as old just because the clock was set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from msgspec.structs import replace

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


class Misdated(msgspec.Struct, frozen=True, kw_only=True):
    """What is dated from `first_ns` to `last_ns` (UTC) by a clock that was wrong then; in truth it is later by `by_ns`."""

    first_ns: int
    last_ns: int
    by_ns: int


def true_time(dated_ns: int, misdated: Iterable[Misdated]) -> int:
    """Return the true time of something that bears this time (UTC ns), by the first of `ClockWatch.misdated` that this time is in."""
    return next((dated_ns + each.by_ns for each in misdated if each.first_ns <= dated_ns <= each.last_ns), dated_ns)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Both clocks at the last look, and what is still to be taken into account because the clock was set (all in ns)."""

    boot_id: str
    wall_ns: int
    since_boot_ns: int
    doubt_ns: int = 0  # for so much longer of running nothing is old
    lag_ns: int = 0  # the time given is behind the clock by so much
    age_ns: int = 0  # of running since the last jump
    misdated: tuple[Misdated, ...] = ()

    def later(self, wall_ns: int, since_boot_ns: int) -> Note:
        """Return the note of a later look at both clocks, before the machine is started again."""
        passed_ns = since_boot_ns - self.since_boot_ns
        doubt_ns, age_ns = max(0, self.doubt_ns - passed_ns), self.age_ns + passed_ns
        return replace(self, wall_ns=wall_ns, since_boot_ns=since_boot_ns, doubt_ns=doubt_ns, age_ns=age_ns)


def is_rest(passed_ns: int) -> bool:
    """Return whether a machine may plausibly have been off for this long since its clock was last looked at."""
    return -MINUTE_NS <= passed_ns <= LONGEST_REST_NS


class ClockWatch:
    """Gives the time by which ages are measured.

    After a jump of more than a minute there is no such time for one day of running: time enough to notice the jump and correct the clock.
    After a jump ahead, the time given lags behind the clock by the size of the jump, until everything older than the jump has reached its
    age in time that really passed. A machine without a battery clock starts with a wrong time that a time service soon corrects: that is no
    jump, but what was dated before is `misdated`.
    """

    def __init__(self, path: Path, clocks: Clocks | None = None) -> None:
        self._path, self._clocks = path, clocks or Clocks()
        self._noted_ns = 0  # when the note is due to be written, by the clock since the machine's start
        self._stepped_ns = 0  # when the clock was set last, likewise; 0 is the machine's start
        self._steps: tuple[Misdated, ...] = ()  # what was dated between two settings of the clock each, if it is right now
        self._before: Note | None = None  # of before the machine's start, as if it had ended at this moment
        self._note = Note(boot_id=self._clocks.boot_id(), wall_ns=self._clocks.wall_ns(), since_boot_ns=self.since_boot_ns())
        last = self._read()
        if last is not None:
            self._go_on_from(last)

    @property
    def misdated(self) -> tuple[Misdated, ...]:
        """What was dated by a clock that was wrong after the machine's start, until `forget_misdated`.

        What lies farthest back comes first: if clocks of several starts went through one time, the first that fits gives the latest of
        what it may be, so that nothing is forgotten too early.
        """
        return tuple(sorted(self._note.misdated, key=lambda each: each.by_ns, reverse=True))

    def forget_misdated(self) -> None:
        """Call this when everything that was misdated bears its true time."""
        self._note, self._noted_ns = replace(self._note, misdated=()), 0

    def since_boot_ns(self) -> int:
        """Return the time in ns since the machine was started, which nobody can set."""
        return self._clocks.since_boot_ns()

    def now_ns(self, keep_ns: int) -> int | None:
        """Return the time (UTC ns) by which things kept for `keep_ns` are old, None while the clock is in doubt; call it often."""
        last, self._note = self._note, self._note.later(self._clocks.wall_ns(), self.since_boot_ns())
        jump_ns = (self._note.wall_ns - last.wall_ns) - (self._note.since_boot_ns - last.since_boot_ns)
        if abs(jump_ns) > MINUTE_NS:
            self._note_step(jump_ns)
            if self._before is not None and self._is_right_again(self._before):
                self._take_back(self._before)
            else:
                self._doubt(jump_ns)
        if self._note.since_boot_ns >= self._noted_ns:
            self._write()
        if self._note.age_ns > keep_ns:
            self._note = replace(self._note, lag_ns=0)
        self._drop_what_may_be_right()
        return None if self._note.doubt_ns else self._note.wall_ns - self._note.lag_ns

    def _drop_what_may_be_right(self) -> None:
        """Forget what a clock that was ahead has dated once its times are there: what bears them now may bear them rightly."""
        still = (each for each in self._note.misdated if each.by_ns >= 0 or each.first_ns > self._note.wall_ns)
        self._note = replace(self._note, misdated=tuple(still))

    def _go_on_from(self, last: Note) -> None:
        """Compare with the last note; after a restart of the machine only a clock that went back or far ahead is noticed."""
        now = self._note
        if last.boot_id == now.boot_id:  # the next look compares with where the clock would stand if nobody had set it meanwhile
            self._note = last.later(last.wall_ns + now.since_boot_ns - last.since_boot_ns, now.since_boot_ns)
            return
        self._before = replace(last, boot_id=now.boot_id, since_boot_ns=now.since_boot_ns)
        self._note = replace(self._before, wall_ns=now.wall_ns)
        if not is_rest(now.wall_ns - last.wall_ns):
            self._doubt(now.wall_ns - last.wall_ns)

    def _note_step(self, jump_ns: int) -> None:
        """Note what the clock had dated before it was set by this much; what it had dated before that is right only with this, too."""
        was_ns, since_boot_ns = self._note.wall_ns - jump_ns, self._note.since_boot_ns
        before = (replace(each, by_ns=each.by_ns + jump_ns) for each in self._steps)
        self._steps = (*before, Misdated(first_ns=was_ns - (since_boot_ns - self._stepped_ns), last_ns=was_ns, by_ns=jump_ns))
        self._stepped_ns = since_boot_ns

    def _is_right_again(self, before: Note) -> bool:
        """Return whether the clock stands, after a restart of the machine, where it would be had it never been wrong.

        Only within an hour of the first start of this watch; later corrections count as jumps.
        """
        running_ns = self._note.since_boot_ns - before.since_boot_ns
        return running_ns <= HOUR_NS and is_rest(self._note.wall_ns - running_ns - before.wall_ns)

    def _take_back(self, before: Note) -> None:
        """Go on as if the clock had never been wrong. For a minute nothing is old: what was dated before may still be on its way."""
        right, misdated = before.later(self._note.wall_ns, self._note.since_boot_ns), (*self._note.misdated, *self._steps)
        self._note, self._noted_ns = replace(right, doubt_ns=max(MINUTE_NS, right.doubt_ns), misdated=misdated), 0

    def _doubt(self, jump_ns: int) -> None:
        self._note, self._noted_ns = replace(self._note, doubt_ns=DAY_NS, lag_ns=max(0, self._note.lag_ns + jump_ns), age_ns=0), 0
        log.warning("the clock was set: nothing is deleted as old for a day", by_s=round(jump_ns / 1e9))

    def _read(self) -> Note | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Note)
        except (OSError, *UNREADABLE):  # the first start, or half a file: treated as if there were no note
            return None

    def _write(self) -> None:
        self._noted_ns = self._note.since_boot_ns + HOUR_NS
        try:
            write_whole(self._path, msgspec.json.encode(self._note))
        except OSError as error:  # a full disk must not stop the removal of old things
            log.warning("the record of the clock cannot be written", reason=str(error))
