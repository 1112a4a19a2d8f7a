"""The threshold's promise, and what is said when there are too few parts for it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from mdss.errors import BadInput
from mdss.method.calibration import Statistics, find_threshold, outlier_question, score_limit
from mdss.method.presets import preset, with_assignments
from mdss.method.recipe import ThresholdSettings


def test_the_conformal_threshold_keeps_its_promise_on_fresh_good_parts() -> None:
    random = np.random.default_rng(0)
    rejected = []
    for _ in range(2000):
        scores = random.lognormal(0, 0.7, 50)
        limit = find_threshold(scores[:49].tolist(), ThresholdSettings(false_reject_rate=0.1))
        rejected.append(scores[49] > limit.value)
    assert limit.stated_false_reject_rate == pytest.approx(0.1)
    assert np.mean(rejected) == pytest.approx(0.1, abs=0.02)


def test_the_promise_holds_with_a_floor_from_the_same_parts() -> None:
    random = np.random.default_rng(0)
    rejected = []
    for _ in range(2000):
        rgb, sdf = random.lognormal(0, 0.2, 50), random.lognormal(0, 0.3, 50)
        scores = rgb * np.maximum(sdf, score_limit(sdf[:49].tolist(), 2.0))
        rejected.append(scores[49] > find_threshold(scores[:49].tolist(), ThresholdSettings(false_reject_rate=0.1)).value)
    assert np.mean(rejected) == pytest.approx(0.1, abs=0.02)


def test_what_good_parts_rarely_exceed_is_counted_in_deviations_of_the_logarithm() -> None:
    scores = np.exp([1.0, 2.0, 3.0]).tolist()
    assert score_limit(scores, 2.0) == pytest.approx(np.exp(4))
    assert score_limit(scores, None) == 0


def test_a_part_that_scores_nothing_at_all_leaves_a_limit() -> None:
    scores = [0.0, 1.0, 2.0, 1.0, 2.0]
    assert 2 < score_limit(scores, 2.0) < np.inf
    assert 2 < find_threshold(scores, ThresholdSettings(method="lognormal")).value < np.inf


def test_too_few_parts_for_the_asked_rate_are_counted_and_the_rate_that_holds_is_stated() -> None:
    limit = find_threshold([float(n) for n in range(23)], ThresholdSettings(false_reject_rate=0.01))
    assert limit.value == 22
    assert limit.stated_false_reject_rate == pytest.approx(1 / 24)
    assert limit.promise == "at most 4.17% of good parts above it, asked 1%"
    assert limit.note == "23 good parts cannot promise 1%: 76 more are needed, 99 in all"


def test_just_enough_parts_promise_the_asked_rate() -> None:
    limit = find_threshold([float(n) for n in range(99)], ThresholdSettings(false_reject_rate=0.01))
    assert (limit.value, limit.note) == (98, "")
    assert limit.stated_false_reject_rate == pytest.approx(0.01)


@pytest.mark.parametrize("needed", [9, 19, 29, 48, 97, 99, 102, 106])
def test_so_many_parts_as_are_said_to_be_needed_are_enough_and_one_less_is_not(needed: int) -> None:
    """1 / (1 / 49) is a little above 49 in numbers of 64 bits."""
    settings = ThresholdSettings(false_reject_rate=1 / (needed + 1))
    fewer, enough = (find_threshold([float(n) for n in range(count)], settings) for count in (needed - 1, needed))
    assert f"1 more is needed, {needed} in all" in fewer.note and enough.note == ""


def test_the_lognormal_threshold_is_its_quantile_and_says_what_it_assumes() -> None:
    scores = np.random.default_rng(1).lognormal(0, 0.2, 4000).tolist()
    limit = find_threshold(scores, ThresholdSettings(false_reject_rate=0.02275, method="lognormal"))
    assert np.log(limit.value) == pytest.approx(2 * 0.2, abs=0.02)
    assert "assumes" in limit.note
    assert limit.promise == "as assumed, 2.27% of good parts above it, asked 2.27%"


def test_the_lognormal_threshold_of_few_parts_is_the_prediction_limit_of_student_s_t() -> None:
    limit = find_threshold(np.exp([1.0, 2.0, 3.0, 4.0, 5.0]).tolist(), ThresholdSettings(false_reject_rate=0.1, method="lognormal"))
    assert np.log(limit.value) == pytest.approx(3 + 1.5332 * np.sqrt(1 + 1 / 5) * np.sqrt(2.5), abs=1e-3)  # t's 0.9 quantile, 4 degrees
    assert limit.note.endswith("5 parts alone can promise 16.7%")


@pytest.mark.parametrize("method", ["conformal", "lognormal"])
def test_a_margin_moves_the_limit_off_the_good_parts_and_what_was_promised_stands(method: Literal["conformal", "lognormal"]) -> None:
    scores = [1 + n / 100 for n in range(23)]
    at_once, far = (find_threshold(scores, ThresholdSettings(method=method, margin=margin)) for margin in (1.0, 2.5))
    assert far.value == pytest.approx(2.5 * at_once.value)
    assert (far.promise, far.parts) == (at_once.promise, 23)
    assert "margin" not in at_once.note
    assert far.note.endswith("2.5 times the limit that good parts set (threshold.margin)")


@pytest.mark.parametrize("margin", [0.99, 100.1, float("nan")])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(BadInput, match=r"threshold\.margin"):
        with_assignments(preset("edge"), (f"threshold.margin={margin}",))


@pytest.mark.parametrize(
    ("scores", "names", "question"),
    [
        ([1.0, 0.9, 29.4, 1.01, 0.8], ("015", "016", "017", "018", "019"), "validation part 017 scores 29 times the next: is it good?"),
        ([1.0, 0.9, 29.4, 1.01, 0.8], (), "validation part 3 of 5 scores 29 times the next: is it good?"),
        ([1.0, 0.9, 2.9, 1.01, 0.8], (), ""),
        ([1.0, 0.9, 3.1, 1.01, 0.8], (), "validation part 3 of 5 scores 3 times the next: is it good?"),
        ([0.0] * 5, (), ""),
        ([0.4, 0.5, 0.3, 10.0, 0.2], (), "validation part 4 of 5 scores 20 times the next: is it good?"),
        ([30.0, 1.0, 20.0] + [1.0] * 17, (), "validation parts 1 of 20, 3 of 20 score 20 times the next: are they good?"),
        ([30.0, 1.0, 20.0] + [1.0] * 9, (), "validation parts 1 of 12, 3 of 12 score 20 times the next: are they good?"),
        ([30.0, 1.0, 20.0] + [1.0] * 4, (), ""),
        (
            [9.0] * 12 + [1.0] * 36,
            tuple("abcdefghijkl") + ("z",) * 36,
            "validation parts a, b, c, d, e, f, g, h, i, j and 2 more score 9 times the next: are they good?",
        ),
    ],
)
def test_parts_far_above_the_next_are_asked_about_by_their_names_where_those_are_known(
    scores: list[float], names: tuple[str, ...], question: str
) -> None:
    assert outlier_question(scores, names) == question


def test_a_handful_of_parts_set_no_threshold() -> None:
    with pytest.raises(BadInput, match="found 4 good parts, expected at least 5"):
        find_threshold([1.0] * 4, ThresholdSettings())


def test_statistics_are_those_of_the_foreground_where_asked() -> None:
    heat, mask = np.zeros((8, 8), np.float32), np.zeros((8, 8), bool)
    heat[2:4, 2:4], mask[2:4, 2:4] = [[1, 2], [3, 4]], True
    found = Statistics.of([heat], [mask])
    assert found.mean == 2.5
    assert found.std == pytest.approx(np.std([1, 2, 3, 4]))
    assert Statistics.of([heat], None).mean == pytest.approx(10 / 64)


def test_maps_that_never_vary_do_not_divide_by_zero() -> None:
    flat = np.ones((4, 4), np.float32)
    assert np.isfinite(Statistics.of([flat], None).aligned(flat)).all()


def test_a_rank_that_is_a_whole_number_is_not_rounded_to_the_next() -> None:
    limit = find_threshold([float(n) for n in range(149)], ThresholdSettings(false_reject_rate=0.18))
    assert limit.value == 122.0  # the 123rd of 150
    assert limit.stated_false_reject_rate == pytest.approx(0.18)
