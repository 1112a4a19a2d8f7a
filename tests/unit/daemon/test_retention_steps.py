"""What retention does in each step, and says of it: folders are listed once an hour, and what somebody else removed is no trouble."""

from __future__ import annotations

import os
from pathlib import Path

from structlog.testing import capture_logs

from daemon.retention import Retention
from mdss.journal import JournalFailed
from tests.fakes import FakeClock, FakeRecord


def old_picture(state: Path, name: str) -> Path:
    """Return a picture of long ago."""
    path = state / "evidence" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.utime(path, (0, 0))
    return path


def retention_of(state: Path, clock: FakeClock, *parts: int) -> Retention:
    """Return a retention that keeps one day, by a clock that has gone on for longer than that."""
    clock.advance(1e6)
    return Retention(FakeRecord(*parts), state, 1, clock.watch(state / "clock.json"))


def test_pictures_are_looked_for_once_an_hour(tmp_path: Path) -> None:
    clock = FakeClock()
    retention = retention_of(tmp_path, clock)
    retention.turn()
    picture = old_picture(tmp_path, "old.png")
    clock.advance(3599)
    retention.turn()
    assert picture.exists()
    clock.advance(1)
    retention.turn()
    assert not picture.exists()


def test_each_step_through_the_journal_says_how_many_parts_it_forgot(tmp_path: Path) -> None:
    clock = FakeClock()
    retention = retention_of(tmp_path, clock, 1000, 3)
    with capture_logs() as logs:
        for _ in range(4):
            retention.turn()
    assert [(line["event"], line["parts"]) for line in logs] == [("journal pruned", 1000), ("journal pruned", 3)]


def test_a_picture_that_is_gone_by_the_time_its_age_is_asked_for_is_neither_counted_nor_a_failure(tmp_path: Path) -> None:
    clock = FakeClock()
    retention = retention_of(tmp_path, clock)
    old_picture(tmp_path, "old.png")
    (tmp_path / "evidence" / "gone.png").symlink_to("nowhere")  # which is listed and cannot be found
    with capture_logs() as logs:
        retention.turn()
    assert [(line["event"], line["files"]) for line in logs] == [("old pictures and scans removed", 1)]


def test_every_picture_that_cannot_be_removed_is_counted(tmp_path: Path) -> None:
    clock = FakeClock()
    retention = retention_of(tmp_path, clock)
    for name in ("a.png", "b.png", "c.png"):
        picture = old_picture(tmp_path, name)
        picture.unlink()
        picture.mkdir()
        os.utime(picture, (0, 0))
    with capture_logs() as logs:
        retention.turn()
    assert [(line["event"], line["files"]) for line in logs] == [("old pictures and scans cannot be removed", 3)]


def test_pictures_make_room_for_the_journal_in_the_same_turn(tmp_path: Path) -> None:
    class Cramped(FakeRecord):
        def prune(self, older_than_ns: int) -> int:
            if picture.exists():
                raise JournalFailed("journal j.sqlite: database or disk is full")
            return super().prune(older_than_ns)

    clock, record, picture = FakeClock(), Cramped(), old_picture(tmp_path, "old.png")
    clock.advance(1e6)
    Retention(record, tmp_path, 1, clock.watch(tmp_path / "clock.json")).turn()
    assert len(record.limits_ns) == 1
