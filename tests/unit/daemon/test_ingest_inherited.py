"""What an earlier life acknowledged gets its verdict, even when neither camera nor fusion remembers it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from daemon.inherited import GRACE_NS, PUT_OFF_NS
from mdss.journal import Journal, JournalFailed
from mdss.settings import ModelSettings
from mdss.wire.camera import Ack
from mdss.wire.messages import Accepted, Fault, Frame
from mdss.wire.model_plan import ModelPlan
from tests.front_door import RULES, Station, code_of, plan_of
from tests.parts import verdict
from workers.part_join import JoinedPart, PartJoin

NO_MODEL = ModelPlan(revision=2)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite", busy_timeout_s=0.01)
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
    assert station.intake.models.held == {}, "its model may go"


def test_fusion_is_not_told_of_a_part_whose_verdict_cannot_be_read_it_would_end_with_that(first_life: Station, journal: Journal) -> None:
    station, (part,) = reborn(first_life), journal.pending()
    journal.judge(verdict(part))
    journal._file.rows("UPDATE part SET verdict = '{'")
    with pytest.raises(JournalFailed):
        journal.judge(verdict(part))
    pass_time(station, 60)
    assert station.fusion.sent == []


def test_what_the_camera_sends_again_is_not_lost(first_life: Station) -> None:
    station = reborn(first_life)
    station.send("f1")
    pass_time(station, 60)
    assert not any(isinstance(message, Fault) for message in station.fusion.sent)


def test_the_scan_that_the_camera_sends_again_is_told_from_the_one_of_before(first_life: Station) -> None:
    station = reborn(first_life)
    station.clock.advance(1)
    station.send("f1")
    told = {(frame.received_ns, accepted.received_ns) for life in (first_life, station) for frame, accepted in scans(life)}
    assert len(told) == 2 and all(of_frame == of_part for of_frame, of_part in told)


def scans(station: Station) -> Iterator[tuple[Frame, Accepted]]:
    """Yield what the stages were told of each scan that was taken."""
    for frame, accepted in zip(station.prepare.sent, station.fusion.sent, strict=True):
        assert isinstance(frame, Frame) and isinstance(accepted, Accepted)
        yield frame, accepted


def be_refused(station: Station, seconds: int, code: str = "NOT_READY") -> None:
    """Let the camera send its part again once a second, and be refused for now."""
    for _ in range(seconds):
        pass_time(station, 1)
        assert code_of(station.send("f1")) == code


def lost_with(station: Station) -> list[str]:
    """Return why parts were lost, as fusion was told."""
    return [message.reason for message in station.fusion.sent if isinstance(message, Fault)]


def test_what_the_camera_sends_while_the_model_is_not_loaded_is_not_lost(first_life: Station) -> None:
    station = reborn(first_life)
    station.intake.follow(NO_MODEL)
    be_refused(station, 60)
    station.intake.follow(plan_of("gland", revision=3))
    (ack,) = station.send("f1")
    pass_time(station, 200)
    assert isinstance(ack, Ack) and lost_with(station) == []


def test_what_the_camera_sends_while_the_journal_is_locked_is_not_lost(first_life: Station, tmp_path: Path) -> None:
    station = reborn(first_life)
    with sqlite3.connect(tmp_path / "journal.sqlite") as other:
        other.execute("BEGIN IMMEDIATE")
        be_refused(station, 60, "BUSY")
    other.close()
    pass_time(station, 1)
    (ack,) = station.send("f1")
    pass_time(station, 200)
    assert isinstance(ack, Ack) and lost_with(station) == []


def test_a_part_that_is_refused_for_now_has_no_less_time_than_its_deadline_gave_it(journal: Journal) -> None:
    first_life = Station.introduced(journal)
    first_life.send("f1", deadline_ms=60_000)
    station = reborn(first_life)
    station.intake.follow(NO_MODEL)
    be_refused(station, 1)
    pass_time(station, 67)
    assert lost_with(station) == []
    pass_time(station, 5)
    assert len(lost_with(station)) == 1


def test_what_the_camera_no_longer_sends_is_lost_and_the_reason_says_what_it_was_told(first_life: Station) -> None:
    station = reborn(first_life)
    station.intake.follow(NO_MODEL)
    be_refused(station, 30)
    pass_time(station, GRACE_NS / 1e9 - 1)
    assert lost_with(station) == []
    pass_time(station, 2)
    (reason,) = lost_with(station)
    assert reason.startswith("the station was restarted and could not take the part when the camera sent it again: ")
    assert "gland is not judged now: its model is being loaded" in reason


def test_a_part_is_lost_in_its_time_whatever_its_camera_is_told_of_another(first_life: Station) -> None:
    first_life.send("f2")
    station = reborn(first_life)
    station.intake.follow(NO_MODEL)
    be_refused(station, 20)
    fault, accepted = station.fusion.sent
    assert isinstance(accepted, Accepted) and accepted.identity.frame_id == "f2"
    assert isinstance(fault, Fault) and fault.reason == "the station was restarted and the camera did not send the part again"


def test_a_part_whose_model_never_comes_has_its_verdict_in_the_end_which_names_the_model(first_life: Station) -> None:
    station, join, joined = reborn(first_life), PartJoin(), list[JoinedPart]()
    join.recover(first_life.journal.pending(), station.clock.ns() - 100 * 10**9)  # fusion was there long before
    station.intake.follow(ModelPlan(revision=2, reasons={"gland": "sdf-0: sdf.safetensors: no such file"}))
    seconds = 0
    while not joined and seconds < 600:
        be_refused(station, 1)
        joined += join.tick(station.clock.ns())
        joined += filter(None, (join.take(message, station.clock.ns()) for message in station.fusion.sent))
        seconds += 1
    (part,) = joined
    assert part.code == "LOST" and "sdf-0: sdf.safetensors: no such file" in part.reason
    assert PUT_OFF_NS <= seconds * 10**9 <= PUT_OFF_NS + GRACE_NS + 10**9


def test_a_refusal_for_good_gives_no_part_more_time_and_is_the_reason_of_its_verdict(first_life: Station) -> None:
    station = reborn(first_life)
    station.intake.reconfigure(msgspec.structs.replace(RULES, models=ModelSettings(recipes=("cap",))))
    for _ in range(13):
        pass_time(station, 1)
        assert code_of(station.send("f1")) == "UNKNOWN_RECIPE"
    (reason,) = lost_with(station)
    assert reason.startswith("the station was restarted and refused the part when the camera sent it again: ")
    assert reason.endswith("FRAME recipe_id: found gland, expected one of cap")
