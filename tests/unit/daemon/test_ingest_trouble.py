"""The front door when something around it is away, full, lost or stopping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from daemon import admission
from daemon.intake import Reply
from daemon.journal_access import FAILURES
from mdss.settings import CameraSettings, Settings
from mdss.wire.camera import Ack, Credit, Done, Hello, Nack, Ping, Pong, compose_frame
from mdss.wire.cloud import Invalid
from mdss.wire.headers import CloudFormat
from mdss.wire.messages import Accepted, Frame, Resend
from tests.front_door import CAMERA, RULES, SIDE, Station, code_of, header, payloads

ROOT = Path(__file__).parents[3]


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


def test_a_part_whose_verdict_was_lost_on_its_way_and_cannot_be_read_is_done_and_fusion_is_not_asked_for_it_again(station: Station) -> None:
    (ack,) = station.send("f1", deadline_ms=500)
    assert isinstance(ack, Ack)
    station.journal.judge("f1", 3)
    station.journal.entries["cam", "f1"] = replace(station.journal.entries["cam", "f1"], judged=None)
    station.clock.advance(1.1)
    assert station.intake.tick() == [Reply(CAMERA, Done(frame_id="f1", result_id=ack.result_id, sequence=3))]
    station.outbox.flush(station.fusion, station.prepare)
    assert len(station.fusion.sent) == 1


def test_fusion_is_not_reminded_of_a_part_of_which_the_journal_cannot_say_what_became(station: Station) -> None:
    station.send("f1", deadline_ms=500)
    station.send("f2", deadline_ms=500)
    station.journal.damaged = frozenset({"f1"})
    for _ in range(3):
        station.clock.advance(1.1)
        assert station.intake.tick() == []
        station.outbox.flush(station.fusion, station.prepare)
    assert told_of(station) == ["f1", "f2", "f2", "f2", "f2"]
    assert station.intake.state == ("degraded", "journal j: database disk image is malformed")
    station.journal.damaged = frozenset()
    station.clock.advance(1.1)
    station.intake.tick()
    station.outbox.flush(station.fusion, station.prepare)
    assert told_of(station)[-2:] == ["f1", "f2"]


def told_of(station: Station) -> list[str]:
    """Return the frames that fusion was told of, in order."""
    return [message.identity.frame_id for message in station.fusion.sent if isinstance(message, Accepted)]


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


def test_parts_whose_deadline_is_over_are_looked_up_once_a_second_and_not_at_every_turn(station: Station) -> None:
    station.send("f1", deadline_ms=500)
    station.clock.advance(1.1)
    asked = station.journal.asked
    for _ in range(20):
        station.intake.tick()
        station.clock.advance(0.04)
    assert station.journal.asked == asked + 1


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


def test_a_frame_of_which_the_disk_damaged_what_is_known_holds_up_no_other_and_is_said_as_long_as_that_lasts(station: Station) -> None:
    station.journal.damaged = frozenset({"f1"})
    with capture_logs() as logs:
        for number in range(2, 5):
            (nack,) = station.send("f1")
            assert isinstance(nack, Nack) and nack.code == "NOT_READY" and "malformed" in nack.reason
            assert isinstance(station.send(f"f{number}")[0], Ack)
            station.judge(f"f{number}", number)
            assert station.intake.state == ("degraded", "journal j: database disk image is malformed")
    assert [(line["event"], line["frame"]) for line in logs if line["log_level"] == "error"] == [
        ("the disk damaged what the journal says of a frame", "f1")
    ]
    assert station.tally.counters["mdss_journal_failures_total"] == 3


def test_the_alert_on_both_says_that_either_all_frames_are_refused_or_some_alone() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "alert-rules.yaml").read_text())["groups"][0]["rules"]
    (notes,) = (rule["annotations"] for rule in rules if FAILURES in rule["expr"])
    assert "refuses frames for now: all of them, or, where the disk damaged what the journal says of single frames" in notes["summary"]
    assert "A damaged journal" in notes["action"] and "#### A damaged journal\n" in (ROOT / "docs" / "operations.md").read_text()


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


def test_the_frames_that_are_held_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MOST_BYTES", 2 * SIDE * SIDE * 15)
    station = Station(settings=Settings(camera=CameraSettings(credit=9), models=RULES.models))
    station.say(Hello(source_id="cam"))
    kinds = [type(station.send(f"f{number}")[0]) for number in range(4)]
    assert kinds == [Ack, Ack, Nack, Nack]
    station.intake.tick()
    assert station.count("mdss_held_bytes") == 2 * SIDE * SIDE * 15
    station.judge("f0")
    assert isinstance(station.send("f2")[0], Ack)


def test_a_frame_with_confidences_needs_room_for_them_too(monkeypatch: pytest.MonkeyPatch, station: Station) -> None:
    monkeypatch.setattr(admission, "MOST_BYTES", SIDE * SIDE * (15 + 4) - 1)
    scored = CloudFormat(unit="mm", invalid=Invalid(kind="confidence", value=0.5))
    frame = compose_frame(header("f1", xyz=scored), [*payloads(), bytes(SIDE * SIDE * 4)])
    assert code_of(station.answers(CAMERA, [bytes(part) for part in frame])) == "BUSY"
    assert isinstance(station.send("f2")[0], Ack)


def test_what_fusion_asks_for_again_goes_out_again_with_its_attempt(station: Station) -> None:
    (ack,) = station.send("f1")
    assert isinstance(ack, Ack)
    station.intake.resend(Resend(result_id=ack.result_id, attempt=2, wanted=("sdf",)))
    station.outbox.flush(station.fusion, station.prepare)
    first, second = station.prepare.sent
    assert isinstance(first, Frame) and isinstance(second, Frame)
    assert (first.wanted, second.wanted) == (("rgb", "sdf"), ("sdf",))
    assert second.xyz is first.xyz
    assert [accepted.attempt for accepted in station.fusion.sent if isinstance(accepted, Accepted)] == [1, 2]
    assert station.count("mdss_parts_resent_total") == 1


def test_a_frame_that_still_waits_is_not_sent_twice(station: Station) -> None:
    station.prepare.room = False
    (ack,) = station.send("f1")
    assert isinstance(ack, Ack)
    station.intake.resend(Resend(result_id=ack.result_id, attempt=2, wanted=("rgb", "sdf")))
    station.prepare.room = True
    station.outbox.flush(station.fusion, station.prepare)
    assert len(station.prepare.sent) == 1


def test_what_is_not_held_is_left_to_its_camera(station: Station) -> None:
    station.intake.resend(Resend(result_id="of an earlier life", attempt=2, wanted=("rgb",)))
    station.outbox.flush(station.fusion, station.prepare)
    assert station.fusion.sent == station.prepare.sent == []


def test_the_scan_of_a_part_that_is_poison_is_kept(station: Station) -> None:
    station.send("f1")
    station.send("f2")
    station.judge("f1", code="LATE")
    assert station.kept == []
    station.judge("f2", code="POISON")
    ((part, reason),) = station.kept
    assert (part.accepted.identity.frame_id, part.frame.rgb.shape, reason) == ("f2", (SIDE, SIDE, 3), "it broke two workers")


def test_a_station_that_stops_takes_the_credit_back_and_waits_for_what_it_holds(station: Station) -> None:
    station.send("f1")
    assert station.intake.stop() == [Reply(CAMERA, Credit(credit=0, boot_id="boot"))]
    assert code_of(station.send("f2")) == "DRAINING"
    assert station.say(Hello(source_id="cam")) == [Credit(credit=0, boot_id="boot")]
    assert station.intake.state == ("draining", "1 parts wait for their verdicts")
    assert station.send("f1") != [] and not station.intake.is_idle
    assert len(station.judge("f1")) == 1
    assert station.intake.is_idle


def test_what_is_asked_for_again_goes_before_what_has_more_time(station: Station) -> None:
    (ack,) = station.send("f1", deadline_ms=1000)
    station.prepare.room = False
    station.send("f2", deadline_ms=60_000)
    assert isinstance(ack, Ack)
    station.intake.resend(Resend(result_id=ack.result_id, attempt=2, wanted=("rgb",)))
    station.prepare.room = True
    station.outbox.flush(station.fusion, station.prepare)
    assert [frame.wanted for frame in station.prepare.sent if isinstance(frame, Frame)] == [("rgb", "sdf"), ("rgb",), ("rgb", "sdf")]


def test_a_poison_verdict_that_is_found_in_the_journal_is_quarantined_as_well(station: Station) -> None:
    station.send("f1", deadline_ms=500)
    station.journal.judge("f1", 3, code="POISON")
    station.clock.advance(1.1)
    station.intake.tick()
    assert [part.accepted.identity.frame_id for part, _ in station.kept] == ["f1"]


def test_what_was_acknowledged_before_a_restart_is_taken_though_there_is_no_room(station: Station) -> None:
    station.send("f1")
    reborn = Station.introduced(station.journal)
    reborn.send("new 1")
    reborn.send("new 2")
    assert code_of(reborn.send("new 3")) == "BUSY"
    assert isinstance(reborn.send("f1")[0], Ack)
