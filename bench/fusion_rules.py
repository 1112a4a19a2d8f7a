"""Rules that make one score of two: the paper's product and others, all set by good validation parts alone."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from mdss.method.calibration import SMALLEST_SCORE, score_limit

Values = NDArray[np.float64]
PAPER = "product of maxima (paper)"
FLOOR_DEVIATIONS = 3.0
LIMIT_DEVIATIONS = 4.0
LEAST_DEVIATION = 1e-12


class Scores(msgspec.Struct, frozen=True):
    """Both branches' scores of some parts, in the same order."""

    rgb: tuple[float, ...]
    sdf: tuple[float, ...]


Rule = Callable[[Scores, Scores], Values]


def product(scores: Scores, _: Scores) -> Values:
    """Return the product of the two scores (paper, 3.3)."""
    return np.asarray(np.multiply(scores.rgb, scores.sdf))


def product_above_floor(scores: Scores, good: Scores) -> Values:
    """Return the product; shape's score counts as no less than its limit, which good parts rarely exceed."""
    return np.asarray(np.multiply(scores.rgb, np.maximum(scores.sdf, score_limit(good.sdf, FLOOR_DEVIATIONS))))


def larger_multiple(scores: Scores, good: Scores) -> Values:
    """Return the larger of the two, each as a multiple of its limit, which good parts rarely exceed; shape counts from 1 on."""
    colour, shape = (np.divide(of, score_limit(usual, LIMIT_DEVIATIONS)) for of, usual in ((scores.rgb, good.rgb), (scores.sdf, good.sdf)))
    return np.asarray(np.where(shape > 1, np.maximum(colour, shape), colour))


def larger_deviation(scores: Scores, good: Scores) -> Values:
    """Return the larger of the two scores, each in deviations from the mean of good parts."""
    return np.maximum(in_deviations(scores.rgb, good.rgb), in_deviations(scores.sdf, good.sdf))


def sum_of_deviations(scores: Scores, good: Scores) -> Values:
    """Return the sum of the two scores, each in deviations from the mean of good parts."""
    return in_deviations(scores.rgb, good.rgb) + in_deviations(scores.sdf, good.sdf)


def sum_of_surprises(scores: Scores, good: Scores) -> Values:
    """Return the sum of -log p; p is the share of good parts that score higher, if logarithms of a branch's scores are normal."""
    return surprise(scores.rgb, good.rgb) + surprise(scores.sdf, good.sdf)


def colour_alone(scores: Scores, _: Scores) -> Values:
    """Return the colour branch's score."""
    return np.asarray(scores.rgb)


def shape_alone(scores: Scores, _: Scores) -> Values:
    """Return the shape branch's score."""
    return np.asarray(scores.sdf)


RULES: dict[str, Rule] = {
    PAPER: product,
    "product, the shape's above its floor": product_above_floor,
    "larger of the two, as multiples of their limits": larger_multiple,
    "larger of the two, in deviations": larger_deviation,
    "sum of the two, in deviations": sum_of_deviations,
    "sum of -log tail probabilities": sum_of_surprises,
    "colour alone": colour_alone,
    "shape alone": shape_alone,
}


def in_deviations(values: ArrayLike, good: ArrayLike) -> Values:
    """Return values in deviations from the mean of the good ones."""
    reference = np.asarray(good, np.float64)
    return np.asarray((np.asarray(values) - reference.mean()) / max(reference.std(ddof=1), LEAST_DEVIATION))


def surprise(values: ArrayLike, good: ArrayLike) -> Values:
    """Return -log of the probability that a good value is higher, from a normal fit to the logarithms of the good ones."""
    logarithms, reference = (np.log(np.maximum(each, SMALLEST_SCORE)) for each in (values, good))
    return np.asarray(-norm.logsf(in_deviations(logarithms, reference)))


def reach(rule: Rule, good: Scores) -> float:
    """Return how many deviations above the mean the highest good part scores: by this rule, a defect has to exceed that."""
    found = rule(good, good)
    return float(in_deviations(found, found).max())
