"""Metrics against independent implementations: SciPy's Mann-Whitney U and an AU-PRO that loops over every threshold."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, stats

from mdss.errors import BadInput
from mdss.method import metrics

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Case = tuple[list[Float], list[Bool]]

seeds = st.integers(0, 2**32 - 1)


def rank_auroc(labels: Bool, scores: NDArray[np.floating]) -> float:
    """Return the AUROC from the Mann-Whitney U of the two groups, U / (n m)."""
    statistic = stats.mannwhitneyu(scores[labels], scores[~labels], method="asymptotic").statistic
    return float(statistic) / (np.count_nonzero(labels) * np.count_nonzero(~labels))


def random_case(seed: int, with_good: bool = True) -> Case:
    """Return maps of different sizes with many ties and truths of several regions, some touching at a corner only."""
    random = np.random.default_rng(seed)
    maps, truths = [], []
    for number in range(random.integers(2, 5)):
        shape = tuple(random.integers(5, 14, size=2))
        levels = random.integers(2, 30)
        truth = ndimage.binary_dilation(random.random(shape) < 0.06, iterations=int(random.integers(1, 3)))
        truth &= number > 0 or not with_good
        maps.append(np.round(random.random(shape) * levels + truth * levels / 4).astype(np.float32))
        truths.append(truth)
    truths[-1][0, 0], truths[-1][1, 1], truths[-1][-1, -1] = True, True, False
    return maps, truths


def brute_force_points(maps: list[Float], truths: list[Bool], thresholds: NDArray[np.floating]) -> list[tuple[float, float]]:
    """Return (share of unmarked pixels, mean overlap) strictly above each threshold, region by region."""
    regions = []
    for heat, truth in zip(maps, truths, strict=True):
        labels, count = ndimage.label(truth, structure=np.ones((3, 3)))
        regions += [heat[labels == label] for label in range(1, count + 1)]
    unmarked = np.concatenate([heat[~truth] for heat, truth in zip(maps, truths, strict=True)])
    return [(float((unmarked > t).mean()), float(np.mean([(region > t).mean() for region in regions]))) for t in thresholds]


def brute_force_area(points: list[tuple[float, float]], limit: float) -> float:
    """Return the trapezoids' sum up to the limit, the last one cut by linear interpolation, divided by the limit."""
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x1 <= x0 or x0 >= limit:
            continue
        end = min(x1, limit)
        y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
        area += (end - x0) * (y0 + y_end) / 2
    return area / limit


def brute_force_au_pro(maps: list[Float], truths: list[Bool], limit: float) -> float:
    values = np.unique(np.concatenate([heat.ravel() for heat in maps]))[::-1]
    points = brute_force_points(maps, truths, np.append(values, values[-1] - 1))
    return brute_force_area(points, limit)


def published_au_pro(maps: list[Float], truths: list[Bool], limit: float, steps: int) -> float:
    """Return AU-PRO by equidistant ranks of the unmarked pixels, one rank after the other."""
    unmarked = np.sort(np.concatenate([heat[~truth] for heat, truth in zip(maps, truths, strict=True)]))
    ranks = [int(rank) for rank in np.linspace(0, len(unmarked) - 1, num=steps)]
    overlaps = [overlap for _, overlap in brute_force_points(maps, truths, unmarked[ranks])]
    points = [(1 - (rank + 1) / len(unmarked), overlap) for rank, overlap in zip(ranks, overlaps, strict=True)]
    return brute_force_area([*points[::-1], (1.0, 1.0)], limit)


