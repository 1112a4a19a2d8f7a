"""What the bench of outages concludes, from waits that are made up."""

from __future__ import annotations

import numpy as np
import pytest

from bench.outage_report import STATES, OutageRun, Round, State, TimeWindow, alert_faults, as_text, ratio, report_of, rounds_of
from mdss.errors import MdssError

SECOND = 10**9
COURSE = OutageRun(10.0, ["OK", "NotOK", "NotOK"], [1.0, 2.5], [])


def rounds(count: int = 20, slower: State | None = None, factor: float = 1.0) -> list[Round]:
    """Return rounds in which parts wait about a tenth of a second, in one state longer."""
    random = np.random.default_rng(1)
    return [{state: list(random.gamma(9, 0.01, 60) * (factor if state == slower else 1.0)) for state in STATES} for _ in range(count)]


def test_states_that_differ_in_nothing_have_ratios_around_one_and_no_failure() -> None:
    report = report_of(rounds(), COURSE)
    assert report.failures == ()
    assert all(each.lower < 1 < each.upper for each in report.p99.values())
    assert (report.rounds, report.alerts, report.caught_up_s) == (20, 2, (1.0, 2.5))
    assert report.states["normal"].parts == 2 * report.states["killed"].parts == 2400


def test_a_station_that_is_slower_without_redis_is_found() -> None:
    for state in ("killed", "stopped"):
        report = report_of(rounds(slower=state, factor=1.5), COURSE)
        (failure,) = report.failures
        assert failure.startswith(f"p99 while Redis is {state}")
        assert f"FAILED    {failure}" in as_text(report)


def test_a_few_rounds_are_no_proof_of_being_slower() -> None:
    assert report_of(rounds(4, slower="killed", factor=1.5), COURSE).failures == ()


def test_one_bad_minute_of_many_is_no_proof_of_being_slower() -> None:
    found = rounds(6)
    found[2] = {state: [2 * seconds for seconds in each] if state == "killed" else each for state, each in found[2].items()}
    report = report_of(found, COURSE)
    assert report.p99["killed"].lower < 1.1 < report.p99["killed"].value and report.failures == ()


def test_the_floor_compares_normal_windows_with_each_other_alone() -> None:
    report = report_of(rounds(slower="up again", factor=2.0), COURSE)
    assert report.p99["floor"].value > 1.7
    assert report.failures == ()


def test_the_spread_of_a_ratio_shrinks_with_more_rounds() -> None:
    few, many = (ratio(rounds(count), 99, ("killed",), ("up",)) for count in (5, 80))
    assert few.upper - few.lower > 2 * (many.upper - many.lower)


def test_what_comes_in_pairs_is_drawn_in_pairs() -> None:
    common: list[Round] = [
        {state: [float(number)] * 50 for state in STATES} for number in range(1, 20)
    ]  # slow and fast minutes, for all alike
    each = ratio(common, 50, ("killed",), ("up",))
    assert (each.value, each.lower, each.upper) == (1.0, 1.0, 1.0)


def test_a_part_belongs_to_the_window_in_which_it_was_due() -> None:
    windows = [TimeWindow(0, state, number * 20 * SECOND, (number * 20 + 10) * SECOND) for number, state in enumerate(STATES)]
    inside = [(number * 20 * SECOND + SECOND, number * 20 * SECOND + 13 * SECOND) for number in range(4)]
    others = [(-5 * SECOND, SECOND), (12 * SECOND, 13 * SECOND), (2 * SECOND, 0)]  # before, between two windows, and never answered
    assert rounds_of(windows, [*inside, *others]) == [{state: [12.0] for state in STATES}]


def test_a_round_that_lacks_a_state_is_left_out() -> None:
    windows = [TimeWindow(number // 4, state, number * SECOND, (number + 1) * SECOND) for number, state in enumerate([*STATES, *STATES])]
    waits = [(number * SECOND + 1, number * SECOND + 2) for number in range(7)]
    assert len(rounds_of(windows, waits)) == 1


def test_windows_too_short_for_any_part_are_named_instead_of_figures_of_nothing() -> None:
    windows = [TimeWindow(0, state, number * SECOND, (number + 1) * SECOND) for number, state in enumerate(STATES)]
    with pytest.raises(MdssError, match="none of 1 rounds has an answered part in each of its windows"):
        rounds_of(windows, [(1, 2)])


def test_alerts_that_are_missing_or_there_twice_are_named() -> None:
    assert alert_faults(["a", "b"], ["b", "a", "newer"], "stream") == []
    assert alert_faults(["a", "b"], ["b"], "stream") == ["1 of 2 alerts are missing in the stream of Redis"]
    assert alert_faults(["a"], ["a", "a"], "stream") == ["1 alerts are more than once in the stream of Redis"]


def test_alerts_that_are_not_as_they_should_be_are_failures_of_the_run() -> None:
    assert report_of(rounds(1), OutageRun(10.0, ["NotOK"], [1.0], ["1 of 1 alerts are missing"])).failures == ("1 of 1 alerts are missing",)
