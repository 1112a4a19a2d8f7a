"""The image's border, where a part that runs through the image is cut off: what lies beside it is seen from one side alone."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

BORDER_PX = 16  # nearer to the border, colour's field of view and the usual patch of shape reach beyond it


@cache
def near_border(size: int) -> NDArray[np.float32]:
    """Return how much nearer than `BORDER_PX` each pixel of the grid (size, size) lies to the grid's border, 0 to that; read-only.

    The border of an image that is not square is the grid's on its shorter sides alone.
    """
    places = np.arange(size)
    to_side = np.minimum(places, places[::-1])
    near = np.asarray((BORDER_PX - np.minimum.outer(to_side, to_side)).clip(0), np.float32)
    near.flags.writeable = False
    return near