@given(seed=seeds, levels=st.sampled_from([2, 5, 1000]))
@settings(max_examples=60)
def test_image_auroc_is_the_mann_whitney_statistic_with_ties(seed: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.append(random.random(40) < 0.4, [True, False])
    scores = np.round(random.random(42) * levels + labels)
    assert metrics.image_auroc(scores, labels) == pytest.approx(rank_auroc(labels, scores), abs=1e-12)


@given(seed=seeds, with_good=st.booleans())
@settings(max_examples=60)
def test_pixel_auroc_is_the_mann_whitney_statistic_with_ties(seed: int, with_good: bool) -> None:
    maps, truths = random_case(seed, with_good)
    expected = rank_auroc(np.concatenate([t.ravel() for t in truths]), np.concatenate([m.ravel() for m in maps]))
    assert metrics.pixel_auroc(maps, truths) == pytest.approx(expected, abs=1e-12)


@given(seed=seeds, with_good=st.booleans())
@settings(max_examples=60)
def test_au_pro_is_that_of_a_loop_over_every_threshold(seed: int, with_good: bool) -> None:
    maps, truths = random_case(seed, with_good)
    for limit, found in metrics.au_pro(metrics.Pixels.of(maps, truths), (1.0, 0.3, 0.1, 0.05, 0.01)).items():
        assert found == pytest.approx(brute_force_au_pro(maps, truths, limit), abs=1e-10)


@given(seed=seeds, steps=st.sampled_from([7, 100]))
@settings(max_examples=60)
def test_au_pro_in_rank_steps_is_the_published_protocol(seed: int, steps: int) -> None:
    maps, truths = random_case(seed)
    for limit, found in metrics.au_pro(metrics.Pixels.of(maps, truths), (1.0, *metrics.LIMITS), thresholds=steps).items():
        assert found == pytest.approx(published_au_pro(maps, truths, limit, steps), abs=1e-10)


def test_continuous_maps_of_real_size_agree_too() -> None:
    random = np.random.default_rng(5)
    maps = [random.normal(size=(60, 70)).astype(np.float32) for _ in range(3)]
    truths = [np.zeros((60, 70), bool) for _ in maps]
    truths[0][5:9, 5:30], truths[0][40:45, 40:45], truths[2][0:3, 60:70] = True, True, True
    for heat, truth in zip(maps, truths, strict=True):
        heat[truth] += 1
    for limit, found in metrics.au_pro(metrics.Pixels.of(maps, truths)).items():
        assert found == pytest.approx(brute_force_au_pro(maps, truths, limit), abs=1e-10)


def test_each_figure_of_a_branch_is_what_its_name_says() -> None:
    maps, truths = random_case(7)
    scores, labels = np.array([1.0, 3, 2, 2, 5]), np.array([False, True, False, True, True])
    found = metrics.measure(scores, labels, maps, truths)
    by_limit = [brute_force_au_pro(maps, truths, limit) for limit in (0.3, 0.1, 0.05, 0.01)]
    assert (found.i_auroc, found.p_auroc) == (metrics.image_auroc(scores, labels), metrics.pixel_auroc(maps, truths))
    assert [found.aupro_30, found.aupro_10, found.aupro_05, found.aupro_01] == pytest.approx(by_limit, abs=1e-10)


def test_every_region_counts_the_same_however_large_it_is() -> None:
    heat, truth = np.zeros((20, 20), np.float32), np.zeros((20, 20), bool)
    truth[0:10, 0:10], truth[15, 15] = True, True
    heat[15, 15] = 1.0
    assert metrics.au_pro(metrics.Pixels.of([heat], [truth]), (0.3,))[0.3] == pytest.approx(0.5 + 0.5 * 0.3 / 2)


def test_regions_that_touch_at_a_corner_are_one() -> None:
    heat, truth = np.zeros((8, 8), np.float32), np.zeros((8, 8), bool)
    truth[2, 2] = truth[3, 3] = truth[3, 4] = True
    heat[2, 2] = 1.0
    (curve_x, curve_y) = metrics.pro_curve(metrics.Pixels.of([heat], [truth]))
    assert curve_y[np.flatnonzero(curve_x == 0)].max() == pytest.approx(1 / 3)


def test_a_perfect_map_reaches_one_and_an_inverted_one_zero() -> None:
    truth = np.zeros((10, 10), bool)
    truth[2:4, 2:4] = True
    for heat, expected in ((truth.astype(np.float32), 1.0), (-truth.astype(np.float32), 0.0)):
        found = metrics.measure([1.0 if expected else 0.0, 0.5], [True, False], [heat, heat * 0], [truth, truth & False])
        assert found.i_auroc == expected
        assert found.aupro_01 == pytest.approx(expected)


def test_the_area_is_divided_by_the_limit_even_where_the_curve_jumps_over_it() -> None:
    truth = np.zeros((10, 10), bool)
    truth[0, 0] = True
    flat = np.zeros((10, 10), np.float32)
    assert metrics.au_pro(metrics.Pixels.of([flat], [truth]), (0.3, 0.01)) == {0.3: pytest.approx(0.15), 0.01: pytest.approx(0.005)}


def test_sets_with_nothing_to_tell_apart_have_no_metrics() -> None:
    heat, truth = np.zeros((5, 5), np.float32), np.zeros((5, 5), bool)
    empty = metrics.Metrics(None, None, None, None, None, None)
    assert metrics.measure([1.0, 2.0], [False, False], [heat], [truth]) == empty
    assert metrics.measure([1.0, 2.0], [True, True], [heat], [~truth]) == empty
    assert metrics.measure([], [], [], []) == empty


def test_a_score_that_is_no_number_is_refused() -> None:
    heat, truth = np.zeros((5, 5), np.float32), np.eye(5, dtype=bool)
    with pytest.raises(BadInput, match="found nan, expected finite"):
        metrics.image_auroc([1.0, np.nan], [False, False])
    heat[0, 1] = -np.inf
    with pytest.raises(BadInput, match="found -inf, expected finite"):
        metrics.pixel_auroc([heat], [truth])
    heat[0, 1], heat[1, 1] = 0, np.inf
    with pytest.raises(BadInput, match="found inf, expected finite"):
        metrics.pixel_auroc([heat], [truth])


def test_a_map_of_another_size_than_its_truth_is_refused() -> None:
    with pytest.raises(BadInput, match=r"map 0: found \(5, 5\), expected \(6, 5\)"):
        metrics.pixel_auroc([np.zeros((5, 5), np.float32)], [np.zeros((6, 5), bool)])


def test_the_roc_curve_encloses_the_auroc() -> None:
    random = np.random.default_rng(3)
    labels = random.random(50) < 0.5
    scores = np.round(random.random(50) * 8) + labels
    assert metrics.area_below(metrics.roc_curve(scores, labels), 1.0) == pytest.approx(metrics.image_auroc(scores, labels))


def test_both_curves_lead_from_nothing_to_everything() -> None:
    for x, y in (metrics.roc_curve([3, 1, 2, 0], [False, True, False, True]), metrics.pro_curve(metrics.Pixels.of(*random_case(1)))):
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        assert (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()


def test_pixels_are_held_twice_at_most_while_they_are_sorted() -> None:
    heat, truth = np.random.default_rng(0).random((500, 500), np.float32), np.zeros((500, 500), np.bool_)
    tracemalloc.start()
    try:
        pixels = metrics.Pixels.of([heat] * 8, [truth] * 8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(pixels.unmarked, np.sort(np.tile(heat.ravel(), 8)))
    assert peak < 2.2 * pixels.unmarked.nbytes
