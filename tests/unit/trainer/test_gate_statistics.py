"""Intervals of paired comparisons: what is published comes out, they hold what they promise, and they are not wider than useful."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import betabinom, binom

from trainer.gate_statistics import (
    PairedCounts,
    PairedScores,
    auroc_interval,
    auroc_loss,
    chance_of_rejects,
    margin_in_deviations,
    margin_lost,
    median_interval,
    parts_needed,
    wilson,
)


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_difference_of_paired_shares_has_the_published_interval() -> None:
    # R. G. Newcombe 1998 (Stat. Med. 17:2635), table II, method 10.
    assert PairedCounts(36, 12, 2, 0).excess(0.95) == pytest.approx((0.0569, 0.3404), abs=5e-4)


@pytest.mark.parametrize(
    ("counts", "phi"),
    [
        (PairedCounts(20, 12, 2, 16), (20 * 16 - 12 * 2 - 25) / np.sqrt(32 * 18 * 22 * 28)),
        (PairedCounts(1, 3, 3, 13), 0.0),  # 13 - 9 is less than half of 20
        (PairedCounts(0, 3, 0, 17), 0.0),  # nothing in common where one of them never errs
        (PairedCounts(2, 8, 6, 4), (2 * 4 - 8 * 6) / np.sqrt(10 * 10 * 8 * 12)),
    ],
)
def test_what_two_models_have_in_common_is_corrected_by_half_a_part_where_it_is_positive(counts: PairedCounts, phi: float) -> None:
    (low_more, _), (_, high_less) = (wilson(share, counts.total, 0.95) for share in (counts.candidate, counts.champion))
    more, less = counts.candidate - low_more, high_less - counts.champion
    reach = np.sqrt(more**2 - 2 * phi * more * less + less**2)
    assert counts.excess(0.95)[0] == pytest.approx(counts.candidate - counts.champion - reach)


def test_equal_models_have_an_interval_around_nothing_that_narrows_with_parts() -> None:
    few, many = (PairedCounts(2, 0, 0, count - 2).excess(0.95) for count in (20, 200))
    assert few[0] < many[0] < 0 < many[1] < few[1]


def test_the_interval_of_paired_shares_holds_the_true_difference_as_often_as_promised() -> None:
    random, held = seeded(), 0
    for _ in range(1000):
        champion, candidate = random.random(40) < 0.10, random.random(40) < 0.25
        low, high = PairedCounts.of(champion, candidate).excess(0.95)
        held += low <= 0.15 <= high
    assert held >= 920


def test_counts_tell_apart_who_errs() -> None:
    found = PairedCounts.of([True, True, False, False, False], [True, False, True, True, False])
    assert found == PairedCounts(both=1, candidate_only=2, champion_only=1, neither=1)
    assert (found.champion, found.candidate, found.total) == (2 / 5, 3 / 5, 5)


def test_so_many_parts_are_needed_that_none_rejected_excludes_a_share() -> None:
    for share in (0.05, 0.1, 0.25):
        needed = parts_needed(share, 0.95)
        assert wilson(0.0, needed, 0.95)[1] <= share < wilson(0.0, needed - 1, 0.95)[1]


@pytest.mark.parametrize(("rejected", "total", "rank", "calibrated"), [(0, 20, 20, 20), (3, 40, 29, 30), (40, 40, 39, 40), (2, 3, 4, 5)])
def test_the_chance_of_rejects_is_that_of_the_distribution_of_a_conformal_threshold(
    rejected: int, total: int, rank: int, calibrated: int
) -> None:
    expected = betabinom(total, calibrated + 1 - rank, rank).pmf(np.arange(rejected, total + 1)).sum()
    assert chance_of_rejects(rejected, total, rank, calibrated) == pytest.approx(expected, rel=1e-9, abs=0)


def test_a_threshold_that_keeps_its_promise_is_called_broken_no_more_often_than_said() -> None:
    random, broken = seeded(), 0
    for _ in range(2000):
        threshold = np.sort(random.lognormal(size=40))[38]
        rejected = int(np.count_nonzero(random.lognormal(size=30) > threshold))
        broken += chance_of_rejects(rejected, 30, 39, 40) < 0.05
    assert broken <= 0.06 * 2000


def test_the_median_lies_between_two_of_the_values_with_the_stated_confidence() -> None:
    assert median_interval(np.arange(1, 21), 0.95) == (6.0, 15.0)
    assert 1 - 2 * binom.cdf(5, 20, 0.5) >= 0.95 > 1 - 2 * binom.cdf(6, 20, 0.5)
    assert median_interval(np.arange(1, 31), 0.95) == (10.0, 21.0)
    assert 1 - 2 * binom.cdf(9, 30, 0.5) >= 0.95 > 1 - 2 * binom.cdf(10, 30, 0.5)
    assert median_interval([3.0, 1.0, 2.0], 0.95) == (1.0, 3.0)


def test_room_below_the_threshold_is_lost_by_moving_nearer_and_not_by_another_scale() -> None:
    own = seeded().normal(size=60)
    champion, narrower, nearer = 0.2 * (own - 2), 0.05 * (own - 2), 0.2 * (own - 0.5)
    assert margin_in_deviations(champion) == pytest.approx(2.0, abs=0.4)
    assert margin_lost(champion, narrower, 0.95, seeded(1)) == pytest.approx((0.0, 0.0), abs=1e-9)
    low, high = margin_lost(champion, nearer, 0.95, seeded(1))
    assert 1.2 < low < 1.5 < high < 2.2


def test_the_room_of_each_draw_is_its_own_mean_in_its_own_deviations_of_a_sample() -> None:
    assert margin_in_deviations(np.array([-1.0, -2.0, -3.0])) == pytest.approx(2.0)
    draws = seeded().normal(-2, 0.5, (3, 20))
    assert margin_in_deviations(draws) == pytest.approx([-np.mean(each) / np.std(each, ddof=1) for each in draws])
    assert np.isfinite(margin_in_deviations(np.full((2, 5), -1.0))).all()  # a draw may hold one part alone


def test_a_drawn_interval_leaves_as_much_out_on_either_side_as_its_confidence_says() -> None:
    good, bad = np.arange(1000.0), np.array([699.5])  # it wins against 700 of 1000, of which each draw has a binomial number
    for confidence in (0.95, 0.8):
        found, interval = auroc_interval(good, bad, confidence, seeded())
        ends = np.array([binom.ppf((1 + side * confidence) / 2, 1000, 0.7) / 1000 for side in (-1, 1)])
        assert found == 0.7 and interval == pytest.approx(ends, abs=0.002)


def test_separation_that_is_lost_is_beyond_chance_and_the_same_scores_lose_none() -> None:
    good, bad = seeded(1).normal(0, 1, 30), seeded(2).normal(3, 1, 30)
    same = PairedScores(good, good), PairedScores(bad, bad)
    blind = PairedScores(good, good), PairedScores(bad, seeded(3).normal(0, 1, 30))
    assert auroc_loss(*same, 0.95, seeded())[2] == (0.0, 0.0)
    before, after, (low, high) = auroc_loss(*blind, 0.95, seeded())
    assert before > 0.95 and after < 0.7 and 0.2 < low < before - after < high


def test_what_a_model_cannot_tell_apart_has_one_half_in_its_interval() -> None:
    found, (low, high) = auroc_interval(seeded(1).normal(size=25), seeded(2).normal(size=25), 0.95, seeded())
    assert low < 0.5 < high and low < found < high
    assert auroc_interval(np.zeros(5), np.zeros(5), 0.95, seeded())[0] == 0.5
