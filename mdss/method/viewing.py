"""From which side a cloud was seen. The grid's own cells tell it, so no sign depends on where the camera stands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdss.method.grid import all_three

Float = NDArray[np.float32]

OPTICAL_AXIS = np.array([0.0, 0.0, 1.0])  # taken where no two neighbours of the grid were measured


def viewing_direction(xyz: Float) -> NDArray[np.float64]:
    """Return the mean unit normal (3,) of the grid's cells, as the viewing direction.

    xyz (h, w, 3) mm, NaN without a point: a grid, its cutting, or every n-th cell.
    """
    cells = np.cross(np.diff(xyz, axis=1)[:-1].reshape(-1, 3), np.diff(xyz, axis=0)[:, :-1].reshape(-1, 3))
    known = cells[all_three(np.isfinite(cells))]
    mean = known.mean(axis=0, dtype=np.float64) if len(known) else OPTICAL_AXIS
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length > 0 else OPTICAL_AXIS, np.float64)


def away_from_camera(xyz: Float) -> NDArray[np.float64]:
    """Return the viewing direction (3,) of a cloud in camera coordinates, with the sign that points away from the camera at (0, 0, 0)."""
    direction = viewing_direction(xyz)
    return direction * np.copysign(1.0, np.nanmean(xyz.reshape(-1, 3), axis=0, dtype=np.float64) @ direction)
