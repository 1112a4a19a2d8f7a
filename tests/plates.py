"""A tilted plate: the simplest part that the shape branch can be asked about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZE_PX = 64


def plate(tilt: float = 0.2) -> NDArray[np.float32]:
    """Return an organised tilted plate of 40 x 40 px, one point per mm, in the middle of nothing."""
    rows, columns = np.indices((SIZE_PX, SIZE_PX), dtype=np.float32)
    cloud = np.stack([columns, rows, 500 + tilt * columns], axis=-1)
    cloud[:12], cloud[52:], cloud[:, :12], cloud[:, 52:] = np.nan, np.nan, np.nan, np.nan
    return cloud


def plate_that_runs_out_of_the_image() -> NDArray[np.float32]:
    """Return the same plate at the left border of its image."""
    return np.concatenate([plate()[:, 12:], np.full((SIZE_PX, 12, 3), np.nan, np.float32)], axis=1)
