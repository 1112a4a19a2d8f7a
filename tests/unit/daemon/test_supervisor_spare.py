"""A process that parts are judged without costs the station its good state, and nothing else: not even the word of a worse one."""

from __future__ import annotations

import msgspec
import pytest

from daemon.collection_queue import DROPPED
from daemon.status import StationReport
from mdss.settings import ModelSettings
from tests.fakes import FakeProcess, History, dies_often, dies_once, lives, never_ready, refuses
from tests.model_world import ModelWorld
from tests.unit.daemon.test_supervisor import LIMITS, Line


def test_one_that_is_given_up_leaves_the_station_degraded_ready_and_pinging() -> None:
    line = Line(collect=dies_often)
    seen: list[tuple[str, str, bool, int]] = []

    def look() -> None:
        report = line.board.report
        seen.append((report.state, report.reason, report.is_ready, line.said.count("WATCHDOG=1")))

    line.at(50, look)
    line.at(69, look)
    line.run(70)
    (_, _, _, pings), (state, reason, is_ready, later_pings) = seen
    assert (state, is_ready) == ("degraded", True)
    assert reason.startswith("collect: ended with code 1; ended 5 times")
    assert later_pings > pings
    assert line.ended()


@pytest.mark.parametrize("history", [refuses, dies_often])
def test_one_that_cannot_start_does_not_hold_the_station_up(history: History) -> None:
    line = Line(collect=history)
    ready: list[bool] = []
    line.at(3, lambda: ready.append("READY=1" in line.said))
    line.run(5)
    assert ready == [True]


def test_one_that_hangs_while_it_starts_is_waited_for_no_longer_than_any_other() -> None:
    def takes_a_second_to_start(_: FakeProcess, age_s: float) -> None:
        line.world.clock.advance(0.0 if age_s else 1.0)

    line = Line(alerts=takes_a_second_to_start, collect=never_ready)  # whose own time begins a second after that of all
    line.run(LIMITS.ready_timeout_s + 5)
    assert "READY=1" in line.said


def test_one_that_takes_its_time_is_waited_for_so_that_the_first_part_finds_it() -> None:
    line = Line(collect=lambda process, age_s: setattr(process, "state", "running" if age_s > 8 else None))
    line.run(12)
    (ingest,), (collect,) = line.world.of("ingest"), line.world.of("collect")
    assert ingest.started_s >= collect.started_s + 8


def test_scans_that_were_dropped_on_their_way_to_collect_are_told_of_it_and_leave_the_station_as_it_is() -> None:
    line, seen = Line(), list[StationReport]()

    def drop_three() -> None:
        (ingest,) = line.world.of("ingest")
        heartbeat = ingest.heartbeat
        ingest.heartbeat = lambda: (said := heartbeat()) and msgspec.structs.replace(said, counters={DROPPED: 3.0})  # type: ignore[method-assign]

    line.at(3, drop_three)
    line.at(6, lambda: seen.append(line.board.report))
    line.run(7)
    (report,) = seen
    ((name, reason),) = [(process.name, process.reason) for process in report.processes if process.reason]
    assert (name, report.state, report.reason) == ("collect", "running", "")
    assert reason.startswith("scans dropped in the last hour: 3, ")


def test_a_vital_process_that_fails_is_named_before_one_that_is_not() -> None:
    line = Line(collect=dies_often, rgb_0=dies_often)
    said: list[tuple[str, str]] = []
    line.at(69, lambda: said.append((line.board.report.state, line.board.report.reason)))
    line.run(70)
    ((state, reason),) = said
    assert state == "error" and reason.startswith("rgb-0: ")


def in_trouble(reason: str) -> History:
    """Return a history that works on, and says what is wrong."""

    def history(process: FakeProcess, age_s: float) -> None:
        lives(process, age_s)
        process.state, process.reason = "degraded", reason

    return history


def test_of_every_process_the_report_says_what_it_said_last_how_often_it_was_started_again_and_how_long_it_has_been_silent() -> None:
    def falls_silent_with_parts_waiting(process: FakeProcess, age_s: float) -> None:
        process.steps, process.waiting, process.state = 7, 3, "running" if age_s < 2 else None

    line, seen = Line(alerts=in_trouble("Redis is away"), rgb_0=dies_once(), sdf_0=falls_silent_with_parts_waiting), list[StationReport]()
    for seconds in (2.4, 5):  # at the first of which rgb-0 is not there
        line.at(seconds, lambda: seen.append(line.board.report))
    line.run(6)
    (away, later) = ({process.name: process for process in report.processes} for report in seen)
    assert (away["rgb-0"].pid, away["rgb-0"].silence_s, away["rgb-0"].restarts, later["rgb-0"].restarts) == (None, 0.0, 0, 1)
    assert (later["sdf-0"].steps, later["sdf-0"].waiting, later["alerts"].reason) == (7, 3, "Redis is away")
    assert 3 < later["sdf-0"].silence_s < 4.2 and seen[1].uptime_s == pytest.approx(5, abs=0.2)


NO_REDIS, NO_SCAN, NO_DISK = in_trouble("Redis is away"), in_trouble("no scan is kept"), in_trouble("the disk is full")


@pytest.mark.parametrize(
    ("histories", "lacks_model", "is_ready", "begins"),
    [
        ({"alerts": NO_REDIS, "collect": NO_SCAN, "ingest": NO_DISK}, True, True, "ingest: the disk is full"),
        ({"alerts": NO_REDIS, "collect": NO_SCAN}, True, True, "recipe gland is judged by nothing: gland/champion: no such model"),
        ({"alerts": NO_REDIS, "collect": NO_SCAN}, False, True, "alerts: Redis is away"),
        ({"collect": refuses, "ingest": NO_DISK}, False, True, "ingest: the disk is full"),
        ({"collect": NO_SCAN, "ingest": NO_DISK, "fusion": dies_often}, True, False, "fusion: ended with code 1; starts again"),
        ({"alerts": dies_often, "ingest": NO_DISK, "sdf_0": dies_often}, False, False, "sdf-0: ended with code 1; starts again"),
    ],
)
def test_the_reason_is_that_of_the_worst_and_of_the_line_first(
    histories: dict[str, History], lacks_model: bool, is_ready: bool, begins: str
) -> None:
    models = ModelWorld(ModelSettings(recipes=("cap", "gland"))).swaps if lacks_model else None
    line = Line(models, **histories)
    seen: list[tuple[str, bool, str]] = []
    line.at(5.2, lambda: seen.append((line.board.report.state, line.board.report.is_ready, line.board.report.reason[: len(begins)])))
    line.run(6)
    assert seen == [("degraded", is_ready, begins)]
