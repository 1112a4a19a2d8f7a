"""The image's border, where a part that runs through the image is cut off: what lies beside it is seen from one side alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mdss.method.grid import Grid

SHAPES_KEPT = 16  # of frames; a station has one for each kind of camera
BORDER_PX = 16  # nearer to the border, colour's field of view and the usual patch of shape reach beyond it


@lru_cache(maxsize=SHAPES_KEPT)
def near_border(grid: Grid) -> NDArray[np.float32]:
    """Return how much nearer than `BORDER_PX` each pixel of the grid (S, S) lies to the image's border, 0 to that; read-only.

    In the letterbox border of an image that is not square it is all of that.
    """
    to_side = np.minimum.outer(_to_side(grid.rows), _to_side(grid.columns))
    near = np.asarray((BORDER_PX - to_side).clip(0), np.float32)
    near.flags.writeable = False
    return near


def _to_side(sampled: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return how many pixels of the grid lie between each of its rows, or columns, and the image's border, (S,); 0 beyond it."""
    inside = np.flatnonzero(sampled >= 0)
    places = np.arange(len(sampled))
    return np.asarray(np.minimum(places - inside[0], inside[-1] - places).clip(0), np.intp)
