"""Image AUROC, pixel AUROC and AU-PRO, exact: every distinct value is a threshold, and ties count one half.

AU-PRO is the area under a curve up to a limit, divided by that limit. x: the share of all unmarked pixels strictly above a threshold. y:
the mean, over all marked regions (8-connected), of the share of a region's pixels strictly above it. `thresholds=100` follows the
published protocol instead, which looks only at 100 equidistant ranks of the unmarked pixels; below 1 % its curve is one straight line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdss.errors import BadInput
from mdss.method.many_values import ManyValues, Values

Bool = NDArray[np.bool_]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # x rising from 0 to 1, y

LIMITS = (0.3, 0.1, 0.05, 0.01)
PUBLISHED_THRESHOLDS = 100


@dataclass(frozen=True)
class Metrics:
    """What one branch reaches on one set of parts; None if the set lacks one of the two classes."""

    i_auroc: float | None
    p_auroc: float | None
    aupro_30: float | None
    aupro_10: float | None
    aupro_05: float | None
    aupro_01: float | None


@dataclass(frozen=True)
class Pixels:
    """All pixels of a set of maps, sorted: the unmarked ones, and the marked ones with their weights in PRO."""

    unmarked: Values
    marked: Values
    weights: NDArray[np.float64]  # sum to 1; every region weighs the same, and so does every pixel of a region

    @classmethod
    def of(cls, maps: Iterable[Values], truths: Iterable[Bool]) -> Pixels:
        """Collect maps (H, W) and their ground truths (H, W); sizes may differ from part to part."""
        unmarked, marked, weights = ManyValues(), [np.empty(0, np.float32)], [np.empty(0)]
        for number, (heat, truth) in enumerate(zip(maps, truths, strict=True)):
            if heat.shape != truth.shape:
                raise BadInput(f"map {number}: found {heat.shape}, expected {truth.shape} as its ground truth")
            unmarked.add(heat[~truth])
            marked.append(heat[truth])
            weights.append(_region_weights(truth))
        values, shares = np.concatenate(marked), np.concatenate(weights)
        order = np.argsort(values)
        return cls(_sorted(unmarked.together()), _finite(values[order]), shares[order] / max(1.0, shares.sum()))

    @property
    def is_measurable(self) -> bool:
        """Return whether there are pixels of both kinds."""
        return len(self.unmarked) > 0 and len(self.marked) > 0

    def unmarked_above(self, thresholds: Values, with_equal: bool = False) -> NDArray[np.float64]:
        """Return the share of unmarked pixels above each threshold; with `with_equal`, at or above it."""
        return 1 - np.searchsorted(self.unmarked, thresholds, "left" if with_equal else "right") / len(self.unmarked)

    def overlap_above(self, thresholds: Values) -> NDArray[np.float64]:
        """Return the mean share of the marked regions strictly above each threshold."""
        above = np.append(np.cumsum(self.weights[::-1])[::-1], 0.0)
        return np.asarray(above[np.searchsorted(self.marked, thresholds, "right")])


def measure(scores: ArrayLike, labels: ArrayLike, maps: Iterable[Values], truths: Iterable[Bool]) -> Metrics:
    """Return all metrics of one branch; labels are true for defective parts."""
    return metrics_from(scores, labels, Pixels.of(maps, truths))


def metrics_from(scores: ArrayLike, labels: ArrayLike, pixels: Pixels) -> Metrics:
    """Return the same from pixels that are collected already."""
    return Metrics(image_auroc(scores, labels), _auroc(pixels.unmarked, pixels.marked), *au_pro(pixels).values())


def image_auroc(scores: ArrayLike, labels: ArrayLike) -> float | None:
    """Return the chance that a defective part scores above a good one; None unless there are both."""
    values, is_defect = np.asarray(scores, np.float64), np.asarray(labels, bool)
    return _auroc(_sorted(values[~is_defect]), _sorted(values[is_defect]))


def pixel_auroc(maps: Sequence[Values], truths: Sequence[Bool]) -> float | None:
    """Return the chance that a marked pixel scores above an unmarked one, over all maps; None unless there are both."""
    pixels = Pixels.of(maps, truths)
    return _auroc(pixels.unmarked, pixels.marked)


def au_pro(pixels: Pixels, limits: Sequence[float] = LIMITS, thresholds: int | None = None) -> dict[float, float | None]:
    """Return AU-PRO at each limit, from all thresholds or from that many ranks; None if no pixel or every pixel is marked."""
    curve = pro_curve(pixels, thresholds) if pixels.is_measurable else None
    return {limit: area_below(curve, limit) if curve else None for limit in limits}


def pro_curve(pixels: Pixels, thresholds: int | None = None) -> Curve:
    """Return the share of unmarked pixels (x) and the mean overlap (y), from a threshold above all pixels to one below all."""
    if thresholds is not None:
        return _published_curve(pixels, thresholds)
    # Between two values of marked pixels the curve is level, so their values alone describe it exactly.
    is_last = np.append(pixels.marked[1:] != pixels.marked[:-1], True)
    values = pixels.marked[is_last][::-1]
    overlap = pixels.overlap_above(values)
    x = np.stack([pixels.unmarked_above(values), pixels.unmarked_above(values, with_equal=True)], axis=1).ravel()
    y = np.stack([overlap, np.append(overlap[1:], 1.0)], axis=1).ravel()
    return np.concatenate([[0.0], x, [1.0]]), np.concatenate([[0.0], y, [1.0]])


def roc_curve(scores: ArrayLike, labels: ArrayLike) -> Curve:
    """Return the share of good parts and of defective parts above a falling threshold."""
    values, is_defect = np.asarray(scores, np.float64), np.asarray(labels, bool)
    good, defect = _sorted(values[~is_defect]), _sorted(values[is_defect])
    thresholds = np.unique(values)[::-1]
    x, y = (1 - np.searchsorted(part, thresholds, "left") / len(part) for part in (good, defect))
    return np.append(0.0, x), np.append(0.0, y)


def area_below(curve: Curve, limit: float) -> float:
    """Return the area under a curve up to x = limit, divided by the limit."""
    x, y = curve
    inside = int(np.searchsorted(x, limit, "right"))
    if inside < len(x):
        share = (limit - x[inside - 1]) / (x[inside] - x[inside - 1])
        end = y[inside - 1] + share * (y[inside] - y[inside - 1])
        x, y = np.append(x[:inside], limit), np.append(y[:inside], end)
    return float(np.trapezoid(y, x)) / limit


def _published_curve(pixels: Pixels, thresholds: int) -> Curve:
    count = len(pixels.unmarked)
    ranks = np.linspace(0, count - 1, thresholds).astype(np.intp)
    overlap = pixels.overlap_above(pixels.unmarked[ranks])
    return np.append(1 - (ranks[::-1] + 1) / count, 1.0), np.append(overlap[::-1], 1.0)


def _auroc(negatives: Values, positives: Values) -> float | None:
    if len(negatives) == 0 or len(positives) == 0:
        return None
    below, not_above = (np.searchsorted(negatives, positives, side) for side in ("left", "right"))
    return float((below.mean() + not_above.mean()) / (2 * len(negatives)))


def _region_weights(truth: Bool) -> NDArray[np.float64]:
    """Return one over the size of its region for every marked pixel, in order."""
    _, labels = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
    regions = np.asarray(labels)[truth]
    return np.asarray(1.0 / np.bincount(regions)[regions]) if len(regions) else np.empty(0)


def _sorted(values: Values) -> Values:
    """Sort values in place and return them; nobody else may hold them."""
    values.sort()
    return _finite(values)


def _finite(values: Values) -> Values:
    if len(values) and not (np.isfinite(values[0]) and np.isfinite(values[-1])):
        raise BadInput(f"scores: found {values[-1] if np.isfinite(values[0]) else values[0]}, expected finite numbers")
    return values
