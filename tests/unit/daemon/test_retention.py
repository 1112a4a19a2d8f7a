"""Retention: what is old goes, in small steps and once an hour, whatever fails and however the clock is set."""

from __future__ import annotations

import os
from pathlib import Path

from structlog.testing import capture_logs

from daemon.retention import Retention
from mdss.journal import JournalFailed
from tests.fakes import FakeClock, FakeRecord


def test_the_journal_is_pruned_once_an_hour_in_small_steps(tmp_path: Path) -> None:
    clock, record = FakeClock(), FakeRecord(1000, 3)
    clock.advance(1e6)
    retention = Retention(record, tmp_path, 2, clock.ns)
    for _ in range(3602):
        retention.turn()
        clock.advance(1)
    assert len(record.limits_ns) == 3
    retention.turn()
    assert len(record.limits_ns) == 4
    assert record.limits_ns[0] == int((1000 + 1e6 - 2 * 86400) * 1e9)


def test_pictures_go_when_their_parts_are_forgotten(tmp_path: Path) -> None:
    clock = FakeClock()
    for name in ("old.png", "other.txt"):
        (tmp_path / name).touch()
    clock.now_s = (tmp_path / "old.png").stat().st_mtime + 86400 + 1
    new = tmp_path / "new.png"
    new.touch()
    os.utime(new, (clock(), clock()))
    Retention(FakeRecord(), tmp_path, 1, clock.ns).turn()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.png", "other.txt"]


def test_a_clock_that_is_set_back_does_not_end_the_pruning(tmp_path: Path) -> None:
    clock, record = FakeClock(), FakeRecord()
    clock.advance(1e9)
    retention = Retention(record, tmp_path, 1, clock.ns)
    retention.turn()
    clock.advance(-1e8)
    retention.turn()
    assert len(record.limits_ns) == 2


def test_pruning_that_fails_is_logged_and_tried_an_hour_later(tmp_path: Path) -> None:
    class Broken(FakeRecord):
        def prune(self, older_than_ns: int) -> int:
            super().prune(older_than_ns)
            raise JournalFailed("journal j.sqlite: database is locked")

    clock, record = FakeClock(), Broken()
    retention = Retention(record, tmp_path, 1, clock.ns)
    with capture_logs() as logs:
        retention.turn()
        retention.turn()
    clock.advance(3600)
    retention.turn()
    assert len(record.limits_ns) == 2
    assert logs[0]["reason"] == "journal j.sqlite: database is locked"


def test_a_changed_number_of_days_counts_from_the_next_turn_on(tmp_path: Path) -> None:
    clock, record = FakeClock(), FakeRecord()
    clock.advance(1e6)
    retention = Retention(record, tmp_path, 5, clock.ns)
    retention.turn()
    retention.keep(2)
    retention.turn()
    assert record.limits_ns == [clock.ns() - days * 86_400 * 10**9 for days in (5, 2)]
