"""Retention: what is old goes, in small steps and once an hour, whatever fails and however the clock is set."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.clock_watch import ClockWatch
from daemon.retention import Retention
from mdss.journal import JournalFailed
from tests.fakes import FakeClock, FakeRecord

YEAR_S, DAY_S = 365 * 86_400.0, 86_400.0


def test_the_journal_is_pruned_once_an_hour_in_small_steps(tmp_path: Path) -> None:
    clock, record = FakeClock(), FakeRecord(1000, 3)
    clock.advance(1e6)
    retention = Retention(record, tmp_path, 2, clock.watch(tmp_path / "clock.json"))
    for _ in range(3602):
        retention.turn()
        clock.advance(1)
    assert len(record.limits_ns) == 3
    retention.turn()
    assert len(record.limits_ns) == 4
    assert record.limits_ns[0] == int((1000 + 1e6 - 2 * 86400) * 1e9)


def test_fewer_days_are_kept_to_from_the_next_turn_on(tmp_path: Path) -> None:
    clock, record, picture = FakeClock(), FakeRecord(), tmp_path / "evidence" / "old.png"
    clock.advance(1e6)
    picture.parent.mkdir()
    picture.touch()
    os.utime(picture, (clock() - 1.5 * DAY_S, clock() - 1.5 * DAY_S))
    retention = Retention(record, tmp_path, 2, clock.watch(tmp_path / "clock.json"))
    retention.turn()
    assert picture.exists()
    retention.keep(1)
    retention.turn()
    assert not picture.exists()
    assert record.limits_ns == [int((clock() - days * DAY_S) * 1e9) for days in (2, 1)]


def test_pictures_quarantined_scans_and_half_written_files_go_with_the_parts_of_their_age(tmp_path: Path) -> None:
    clock = FakeClock()
    half = [f"{folder}.cap.json-7.partial" for folder in ("", "drift/", "collect_all/", "retrain/", "retrain/plans/")]
    old = ("evidence/old.png", "quarantine/old.json", "quarantine/rgb/old.png", "quarantine/xyz/old.tiff", *half)
    stays = ("drift/cap.json", "evidence/other.txt", "journal.sqlite", "quarantine/new.json")
    for name in old + stays:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clock.now_s = (tmp_path / old[-1]).stat().st_mtime + 86400 + 1
    os.utime(tmp_path / stays[-1], (clock(), clock()))
    Retention(FakeRecord(), tmp_path, 1, clock.watch(tmp_path / "clock.json")).turn()
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(("clock.json", *stays))


def test_a_folder_that_its_disk_does_not_show_is_logged_and_keeps_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, glob = FakeClock(), Path.glob

    def sick(folder: Path, pattern: str) -> Iterator[Path]:
        if pattern.startswith("evidence"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder / "evidence"))
        return glob(folder, pattern)

    monkeypatch.setattr(Path, "glob", sick)
    old = tmp_path / "quarantine" / "old.json"
    old.parent.mkdir()
    old.touch()
    clock.now_s = old.stat().st_mtime + 86400 + 1
    record = FakeRecord()
    with capture_logs() as logs:
        Retention(record, tmp_path, 1, clock.watch(tmp_path / "clock.json")).turn()
    assert not old.exists() and len(record.limits_ns) == 1, "neither the other folders nor the journal waits for that disk"
    assert [line["reason"] for line in logs if line["log_level"] == "error"] == [f"[Errno 5] Input/output error: '{tmp_path}/evidence'"]


def test_pruning_that_fails_is_logged_and_tried_an_hour_later(tmp_path: Path) -> None:
    class Broken(FakeRecord):
        def prune(self, older_than_ns: int) -> int:
            super().prune(older_than_ns)
            raise JournalFailed("journal j.sqlite: database is locked")

    clock, record = FakeClock(), Broken()
    retention = Retention(record, tmp_path, 1, clock.watch(tmp_path / "clock.json"))
    with capture_logs() as logs:
        retention.turn()
        retention.turn()
    clock.advance(3600)
    retention.turn()
    assert len(record.limits_ns) == 2
    assert logs[0]["reason"] == "journal j.sqlite: database is locked"


class Full(FakeRecord):
    """A journal that has no room to forget anything in, as on a full disk."""

    def prune(self, older_than_ns: int) -> int:
        super().prune(older_than_ns)
        raise JournalFailed("journal j.sqlite: database or disk is full")


def pictures(state: Path, clock: FakeClock, *names: str) -> list[Path]:
    """Return pictures that were drawn now, by the fake clock."""
    made = [state / "evidence" / name for name in names]
    for path in made:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (clock(), clock()))
    return made


def test_on_a_full_disk_the_pictures_go_first_and_fewer_days_help_at_once(tmp_path: Path) -> None:
    clock, record = FakeClock(), Full()
    (older,) = pictures(tmp_path, clock, "older.png")
    clock.advance(2 * DAY_S)
    (newer,) = pictures(tmp_path, clock, "newer.png")
    clock.advance(2 * DAY_S)
    retention = Retention(record, tmp_path, 3, clock.watch(tmp_path / "clock.json"))
    retention.turn()
    assert (older.exists(), newer.exists()) == (False, True)
    retention.keep(1)
    retention.turn()
    assert not newer.exists()
    assert len(record.limits_ns) == 2


def test_a_file_that_cannot_be_removed_keeps_no_other_and_not_the_journal(tmp_path: Path) -> None:
    clock, record = FakeClock(), FakeRecord()
    stuck, *others = pictures(tmp_path, clock, "b.png", "a.png", "c.png")
    stuck.unlink()
    stuck.mkdir()  # nobody's picture, and no file
    os.utime(stuck, (clock(), clock()))
    clock.advance(2 * DAY_S)
    with capture_logs() as logs:
        Retention(record, tmp_path, 1, clock.watch(tmp_path / "clock.json")).turn()
    assert [path.exists() for path in others] == [False, False]
    assert [(line["files"], "b.png" in line.get("reason", "")) for line in logs] == [(1, True), (2, False)]
    assert len(record.limits_ns) == 1


def turns(retention: Retention, clock: FakeClock, seconds: float) -> None:
    """Let time pass with a turn every five minutes, or one alone where it is less."""
    for _ in range(max(1, int(seconds / 300))):
        retention.turn()
        clock.advance(min(seconds, 300))


@pytest.mark.parametrize("jump_s", [10 * YEAR_S, -10 * YEAR_S, 61.0, -61.0])
def test_after_a_jump_of_the_clock_nothing_is_removed_for_a_day_which_is_said_once(tmp_path: Path, jump_s: float) -> None:
    clock, record = FakeClock(), FakeRecord()
    clock.advance(20 * YEAR_S)
    retention = Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json"))
    turns(retention, clock, 7200)
    before = len(record.limits_ns)
    clock.set_s = jump_s
    with capture_logs() as logs:
        turns(retention, clock, DAY_S)
    assert before == 2 and len(record.limits_ns) == before
    assert [(line["event"], line["by_s"]) for line in logs] == [("the clock was set: nothing is deleted as old for a day", jump_s)]
    turns(retention, clock, 7200)
    assert len(record.limits_ns) == before + 2  # it goes on, whichever way it was set


@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_set_ten_years_ahead_that_nobody_sets_right_lets_older_parts_reach_their_age_all_the_same(
    tmp_path: Path, restarts: bool
) -> None:
    clock, record = FakeClock(), FakeRecord()
    clock.advance(20 * YEAR_S)
    retention = Retention(record, tmp_path, 5, clock.watch(tmp_path / "clock.json"))
    turns(retention, clock, 60)
    clock.set_s = 10 * YEAR_S
    for day in range(8):
        if restarts:
            retention = Retention(record, tmp_path, 5, clock.watch(tmp_path / "clock.json"))
        first = len(record.limits_ns)
        turns(retention, clock, DAY_S)
        newest_s = max(record.limits_ns[first:], default=0) / 1e9
        if day < 5:
            assert newest_s <= clock() - 5 * DAY_S
    assert newest_s == pytest.approx(clock() + clock.set_s - 5 * DAY_S, abs=3600)  # and it does not stop


def test_a_clock_that_is_set_wrong_and_right_again_within_the_day_costs_no_part(tmp_path: Path) -> None:
    clock, record = FakeClock(), FakeRecord()
    clock.advance(20 * YEAR_S)
    retention = Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json"))
    for clock.set_s in (0.0, 10 * YEAR_S, 0.0):
        turns(retention, clock, 7200)
    turns(retention, clock, 2 * DAY_S)
    assert max(record.limits_ns) <= clock.ns() - 30 * DAY_S * 1e9


def test_a_clock_that_is_corrected_little_by_little_changes_nothing(tmp_path: Path) -> None:
    clock, record = FakeClock(), FakeRecord()
    retention = Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json"))
    with capture_logs() as logs:
        for _ in range(48 * 60):
            clock.set_s += 0.5
            turns(retention, clock, 60)
    assert len(record.limits_ns) == 48 and logs == []


def test_a_jump_while_the_process_was_away_is_seen_and_a_restart_shortens_no_wait(tmp_path: Path) -> None:
    clock, record = FakeClock(), FakeRecord()
    clock.advance(20 * YEAR_S)
    turns(Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json")), clock, 60)
    clock.set_s = 10 * YEAR_S
    for _ in range(11):
        clock.advance(3600)
        turns(Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json")), clock, 3600)
    assert len(record.limits_ns) == 1


@pytest.mark.parametrize(
    ("off_s", "set_s", "is_jump"), [(60, 0, False), (6 * DAY_S, 0, False), (8 * DAY_S, 0, True), (60, -3600, True), (60, YEAR_S, True)]
)
def test_a_machine_that_starts_with_a_clock_of_another_time_removes_nothing_at_first(
    tmp_path: Path, off_s: float, set_s: float, is_jump: bool
) -> None:
    clock, record = FakeClock(), FakeRecord()
    clock.advance(20 * YEAR_S)
    turns(Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json")), clock, 60)
    clock.advance(off_s)
    clock.set_s = set_s
    clock.boot("second boot")
    turns(Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json")), clock, 7200)
    assert len(record.limits_ns) == (1 if is_jump else 3)


@pytest.mark.parametrize("wrong_by_s", [-8 * 3600.0, -19 * YEAR_S, 3600.0])
def test_a_clock_that_a_time_service_sets_right_after_each_start_of_the_machine_is_no_jump(tmp_path: Path, wrong_by_s: float) -> None:
    clock, record = FakeClock(), FakeRecord()
    clock.advance(20 * YEAR_S)
    turns(Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json")), clock, 7200)
    for day in range(3):
        first = len(record.limits_ns)
        clock.advance(8 * 3600)
        clock.set_s = wrong_by_s
        clock.boot(f"boot {day}")
        retention = Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json"))
        turns(retention, clock, 1500)
        clock.set_s = 0.0
        turns(retention, clock, 16 * 3600)
        assert len(record.limits_ns) >= first + 15
        assert max(record.limits_ns) <= clock.ns() - 30 * DAY_S * 1e9


@pytest.mark.parametrize(("after_s", "to_s"), [(7200, 0.0), (1500, YEAR_S), (1500, -2 * DAY_S)])
def test_a_clock_that_is_set_late_or_elsewhere_is_a_jump_also_after_a_start_of_the_machine(
    tmp_path: Path, after_s: float, to_s: float
) -> None:
    clock, record = FakeClock(), FakeRecord()
    clock.advance(20 * YEAR_S)
    turns(Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json")), clock, 60)
    clock.advance(DAY_S)
    clock.set_s = -DAY_S
    clock.boot("second boot")
    retention = Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json"))
    turns(retention, clock, after_s)
    first, clock.set_s = len(record.limits_ns), to_s
    turns(retention, clock, DAY_S)
    assert len(record.limits_ns) == first


def test_a_note_that_cannot_be_read_or_written_keeps_nothing_from_being_removed(tmp_path: Path) -> None:
    (tmp_path / "clock.json").write_bytes(b"{half a note")
    (tmp_path / f".clock.json-{os.getpid()}.partial").mkdir()
    clock, record = FakeClock(), FakeRecord()
    with capture_logs() as logs:
        turns(Retention(record, tmp_path, 30, clock.watch(tmp_path / "clock.json")), clock, 7200)
    assert len(record.limits_ns) == 2
    assert {line["event"] for line in logs} == {"the record of the clock cannot be written"}


def test_the_machine_has_the_clocks_that_are_watched(tmp_path: Path) -> None:
    before = time.time_ns()
    watch = ClockWatch(tmp_path / "clock.json")
    now_ns = watch.now_ns(0)
    assert now_ns is not None and before <= now_ns <= time.time_ns()
    started_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert started_ns <= watch.since_boot_ns() <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
