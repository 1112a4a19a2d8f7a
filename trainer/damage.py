"""Copies of good parts with dents, bumps and missing places, from which the network learns what surface belongs there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdss.method.grid import all_three
from mdss.method.viewing import viewing_direction
from mdss.method.voids import pixel_steps

Float = NDArray[np.float32]

POINTS_PER_PLACE = 700  # with patches of 500 points, about half of them then hold a place or part of one
FEWEST_PLACES = 2
RADIUS_PX = (1.5, 9.0)
LONGEST = 4.0  # times as long as wide, at most
DEPTH_STEPS = (0.7, 8.0)  # in steps from one pixel to the next: from the noise up to more than any defect
CUT_SHARE = 0.4  # of the places lose their points; the others are pushed in or pulled out
LEAST_LEFT = 0.3  # of a part's points: a cut that would leave fewer is not made
STEEPEST = 0.1  # of the radius: the shortest way over which a place rises to its full depth


@dataclass(frozen=True)
class Spot:
    """An ellipse on the grid."""

    row: float
    column: float
    angle_rad: float
    length_px: float
    width_px: float

    def reach(self, size: int) -> Float:
        """Return how far out each pixel (size, size) is: 0 in the middle, 1 on the rim."""
        return np.asarray(np.hypot(*self.axes(size)), np.float32)

    def axes(self, size: int) -> tuple[Float, Float]:
        """Return how far each pixel (size, size) is from the middle along and across the ellipse; 1 is the rim."""
        rows, columns = np.mgrid[:size, :size].astype(np.float32)
        rows, columns = rows - np.float32(self.row), columns - np.float32(self.column)
        sine, cosine = np.float32(np.sin(self.angle_rad)), np.float32(np.cos(self.angle_rad))
        along, across = columns * cosine + rows * sine, rows * cosine - columns * sine
        return along / np.float32(self.length_px), across / np.float32(self.width_px)


def damaged_copy(xyz: Float, random: np.random.Generator) -> Float:
    """Return a copy of an organised cloud (S, S, 3) mm with places pushed in, pulled out, or without points."""
    changed, left = xyz.copy(), all_three(np.isfinite(xyz))
    measured = np.argwhere(left)
    pitch_mm = float(np.mean([np.linalg.norm(step) for step in pixel_steps(xyz)]))
    view_direction = viewing_direction(xyz).astype(np.float32)
    for _ in range(max(FEWEST_PLACES, round(len(measured) / POINTS_PER_PLACE))):
        reach = _spot(measured, random).reach(len(xyz))
        if random.random() < CUT_SHARE:
            rest = left & (reach >= 1)
            if np.count_nonzero(rest) > LEAST_LEFT * len(measured):
                changed[reach < 1], left = np.nan, rest
        else:
            height_mm = pitch_mm * _between(random, DEPTH_STEPS) * random.choice([-1, 1])
            profile = np.clip((1 - reach) / np.float32(random.uniform(STEEPEST, 1)), 0, 1)
            changed += np.float32(height_mm) * profile[..., None] * view_direction
    return changed


def _spot(measured: NDArray[np.intp], random: np.random.Generator) -> Spot:
    row, column = measured[random.integers(len(measured))]
    radius_px, shape = _between(random, RADIUS_PX), _between(random, (1.0, LONGEST)) ** 0.5
    return Spot(float(row), float(column), random.uniform(0, np.pi), radius_px * shape, radius_px / shape)


def _between(random: np.random.Generator, limits: tuple[float, float]) -> float:
    """Return a random number between the limits, uniform in its logarithm."""
    return float(np.exp(random.uniform(*np.log(limits))))
