"""The image's border, where a part that runs through the image is cut off: what lies beside it is seen from one side alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Index = NDArray[np.intp]

BORDER_PX = 16  # nearer to the border, colour's field of view and the usual patch of shape reach beyond it


def near_border(pixels: Index, size: int) -> Float:
    """Return how much nearer than `BORDER_PX` each of the pixels (N,) of the (size, size) grid lies to the grid's border, 0 to that.

    pixels are flat indices. The border of an image that is not square is the grid's on its shorter sides alone.
    """
    rows, columns = np.divmod(pixels, size)
    away = np.minimum(np.minimum(rows, size - 1 - rows), np.minimum(columns, size - 1 - columns))
    return np.asarray((BORDER_PX - away).clip(0), np.float32)
