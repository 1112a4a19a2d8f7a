"""A process that parts are judged without costs the station its good state, and nothing else."""

from __future__ import annotations

import pytest

from tests.fakes import History, dies_often, never_ready, refuses
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
    line = Line(collect=never_ready)
    line.run(LIMITS.ready_timeout_s + 5)
    assert "READY=1" in line.said


def test_one_that_takes_its_time_is_waited_for_so_that_the_first_part_finds_it() -> None:
    line = Line(collect=lambda process, age_s: setattr(process, "state", "running" if age_s > 8 else None))
    line.run(12)
    (ingest,), (collect,) = line.world.of("ingest"), line.world.of("collect")
    assert ingest.started_s >= collect.started_s + 8


def test_a_vital_process_that_fails_is_named_before_one_that_is_not() -> None:
    line = Line(collect=dies_often, rgb_0=dies_often)
    said: list[tuple[str, str]] = []
    line.at(69, lambda: said.append((line.board.report.state, line.board.report.reason)))
    line.run(70)
    ((state, reason),) = said
    assert state == "error" and reason.startswith("rgb-0: ")
