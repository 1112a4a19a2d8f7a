"""The front door when something around it is away, full, lost or stopping."""

from __future__ import annotations

import pytest

from daemon import outbox
from daemon.intake import Reply
from mdss.settings import CameraSettings, Settings
from mdss.wire.camera import Ack, Credit, Done, Hello, Nack, Ping, Pong
from tests.front_door import CAMERA, RULES, SIDE, Station, code_of


@pytest.fixture
def station() -> Station:
    return Station.introduced()


def test_a_verdict_whose_message_was_lost_is_found_in_the_journal_after_the_deadline(station: Station) -> None:
    (ack,) = station.send("f1", deadline_ms=500)
    assert isinstance(ack, Ack)
    station.journal.judge("f1", 3)
    assert station.intake.tick() == []
    station.clock.advance(1.1)
    assert station.intake.tick() == [Reply(CAMERA, Done(frame_id="f1", result_id=ack.result_id, sequence=3))]
    assert station.intake.tick() == []


def test_fusion_is_reminded_of_a_part_without_a_verdict_after_its_deadline(station: Station) -> None:
    station.send("f1", deadline_ms=500)
    for told in (1, 2, 3):
        assert len(station.fusion.sent) == told
        station.clock.advance(1.1)
        assert station.intake.tick() == []
        station.outbox.flush(station.fusion, station.prepare)
    assert station.fusion.sent[1:] == [station.fusion.sent[0]] * 3
    station.judge("f1")
    station.clock.advance(1.1)
    station.intake.tick()
    station.outbox.flush(station.fusion, station.prepare)
    assert len(station.fusion.sent) == 4


def test_while_fusion_takes_nothing_the_reminders_do_not_pile_up(station: Station) -> None:
    station.send("f1", deadline_ms=500)
    station.fusion.room = False
    for _ in range(10):
        station.clock.advance(1.1)
        station.intake.tick()
    station.fusion.room = True
    station.outbox.flush(station.fusion, station.prepare)
    assert len(station.fusion.sent) == 2


def test_the_journal_is_not_searched_for_parts_whose_deadline_is_ahead(station: Station) -> None:
    station.send("f1", deadline_ms=60_000)
    asked = station.journal.asked
    for _ in range(30):
        station.clock.advance(1)
        station.intake.tick()
    assert station.journal.asked == asked


def test_while_the_journal_fails_nothing_is_promised_and_it_is_said_aloud(station: Station) -> None:
    assert station.tally.counters["mdss_journal_failures_total"] == 0
    station.journal.trouble = "journal j: database or disk is full"
    (nack,) = station.send("f1")
    assert isinstance(nack, Nack)
    assert nack.code == "BUSY" and "disk is full" in nack.reason
    assert station.tally.counters["mdss_journal_failures_total"] == 1
    assert station.intake.state == ("degraded", "journal j: database or disk is full")
    assert station.prepare.sent == station.fusion.sent == []
    assert station.say(Ping(source_id="cam")) == [Pong(boot_id="boot", is_known=True)]


def test_a_journal_that_works_again_ends_the_trouble(station: Station) -> None:
    station.journal.trouble = "journal j: database is locked"
    station.send("f1")
    station.journal.trouble = ""
    station.clock.advance(1)
    assert isinstance(station.send("f1")[0], Ack)
    assert station.intake.state == ("running", "")


def test_a_locked_journal_is_not_asked_for_every_frame(station: Station) -> None:
    station.journal.trouble = "journal j: database is locked"
    for number in range(10):
        assert code_of(station.send(f"f{number}")) == "BUSY"
    assert station.journal.asked == 1


def test_a_frame_waits_for_prepare_while_all_else_goes_on(station: Station) -> None:
    station.prepare.room = False
    (ack,) = station.send("f1")
    assert isinstance(ack, Ack)
    assert len(station.fusion.sent) == 1 and station.prepare.sent == []
    assert station.say(Ping(source_id="cam")) == [Pong(boot_id="boot", is_known=True)]
    assert station.intake.state == ("running", "")
    station.clock.advance(3)
    assert station.intake.state == ("degraded", "prepare takes nothing, 1 frames wait")
    station.prepare.room = True
    station.outbox.flush(station.fusion, station.prepare)
    assert len(station.prepare.sent) == 1
    assert station.intake.state == ("running", "")


def test_no_frame_reaches_prepare_before_fusion_knows_of_it(station: Station) -> None:
    station.fusion.room = False
    station.send("f1")
    assert station.prepare.sent == []
    station.fusion.room = True
    station.outbox.flush(station.fusion, station.prepare)
    assert len(station.fusion.sent) == len(station.prepare.sent) == 1


def test_a_frame_that_waited_past_its_verdict_is_not_worked_on(station: Station) -> None:
    station.prepare.room = False
    station.send("f1")
    station.judge("f1")
    station.prepare.room = True
    station.outbox.flush(station.fusion, station.prepare)
    assert station.prepare.sent == []


def test_the_frames_that_wait_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST_BYTES", 2 * SIDE * SIDE * 15)
    station = Station(settings=Settings(camera=CameraSettings(credit=9), models=RULES.models))
    station.say(Hello(source_id="cam"))
    station.prepare.room = False
    kinds = [type(station.send(f"f{number}")[0]) for number in range(4)]
    assert kinds == [Ack, Ack, Nack, Nack]
    station.prepare.room = True
    station.outbox.flush(station.fusion, station.prepare)
    assert isinstance(station.send("f2")[0], Ack)


def test_a_station_that_stops_takes_the_credit_back_and_waits_for_what_it_holds(station: Station) -> None:
    station.send("f1")
    assert station.intake.stop() == [Reply(CAMERA, Credit(credit=0, boot_id="boot"))]
    assert code_of(station.send("f2")) == "DRAINING"
    assert station.say(Hello(source_id="cam")) == [Credit(credit=0, boot_id="boot")]
    assert station.intake.state == ("draining", "1 parts wait for their verdicts")
    assert station.send("f1") != [] and not station.intake.is_idle
    assert len(station.judge("f1")) == 1
    assert station.intake.is_idle
