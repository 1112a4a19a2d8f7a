"""Nearness to the image's border: there a part may be cut off, and both branches see a place from one side alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mdss.method.grid import Grid

SHAPES_KEPT = 16  # shapes of frames; a station has one for each kind of camera
BORDER_PX = 16  # nearer to the border, colour's field of view and a usual patch of shape reach beyond it


@lru_cache(maxsize=SHAPES_KEPT)
def near_border(grid: Grid) -> NDArray[np.float32]:
    """Return how much nearer than BORDER_PX to the image's border each pixel of the grid (S, S) lies: 0 to BORDER_PX, read-only.

    In the letterbox border of a frame that is not square it is BORDER_PX.
    """
    to_side = np.minimum.outer(_to_side(grid.rows), _to_side(grid.columns))
    near = np.asarray((BORDER_PX - to_side).clip(0), np.float32)
    near.flags.writeable = False
    return near


def _to_side(sampled: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the distance of each row (or column) of the grid from the image's border in pixels, (S,); 0 beyond it."""
    inside = np.flatnonzero(sampled >= 0)
    places = np.arange(len(sampled))
    return np.asarray(np.minimum(places - inside[0], inside[-1] - places).clip(0), np.intp)
