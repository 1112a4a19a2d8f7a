"""What an earlier life acknowledged gets its verdict, even when neither camera nor fusion remembers it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mdss.journal import Journal
from mdss.wire.messages import Accepted, Fault
from tests.front_door import Station
from tests.parts import verdict
from workers.part_join import PartJoin


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite")
    yield made
    made.close()


@pytest.fixture
def first_life(journal: Journal) -> Station:
    """Return a station that has acknowledged frame f1 and died; its deadline is two seconds after arrival."""
    station = Station.introduced(journal)
    station.send("f1")
    return station


def reborn(first_life: Station) -> Station:
    return Station.introduced(first_life.journal)


def pass_time(station: Station, seconds: float) -> None:
    station.clock.advance(seconds)
    station.intake.tick()
    station.outbox.flush(station.fusion, station.prepare)


def test_what_nobody_sends_again_is_lost(first_life: Station) -> None:
    station = reborn(first_life)
    pass_time(station, 11)
    assert station.fusion.sent == []
    pass_time(station, 2)
    fault, accepted = station.fusion.sent
    assert isinstance(accepted, Accepted) and isinstance(fault, Fault)
    assert accepted.identity.frame_id == "f1"
    assert (fault.result_id, fault.code) == (accepted.result_id, "LOST")


def test_fusion_gives_the_lost_part_its_verdict(first_life: Station) -> None:
    station, join = reborn(first_life), PartJoin()
    pass_time(station, 13)
    parts = [join.take(message, station.clock.ns()) for message in station.fusion.sent]
    assert [part.code for part in parts if part is not None] == ["LOST"]


def test_it_is_told_again_until_the_verdict_is_in_the_journal(first_life: Station, journal: Journal) -> None:
    station = reborn(first_life)
    pass_time(station, 13)
    pass_time(station, 5)
    assert len(station.fusion.sent) == 2
    pass_time(station, 6)
    assert len(station.fusion.sent) == 4
    journal.judge(verdict(journal.pending()[0]))
    pass_time(station, 11)
    pass_time(station, 11)
    assert len(station.fusion.sent) == 4


def test_what_fusion_judges_meanwhile_is_not_lost(first_life: Station, journal: Journal) -> None:
    station = reborn(first_life)
    journal.judge(verdict(journal.pending()[0]))
    pass_time(station, 60)
    assert station.fusion.sent == []


def test_what_the_camera_sends_again_is_not_lost(first_life: Station) -> None:
    station = reborn(first_life)
    station.send("f1")
    pass_time(station, 60)
    assert not any(isinstance(message, Fault) for message in station.fusion.sent)
