"""The front door's log: whoever is refused without end, or speaks under ever new names, hides nothing in it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from daemon.refusal_log import MOST_LINES, MOST_NAMES, WITHIN_S
from mdss.wire.camera import Hello, Nack, Ping
from tests.front_door import CAMERA, OTHER, Station


@pytest.fixture
def station() -> Station:
    return Station.introduced()


def test_a_camera_that_is_refused_without_end_hides_nothing_else_in_the_log(station: Station) -> None:
    with capture_logs() as logs:
        for _ in range(1000):
            station.send(recipe_id="foam")
        station.say(Hello(source_id="other"), OTHER)
        station.answers(OTHER, [b"no message"])
        station.clock.advance(WITHIN_S + 1)
        station.send(recipe_id="foam")
    said = {"frame": "f1", "code": "UNKNOWN_RECIPE", "reason": "FRAME recipe_id: found foam, expected one of gland, cap"}
    assert said.items() <= logs[0].items()
    told = [(line["event"], line["source"]) for line in logs if line["log_level"] == "warning"]
    assert told[: MOST_LINES + 1] == [("frame refused", "cam")] * MOST_LINES + [("further refusals of this camera are not logged", "cam")]
    assert told[MOST_LINES + 1 :] == [("frame refused", "other"), ("frame refused", "cam")]
    assert station.tally.counters['mdss_frames_rejected_total{code="UNKNOWN_RECIPE"}'] == 1001


def test_who_has_another_name_each_time_fills_no_log_either(station: Station) -> None:
    with capture_logs() as logs:
        for number in range(2 * MOST_NAMES):
            station.say(Hello(source_id=f"name-{number}"), OTHER)
            for _ in range(MOST_LINES + 1):
                station.answers(OTHER, [b"no message"])
    told = [line["source"] for line in logs if line["event"] == "frame refused"]
    assert len(told) == (MOST_NAMES + 1) * MOST_LINES
    assert f"name-{MOST_NAMES}" in told and f"name-{MOST_NAMES + 1}" not in told


def test_two_cameras_of_one_name_are_told_of_now_and_then_and_counted_each_time(station: Station) -> None:
    with capture_logs() as logs:
        for _ in range(100):
            for peer in (CAMERA, OTHER):
                station.say(Hello(source_id="cam"), peer)
        station.clock.advance(WITHIN_S + 1)
        station.say(Ping(source_id="cam"), OTHER)
        station.say(Hello(source_id="cam"), CAMERA)
    told = [line["source"] for line in logs if line["event"].startswith("another connection took over")]
    station.intake.tick()
    assert (told, station.tally.counters["mdss_source_takeovers_total"]) == (["cam", "cam"], 200)


def test_what_a_busy_line_is_refused_for_now_is_no_warning(station: Station) -> None:
    with capture_logs() as logs:
        answers = [station.send(f"f{number}")[0] for number in range(5)]
    assert [answer.code for answer in answers if isinstance(answer, Nack)] == ["BUSY"] * 3
    assert [line["log_level"] for line in logs if line["event"] == "frame refused"] == ["debug"] * 3
