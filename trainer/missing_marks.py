"""Finds a sensor's mark for missing points that sits in one coordinate alone, so that the point looks like a measured one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdss.errors import written_out
from mdss.method.point_cloud import EXTENT_PERCENTILES, MOST_REPEATED, scene_extent

POINTS_TELL = 1 << 16
APART_SHARE = 0.5  # of the extent of all others: a camera with a field of 90 degrees is as far from its scene
EXPECTED = "expected a point that was not measured to be NaN, or 0 in x, y and z"


@dataclass(frozen=True)
class MissingMark:
    """A number that many points have in one coordinate."""

    axis: str
    value: float
    share: float  # of the points

    def __str__(self) -> str:
        """Say what was found and what was expected."""
        return f"{self.axis} is {written_out(self.value, 6)} in {100 * self.share:.3g} % of the points, far from all others; {EXPECTED}"


def mark_in(points: NDArray[np.floating], suspects: NDArray[np.bool_]) -> MissingMark | None:
    """Return the mark that some of the suspects (N,) among points (N, 3) bear, in any unit; None if there is none.

    A mark is a number that many suspects share, and that is farther from all other points than half of their extent. A surface is not, as
    a rule: noise makes several numbers of it, and the columns of a regular grid are as near to the next as all others.
    """
    step = len(points) // POINTS_TELL + 1
    some, suspected = points[::step], suspects[::step]
    for number, axis in enumerate("xyz"):
        values, counts = np.unique(some[suspected, number], return_counts=True)
        for value in outermost(values[counts > MOST_REPEATED]):
            others = some[some[:, number] != value]
            if len(others) and is_apart(value, others, number):
                return MissingMark(axis, float(value), float(1 - len(others) / len(some)))
    return None


def outermost(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the first and the last of sorted values; nothing if there are none."""
    return values[[0, -1]] if len(values) else values


def is_apart(value: float, others: NDArray[np.floating], number: int) -> bool:
    """Return whether a value is far from those of other points (N, 3) in this coordinate."""
    low, high = np.percentile(others[:, number], EXTENT_PERCENTILES)
    return bool(max(low - value, value - high) > APART_SHARE * scene_extent(others))
