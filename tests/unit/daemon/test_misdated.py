"""What a clock dates wrongly after the machine's start, until a time service sets it right, is kept as long as anything else."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from daemon import clock_watch
from daemon.retention import DAY_NS, Retention
from mdss.journal import Journal, JournalFailed
from mdss.journal_file import Row
from tests.fakes import FakeClock, refuses_with
from tests.parts import accepted, verdict

DAY_S, YEAR_S = 86_400.0, 365 * 86_400.0


class Machine:
    """A machine that has run for long, with a clock that a time service sets right some time after each start."""

    def __init__(self, state: Path, journal: Journal) -> None:
        self.state, self.journal, self.clock = state, journal, FakeClock()
        (state / "evidence").mkdir(parents=True)
        self.clock.advance(20 * YEAR_S)
        self.start()
        self.turns(7200)

    def boot(self, wrong_by_s: float) -> None:
        """Start the machine anew, after eight hours, with a clock that is wrong."""
        self.clock.advance(8 * 3600)
        self.clock.set_s = wrong_by_s
        self.clock.boot(f"boot at {self.clock()}")
        self.start()

    def judge_under_a_wrong_clock(self) -> None:
        """Start the machine anew, judge a part, `early`, and let a time service set the clock right."""
        self.boot(-19 * YEAR_S)
        self.turns(300)
        self.judge("early")
        self.clock.set_s = 0.0

    def start(self) -> None:
        """Start the process that removes what is old."""
        self.retention = Retention(self.journal, self.state, 30, self.clock.watch(self.state / "clock.json"))

    def turns(self, seconds: float) -> None:
        """Let time pass, with a turn every ten minutes or, where it is many days, every few hours."""
        end_s = self.clock() + seconds
        while self.clock() < end_s:
            self.retention.turn()
            self.clock.advance(min(max(600.0, seconds / 100), end_s - self.clock()))
        self.retention.turn()

    def judge(self, name: str, ago_s: float = 0.0) -> None:
        """Judge a part and draw its picture, at a time of the clock as it is set."""
        when_ns = self.clock.ns() + int((self.clock.set_s - ago_s) * 1e9)
        self.journal.judge(verdict(accepted(name, 100), "OK", when_ns))
        self._picture(name).touch()
        os.utime(self._picture(name), ns=(when_ns, when_ns))

    def known(self) -> dict[str, bool]:
        """Return of which parts there is a verdict, and whether there is a picture of it as well."""
        return {each.result_id: self._picture(each.result_id).exists() for each in self.journal.since(0, 100)}

    def _picture(self, name: str) -> Path:
        return self.state / "evidence" / f"{name}.png"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.sqlite")) as made:
        yield made


@pytest.mark.parametrize("wrong_by_s", [-19 * YEAR_S, -40 * DAY_S, 6 * YEAR_S])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_part_that_is_judged_before_the_clock_is_set_right_is_kept_for_all_its_days_and_no_longer(
    tmp_path: Path, journal: Journal, wrong_by_s: float, is_restarted: bool
) -> None:
    machine = Machine(tmp_path, journal)
    machine.boot(wrong_by_s)
    machine.turns(600)
    machine.judge("early")
    machine.turns(900)
    machine.clock.set_s = 0.0
    machine.turns(1)
    machine.clock.set_s = wrong_by_s
    machine.judge("on its way", ago_s=1.0)
    machine.clock.set_s = 0.0
    machine.judge("late")
    if is_restarted:
        machine.start()
    machine.turns(29.9 * DAY_S)
    assert machine.known() == {"early": True, "on its way": True, "late": True}
    machine.turns(0.2 * DAY_S)
    assert machine.known() == {}


def test_parts_of_two_starts_with_the_same_wrong_clock_are_each_kept_for_their_own_days(tmp_path: Path, journal: Journal) -> None:
    """As without a battery, where every start of the machine is at the same time of 2009."""
    machine = Machine(tmp_path, journal)
    for number, days in enumerate((5.0, 26.0)):
        machine.boot(10 * YEAR_S - machine.clock())
        machine.turns(300)
        machine.judge(f"part {number}")
        machine.turns(300)
        machine.clock.set_s = 0.0
        machine.turns(days * DAY_S)
    assert machine.known() == {"part 1": True}
    machine.turns(5 * DAY_S)
    assert machine.known() == {}


def test_of_a_clock_that_is_set_twice_before_it_is_right_all_that_it_dated_is_kept_for_its_days(tmp_path: Path, journal: Journal) -> None:
    machine = Machine(tmp_path, journal)
    machine.boot(-19 * YEAR_S)
    machine.turns(300)
    machine.judge("at first")
    machine.turns(300)
    machine.clock.set_s = -40 * DAY_S
    machine.turns(300)
    machine.judge("then")
    machine.turns(300)
    machine.clock.set_s = 0.0
    machine.turns(29.9 * DAY_S)
    assert machine.known() == {"at first": True, "then": True}
    machine.turns(0.2 * DAY_S)
    assert machine.known() == {}


def test_of_two_starts_with_one_wrong_time_the_second_before_the_first_is_mended_no_part_is_forgotten_early(
    tmp_path: Path, journal: Journal
) -> None:
    machine = Machine(tmp_path, journal)
    for number in range(2):
        machine.boot(10 * YEAR_S - machine.clock())
        machine.turns(300)
        machine.judge(f"part {number}")
        machine.clock.set_s = 0.0
        machine.turns(20)  # then the power is cut
        machine.clock.advance(5 * DAY_S * (1 - number))
    machine.turns(29.9 * DAY_S)
    assert machine.known()["part 1"]


def test_what_was_judged_before_the_process_was_started_again_is_mended_too_where_no_note_of_the_clock_could_be_written(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, journal)
    monkeypatch.setattr(clock_watch, "write_whole", refuses_with(errno.ENOSPC))
    machine.boot(-19 * YEAR_S)
    machine.turns(60)
    machine.judge("early")
    machine.turns(60)
    machine.start()
    machine.turns(600)
    machine.clock.set_s = 0.0
    machine.turns(7200)
    assert machine.known() == {"early": True}


def test_as_long_as_a_picture_takes_no_true_time_its_turn_comes_again(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, journal)
    machine.judge_under_a_wrong_clock()
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", refuses_with(errno.EROFS))
        machine.turns(3600)
    machine.turns(7200)
    assert machine.known() == {"early": True}


def test_what_a_clock_dated_that_was_ahead_is_mended_only_until_its_times_are_there(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, journal)
    machine.boot(5 * DAY_S)
    machine.turns(600)
    machine.clock.set_s = 0.0
    with monkeypatch.context() as patch:
        patch.setattr(journal._file, "change_each", full)
        machine.judge("so that there is something to mend", ago_s=-5 * DAY_S + 60)
        machine.turns(5 * DAY_S)
    machine.judge("rightly dated")
    machine.turns(29.9 * DAY_S)
    assert machine.known()["rightly dated"]


def test_as_long_as_the_journal_takes_no_true_time_nothing_in_it_is_forgotten_and_no_restart_forgets_that(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, journal)
    machine.judge_under_a_wrong_clock()
    with monkeypatch.context() as patch:
        patch.setattr(journal._file, "change_each", full)
        for _ in range(2):
            machine.turns(7200)
            machine.start()
    machine.turns(7200)
    assert machine.known() == {"early": True}
    assert journal._file.rows("SELECT judged_ns / 1000000000 FROM part") == [(int(machine.clock() - 3 * 7200),)]


def full(query: str, keys: list[Row]) -> int:
    """Change nothing, as on a full disk."""
    raise JournalFailed("journal j.sqlite: database or disk is full")


def test_a_note_of_a_jump_counts_also_where_it_says_nothing_of_wrong_dates(tmp_path: Path) -> None:
    clock = FakeClock()
    note = {"boot_id": clock.boot_id, "wall_ns": clock.ns(), "since_boot_ns": clock.ns()}
    jump = {"doubt_ns": int(3600e9), "lag_ns": int(YEAR_S * 1e9), "age_ns": int(DAY_S * 1e9)}
    (tmp_path / "clock.json").write_bytes(msgspec.json.encode(note | jump))
    watch = clock.watch(tmp_path / "clock.json")
    assert watch.now_ns(2 * DAY_NS) is None
    clock.advance(3600)
    assert watch.now_ns(2 * DAY_NS) == clock.ns() - jump["lag_ns"]
    clock.advance(DAY_S)
    assert watch.now_ns(2 * DAY_NS) == clock.ns()
