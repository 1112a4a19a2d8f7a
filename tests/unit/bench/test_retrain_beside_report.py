"""What the bench of a training beside a station makes of the waits."""

from __future__ import annotations

import numpy as np
import pytest

from bench.outage_report import TimeWindow, rounds_of
from bench.retrain_beside_report import ALONE, BESIDE, WINDOWS, as_text, report_of

S = 10**9


def rounds(slower: float, count: int = 8) -> list[dict[str, list[float]]]:
    """Return rounds whose windows beside a training take so many times as long."""
    random = np.random.default_rng(0)
    waits = [list(random.uniform(0.1, 0.2, 50)) for _ in range(count)]
    return [{ALONE: each, BESIDE: [slower * wait for wait in each]} for each in waits]


def test_a_fifth_more_is_borne_and_what_is_shown_to_be_more_fails() -> None:
    assert report_of(rounds(1.1), 10, 0.5, []).failures == ()
    report = report_of(rounds(1.5), 10, 0.5, ["3 frames got no DONE"])
    assert report.p99.value == pytest.approx(1.5, abs=0.01) and report.p99.lower > 1.2
    assert len(report.failures) == 2 and "p99 beside a training is 1.50 times that without" in report.failures[0]
    assert "FAILED" in as_text(report) and "0.50 of a processor" in as_text(report)


def test_a_few_rounds_show_nothing() -> None:
    assert report_of(rounds(1.5, count=3), 10, 0.5, []).failures == ()


def test_a_wait_counts_for_the_window_in_which_it_began() -> None:
    windows = [TimeWindow(0, ALONE, 0, 10 * S), TimeWindow(0, BESIDE, 11 * S, 20 * S)]
    waits = [(S, 2 * S), (9 * S, 12 * S), (10 * S + 1, 11 * S), (12 * S, 15 * S), (13 * S, 0)]
    assert rounds_of(windows, waits, WINDOWS) == [{ALONE: [1.0, 3.0], BESIDE: [3.0]}]
