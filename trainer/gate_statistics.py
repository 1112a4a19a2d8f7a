"""Intervals for paired comparisons: two models on the same parts.

Shares: Wilson's score interval. The difference of two shares of the same parts: method 10 of R. G. Newcombe, "Improved confidence
intervals for the difference between binomial proportions based on paired data", Statistics in Medicine 17 (1998). Medians: order
statistics, exact whatever the distribution. AUROC: bootstrap over the parts, both models on the same draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaln, ndtri

DRAWS = 2000
Interval = tuple[float, float]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class PairedCounts:
    """How often two models erred on the same parts: both, only one of them, or neither."""

    both: int
    candidate_only: int
    champion_only: int
    neither: int

    @classmethod
    def of(cls, champion_errs: ArrayLike, candidate_errs: ArrayLike) -> PairedCounts:
        """Count two lists of booleans with one entry per part."""
        first, second = np.asarray(champion_errs, bool), np.asarray(candidate_errs, bool)
        return cls(*(int(np.count_nonzero((first == a) & (second == b))) for a, b in ((1, 1), (0, 1), (1, 0), (0, 0))))

    @property
    def total(self) -> int:
        """Return the number of parts."""
        return self.both + self.candidate_only + self.champion_only + self.neither

    @property
    def champion(self) -> float:
        """Return the champion's share of errors."""
        return (self.both + self.champion_only) / self.total

    @property
    def candidate(self) -> float:
        """Return the candidate's share of errors."""
        return (self.both + self.candidate_only) / self.total

    def excess(self, confidence: float) -> Interval:
        """Return the interval of the candidate's share of errors minus the champion's."""
        more, less = self.candidate, self.champion
        low_more, high_more = wilson(more, self.total, confidence)
        low_less, high_less = wilson(less, self.total, confidence)
        found = self._correlation()
        down = _hypotenuse(more - low_more, high_less - less, found)
        up = _hypotenuse(high_more - more, less - low_less, found)
        return max(-1.0, more - less - down), min(1.0, more - less + up)

    def _correlation(self) -> float:
        """Return phi of the 2 x 2 table, corrected towards 0 by half a part."""
        sides = (self.both + self.candidate_only) * (self.champion_only + self.neither)
        sides *= (self.both + self.champion_only) * (self.candidate_only + self.neither)
        if sides == 0:
            return 0.0
        cross = self.both * self.neither - self.candidate_only * self.champion_only
        corrected = max(cross - self.total / 2, 0.0) if cross > 0 else float(cross)
        return corrected / math.sqrt(sides)


def wilson(share: float, total: int, confidence: float) -> Interval:
    """Return the score interval of a share seen in `total` parts."""
    square = float(ndtri(0.5 + confidence / 2)) ** 2
    middle = (share + square / (2 * total)) / (1 + square / total)
    reach = math.sqrt(square * (share * (1 - share) / total + square / (4 * total**2))) / (1 + square / total)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def parts_needed(share: float, confidence: float) -> int:
    """Return how many parts have to go well, without exception, for the interval to end below this share."""
    return math.ceil(float(ndtri(0.5 + confidence / 2)) ** 2 * (1 - share) / share)


def chance_of_rejects(rejected: int, total: int, rank: int, calibrated: int) -> float:
    """Return the probability of at least `rejected` rejects among `total` good parts of the kind that the threshold came from.

    The threshold is the rank-th smallest of `calibrated` scores. So the share above it is Beta(calibrated + 1 - rank, rank) whatever the
    distribution, and the number among `total` new parts is beta-binomial (split conformal prediction).
    """
    a, b = calibrated + 1 - rank, rank
    counts = np.arange(rejected, total + 1)
    ways = -betaln(total - counts + 1, counts + 1) - np.log(total + 1)  # logarithm of the binomial coefficient
    return float(min(1.0, np.exp(ways + betaln(counts + a, total - counts + b) - betaln(a, b)).sum()))


def median_interval(values: ArrayLike, confidence: float) -> Interval:
    """Return two of the values that enclose the median with this confidence, or the outermost two if there are too few."""
    ordered = np.sort(np.asarray(values, np.float64))
    count = len(ordered)
    tail = bdtr(np.arange(count), count, 0.5)
    outside = int(np.count_nonzero(tail <= (1 - confidence) / 2))
    return float(ordered[max(outside - 1, 0)]), float(ordered[count - 1 - max(outside - 1, 0)])


def margin_in_deviations(logarithms: Values) -> Values:
    """Return how many standard deviations the mean of logarithms (..., N) of scores in thresholds lies below the threshold."""
    return np.asarray(-logarithms.mean(axis=-1) / np.maximum(logarithms.std(axis=-1, ddof=1), 1e-9))


def margin_lost(champion: Values, candidate: Values, confidence: float, random: np.random.Generator) -> Interval:
    """Return the bootstrap interval of the champion's room minus the candidate's, both on the same draws of parts."""
    drawn = random.integers(len(champion), size=(DRAWS, len(champion)))
    return _percentiles(margin_in_deviations(champion[drawn]) - margin_in_deviations(candidate[drawn]), confidence)


@dataclass(frozen=True)
class PairedScores:
    """Two models' scores of the same parts; each model's scores compare only with one another."""

    champion: Values
    candidate: Values


def auroc_loss(good: PairedScores, bad: PairedScores, confidence: float, random: np.random.Generator) -> tuple[float, float, Interval]:
    """Return both models' AUROC, and the interval of the champion's minus the candidate's."""
    before, after = win_table(good.champion, bad.champion), win_table(good.candidate, bad.candidate)
    return float(before.mean()), float(after.mean()), _drawn_interval(before - after, confidence, random)


def auroc_interval(good: Values, bad: Values, confidence: float, random: np.random.Generator) -> tuple[float, Interval]:
    """Return one model's AUROC, and its interval."""
    found = win_table(good, bad)
    return float(found.mean()), _drawn_interval(found, confidence, random)


def win_table(good: Values, bad: Values) -> Values:
    """Return a table (bad parts, good parts): 1 if the bad part scores higher, 1/2 if both are equal, otherwise 0."""
    return np.asarray((bad[:, None] > good[None, :]) + 0.5 * (bad[:, None] == good[None, :]), np.float64)


def _drawn_interval(table: Values, confidence: float, random: np.random.Generator) -> Interval:
    """Return the bootstrap interval of a table's mean; rows and columns are drawn independently."""
    rows, columns = (random.multinomial(count, np.full(count, 1 / count), DRAWS) / count for count in table.shape)
    return _percentiles(np.einsum("dr,rc,dc->d", rows, table, columns, optimize=True), confidence)


def _percentiles(values: Values, confidence: float) -> Interval:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _hypotenuse(first: float, second: float, correlation: float) -> float:
    return math.sqrt(max(0.0, first**2 - 2 * correlation * first * second + second**2))
