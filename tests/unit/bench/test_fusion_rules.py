"""Rules of fusion, on numbers that can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.fusion_rules import RULES, Scores, in_deviations, reach, surprise

GOOD = Scores(rgb=(1.0, 2.0, 3.0), sdf=(10.0, 30.0, 50.0))  # means 2 and 30, deviations 1 and 20
TEST = Scores(rgb=(4.0, 2.0), sdf=(30.0, 90.0))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("product of maxima (paper)", [120, 180]),
        ("larger of the two, in deviations", [2, 3]),
        ("sum of the two, in deviations", [2, 3]),
        ("colour alone", [4, 2]),
        ("shape alone", [30, 90]),
    ],
)
def test_a_rule_does_its_arithmetic(name: str, expected: list[float]) -> None:
    assert RULES[name](TEST, GOOD).tolist() == expected


def test_the_larger_deviation_and_their_sum_differ_where_both_branches_see_something() -> None:
    both = Scores(rgb=(3.0,), sdf=(50.0,))
    assert RULES["larger of the two, in deviations"](both, GOOD).tolist() == [1]
    assert RULES["sum of the two, in deviations"](both, GOOD).tolist() == [2]


def test_a_shape_score_counts_only_from_where_good_parts_end() -> None:
    good = Scores((1.0, 1.0, 1.0), tuple(np.exp([1.0, 2.0, 3.0])))
    rule = RULES["product, the shape's above its floor"]
    assert rule(Scores((2.0, 2.0), (1.0, float(np.exp(6)))), good).tolist() == pytest.approx([2 * np.exp(5), 2 * np.exp(6)])


def test_the_larger_multiple_is_colour_s_until_shape_exceeds_its_limit() -> None:
    good = Scores(tuple(np.exp([1.0, 2.0, 3.0])), tuple(np.exp([0.0, 0.0, 0.0])))  # limits of e^6 and 1
    rule = RULES["larger of the two, as multiples of their limits"]
    test = Scores(tuple(np.exp([5.0, 5.0, 8.0])), (0.9, 1.1, 1.1))
    assert rule(test, good).tolist() == pytest.approx([np.exp(-1), 1.1, np.exp(2)])


def test_a_surprise_is_the_tail_of_a_normal_fit_of_logarithms() -> None:
    good = np.exp([1.0, 2.0, 3.0])
    np.testing.assert_allclose(surprise(np.exp([2.0, 3.0, 4.0]), good), -np.log([0.5, 0.15865525, 0.02275013]), rtol=1e-6)


def test_the_sum_of_surprises_adds_both_branches() -> None:
    good = Scores(rgb=tuple(np.exp([1.0, 2.0, 3.0])), sdf=tuple(np.exp([0.0, 5.0, 10.0])))
    at_the_mean = Scores(rgb=(math.exp(2),), sdf=(math.exp(5),))
    assert RULES["sum of -log tail probabilities"](at_the_mean, good).tolist() == pytest.approx([2 * math.log(2)])


def test_surprises_far_out_stay_finite_and_in_order() -> None:
    found = surprise([0.0, 1e3, 1e6], [1.0, 1.1, 1.2])
    assert np.isfinite(found).all()
    assert found[0] < found[1] < found[2]


def test_good_parts_that_are_all_alike_divide_by_nothing() -> None:
    assert np.isfinite(in_deviations([1.0, 2.0], [1.0, 1.0])).all()


def test_the_reach_is_how_far_the_highest_good_part_is_above_the_mean() -> None:
    assert reach(RULES["colour alone"], GOOD) == 1
    assert reach(RULES["larger of the two, in deviations"], Scores((1.0, 2.0, 6.0), (1.0, 1.0, 1.0))) > 1
