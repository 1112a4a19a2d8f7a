"""A process that not even SIGKILL ends, as on a dying disk, is not hidden: readiness and systemd's watchdog follow."""

from __future__ import annotations

from daemon.child import ENDS_WITHIN_S
from daemon.status import StationReport
from mdss.wire.messages import Ended
from tests.fakes import ignores_term, outlives_sigkill
from tests.unit.daemon.test_supervisor import LIMITS, Line

KILLED_S = 2 + LIMITS.stall_timeout_s  # after its start, at the latest two seconds later


def looks(line: Line, *seconds: float) -> list[tuple[StationReport, int]]:
    """Return, once the line has run, what was shown after so many seconds, and how often the watchdog had been fed until then."""
    seen: list[tuple[StationReport, int]] = []
    for each in seconds:
        line.at(each, lambda: seen.append((line.board.report, line.said.count("WATCHDOG=1"))))
    line.run(max(seconds) + 1)
    return seen


def test_a_vital_one_costs_readiness_at_the_kill_and_the_watchdog_some_seconds_later() -> None:
    line = Line(rgb_0=outlives_sigkill(1e6))
    end_s = KILLED_S + ENDS_WITHIN_S
    (killed, fed), (hanging, _), (later, then_fed), (last, in_the_end_fed) = looks(line, KILLED_S + 3, end_s + 3, end_s + 4, end_s + 40)
    assert (killed.state, killed.is_ready, killed.reason) == ("degraded", False, "rgb-0: silent for 5 s; killed")
    assert (hanging.state, hanging.is_ready, later.state, last.state) == ("error", False, "error", "error")
    assert "hangs in the kernel" in hanging.reason
    assert fed < then_fed == in_the_end_fed


def test_one_that_parts_are_judged_without_costs_neither() -> None:
    line = Line(collect=outlives_sigkill(1e6))
    end_s = KILLED_S + ENDS_WITHIN_S
    (before, fed), (after, later_fed) = looks(line, end_s + 3, end_s + 20)
    assert (before.state, before.is_ready, after.is_ready) == ("degraded", True, True)
    assert later_fed > fed


def test_one_that_ends_after_all_is_replaced_and_fusion_never_took_its_stage_for_gone() -> None:
    line = Line(rgb_0=outlives_sigkill(ENDS_WITHIN_S + 10))
    ((report, _),) = looks(line, KILLED_S + ENDS_WITHIN_S + 14)
    assert (report.state, report.is_ready, len(line.world.of("rgb-0"))) == ("running", True, 2)
    assert [ended.is_last for ended in line.fusion.sent if isinstance(ended, Ended)] == [False]


def test_a_fusion_that_begins_meanwhile_is_not_told_that_the_stage_is_gone() -> None:
    line = Line(rgb_0=outlives_sigkill(1e6))
    line.at(KILLED_S + ENDS_WITHIN_S + 4, lambda: setattr(line.world.of("fusion")[0], "code", 1))
    line.run(KILLED_S + ENDS_WITHIN_S + 10)
    assert len(line.world.of("fusion")) == 2
    assert [ended.process for ended in line.fusion.sent if isinstance(ended, Ended)] == ["fusion"]


def test_one_that_ignores_sigterm_is_gone_before_the_station_is_though_it_is_the_last_to_be_asked() -> None:
    line = Line(alerts=ignores_term)
    line.run(5)
    assert [report.pid for report in line.board.report.processes] == [None] * len(line.names)
