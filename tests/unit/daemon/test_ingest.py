"""Histories of the front door: what cameras are answered, what goes on into the station, and what is recorded."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import zmq

from daemon.intake import Reply
from mdss.journal import Journal
from mdss.settings import Settings
from mdss.wire import camera
from mdss.wire.camera import Ack, Credit, Done, Eos, Hello, Ping, Pong, compose_frame
from mdss.wire.headers import ImageFormat
from mdss.wire.messages import Accepted, Frame, Judged
from tests.front_door import CAMERA, OTHER, RULES, SIDE, Station, code_of, header, payloads


@pytest.fixture
def station() -> Station:
    return Station.introduced()


def test_a_camera_that_introduces_itself_gets_credit_and_is_known() -> None:
    station = Station()
    assert station.say(Ping(source_id="cam")) == [Pong(boot_id="boot", is_known=False)]
    assert station.say(Hello(source_id="cam")) == [Credit(credit=2, boot_id="boot")]
    assert station.say(Ping(source_id="cam")) == [Pong(boot_id="boot", is_known=True)]


def test_a_frame_is_recorded_announced_sent_on_and_acknowledged(station: Station) -> None:
    station.clock.advance(5)
    (ack,) = station.send("f1", part_id="part-7", deadline_ms=300)
    (accepted,), (frame,) = station.fusion.sent, station.prepare.sent
    assert isinstance(accepted, Accepted) and isinstance(frame, Frame)
    assert ack == Ack(frame_id="f1", result_id=accepted.result_id)
    assert accepted.identity.part_id == "part-7"
    assert (accepted.received_ns, accepted.deadline_ns) == (station.clock.utc_ns(), station.clock.ns() + 300_000_000)
    assert (frame.result_id, frame.recipe_id, accepted.attempt) == (accepted.result_id, "gland", 1)
    assert frame.rgb.shape == frame.xyz.shape == (SIDE, SIDE, 3)
    assert station.journal.entries["cam", "f1"].result_id == accepted.result_id
    assert station.tally.timings['mdss_stage_duration_seconds{stage="ingest"}'] == [0.0]


def test_a_frame_without_a_deadline_gets_the_station_s(station: Station) -> None:
    station.send()
    (accepted,) = station.fusion.sent
    assert isinstance(accepted, Accepted)
    assert accepted.deadline_ns - station.clock.ns() == 2_000_000_000


def test_done_follows_the_verdict(station: Station) -> None:
    (ack,) = station.send("f1")
    assert isinstance(ack, Ack)
    assert station.judge("f1", 9) == [Reply(CAMERA, Done(frame_id="f1", result_id=ack.result_id, sequence=9))]
    assert station.intake.is_idle


def test_a_verdict_of_a_part_that_is_not_held_says_nothing(station: Station) -> None:
    assert station.intake.note_verdicts([Judged(result_id="of an earlier life", sequence=3)]) == []


def test_a_frame_sent_twice_is_acknowledged_twice_and_judged_once(station: Station) -> None:
    assert station.send("f1") == station.send("f1")
    assert len(station.prepare.sent) == len(station.fusion.sent) == 1
    assert len(station.judge("f1")) == 1


def test_a_frame_already_judged_is_answered_from_the_record(station: Station) -> None:
    station.send("f1")
    result_id = station.journal.judge("f1", 4)
    station.intake.note_verdicts([Judged(result_id=result_id, sequence=4)])
    assert station.send("f1") == [Ack(frame_id="f1", result_id=result_id), Done(frame_id="f1", result_id=result_id, sequence=4)]
    assert len(station.prepare.sent) == 1


def test_a_frame_of_an_earlier_life_keeps_its_result_and_is_tried_again(station: Station) -> None:
    (first,) = station.send("f1")
    reborn = Station.introduced(station.journal)
    assert reborn.send("f1") == [first]
    (accepted,), (frame,) = reborn.fusion.sent, reborn.prepare.sent
    assert isinstance(accepted, Accepted) and isinstance(frame, Frame)
    assert (accepted.attempt, frame.result_id) == (2, accepted.result_id)
    assert reborn.intake.tick() == [] and reborn.count("mdss_sources_misdated") == 0, "it may well be old"


def test_the_same_frame_id_of_another_camera_is_another_frame(station: Station) -> None:
    station.say(Hello(source_id="other"), OTHER)
    (first,), (second,) = station.send("f1"), station.send("f1", OTHER, source_id="other")
    assert isinstance(first, Ack) and isinstance(second, Ack)
    assert first.result_id != second.result_id


def test_beyond_credit_a_frame_is_refused_until_a_verdict_makes_room(station: Station) -> None:
    station.send("f1")
    station.send("f2")
    assert code_of(station.send("f3")) == "BUSY"
    station.judge("f1")
    assert isinstance(station.send("f3")[0], Ack)
    assert station.count('mdss_frames_rejected_total{code="BUSY"}') == 1


def test_credit_is_counted_for_each_camera_alone(station: Station) -> None:
    station.say(Hello(source_id="other"), OTHER)
    station.send("f1")
    station.send("f2")
    assert isinstance(station.send("f1", OTHER, source_id="other")[0], Ack)


def test_a_camera_that_connects_anew_takes_over_and_gets_the_verdicts(station: Station) -> None:
    station.send("f1")
    station.say(Hello(source_id="cam"), OTHER)
    assert station.say(Ping(source_id="cam")) == [Pong(boot_id="boot", is_known=False)]
    assert code_of(station.send("f2")) == "NOT_READY"
    assert [reply.peer for reply in station.judge("f1")] == [OTHER]
    station.intake.tick()
    assert station.count("mdss_source_takeovers_total") == 1


def test_a_camera_that_comes_back_after_its_connection_died_is_no_takeover(station: Station) -> None:
    station.clock.advance(4)
    station.say(Hello(source_id="cam"), OTHER)
    station.intake.tick()
    assert station.count("mdss_source_takeovers_total") == 0


def test_a_camera_that_said_goodbye_and_connects_anew_is_no_takeover(station: Station) -> None:
    station.say(Eos(source_id="cam"))
    station.say(Hello(source_id="cam"), OTHER)
    station.intake.tick()
    assert station.count("mdss_source_takeovers_total") == 0


def test_silence_is_an_event_and_a_gauge_and_ends_with_the_next_word(station: Station) -> None:
    station.clock.advance(10.1)
    station.intake.tick()
    station.intake.tick()
    assert (station.count("mdss_sources"), station.count("mdss_sources_silent")) == (1, 1)
    station.say(Ping(source_id="cam"))
    station.intake.tick()
    assert station.count("mdss_sources_silent") == 0
    assert station.intake.state == ("running", "")


def test_a_camera_that_said_goodbye_is_not_silent_but_gets_what_it_waits_for(station: Station) -> None:
    station.send("f1")
    station.say(Eos(source_id="cam"))
    station.clock.advance(60)
    station.intake.tick()
    assert (station.count("mdss_sources"), station.count("mdss_sources_silent")) == (0, 0)
    assert [reply.peer for reply in station.judge("f1")] == [CAMERA]


def test_a_camera_that_speaks_again_after_its_goodbye_can_fall_silent_again(station: Station) -> None:
    station.say(Eos(source_id="cam"))
    station.say(Ping(source_id="cam"))
    station.clock.advance(60)
    station.intake.tick()
    assert (station.count("mdss_sources"), station.count("mdss_sources_silent")) == (1, 1)


def test_with_the_real_journal_a_frame_has_one_result_through_three_lives(tmp_path: Path) -> None:
    results = set()
    for life in range(3):
        journal = Journal(tmp_path / "journal.sqlite")
        station = Station.introduced(journal)
        (ack,) = station.send("f1")
        assert isinstance(ack, Ack)
        results.add(ack.result_id)
        (accepted,) = journal.pending()
        assert accepted.attempt == life + 1
        journal.close()
    assert len(results) == 1


def test_frames_of_zmq_are_taken_as_they_are(station: Station) -> None:
    parts = [zmq.Frame(bytes(part)) for part in camera.compose_frame(header("f1"), payloads())]
    (reply,) = station.intake.take(CAMERA, parts)
    assert isinstance(reply.message, Ack)


def camera_rules(**changes: float) -> Settings:
    return msgspec.structs.replace(RULES, camera=msgspec.structs.replace(RULES.camera, **changes))


def test_every_camera_hears_of_another_credit_and_of_nothing_else(station: Station) -> None:
    station.say(Hello(source_id="other"), OTHER)
    credit = Credit(credit=5, boot_id="boot")
    assert station.intake.reconfigure(camera_rules(credit=5)) == [Reply(CAMERA, credit), Reply(OTHER, credit)]
    assert station.intake.reconfigure(camera_rules(credit=5, deadline_ms=9)) == []
    assert station.say(Hello(source_id="cam")) == [credit]


def test_less_credit_leaves_what_is_held_and_takes_more_only_when_there_is_room(station: Station) -> None:
    for name in ("f1", "f2"):
        station.send(name)
    station.intake.reconfigure(camera_rules(credit=1))
    station.judge("f1", 1)
    assert code_of(station.send("f3")) == "BUSY"
    station.judge("f2", 2)
    assert isinstance(station.send("f3")[0], Ack)


def test_deadline_size_and_silence_are_those_of_the_moment(station: Station) -> None:
    station.send("before")
    station.intake.reconfigure(camera_rules(deadline_ms=700, max_width_px=2 * SIDE, silence_s=3))
    station.send("after")
    first, second = station.fusion.sent
    assert isinstance(first, Accepted) and isinstance(second, Accepted)
    assert second.deadline_ns - first.deadline_ns == (700 - 2000) * 10**6
    station.intake.reconfigure(camera_rules(max_width_px=SIDE - 1, credit=9, silence_s=3))
    assert code_of(station.send("wide")) == "TOO_LARGE"
    station.intake.reconfigure(camera_rules(max_height_px=SIDE, max_width_px=2 * SIDE, credit=9, silence_s=3))
    wide = header("wide", rgb=ImageFormat(height=SIDE, width=2 * SIDE))
    assert isinstance(station.answers(CAMERA, [bytes(each) for each in compose_frame(wide, [each * 2 for each in payloads()])])[0], Ack)
    station.clock.advance(4)
    station.intake.tick()
    assert station.tally.counters["mdss_sources_silent"] == 1
