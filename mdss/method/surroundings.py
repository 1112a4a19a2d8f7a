"""How high a map reaches around each place on a part."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

REACH_PX = 40.0  # deviation of the Gaussian weights: several times a defect, and a fraction of most parts
HIGHEST_PERCENTILE = 90.0  # of the part's values: higher ones count as this one, so that a defect does not raise its own surroundings
CELL_PX = 4  # so wide a mean is as good on a grid that is coarser by this much, and takes a tenth of a millisecond there


def surroundings(heat: Float, mask: Bool) -> Float:
    """Return the mean of a map (S, S) around each of its places, over the part (S, S) alone and weighted by nearness; 0 far from any part.

    S is a multiple of CELL_PX, and the part has a pixel.
    """
    capped = np.minimum(heat, np.float32(np.percentile(heat[mask], HIGHEST_PERCENTILE))) * mask
    total, weight = (_around(values) for values in (capped, mask.astype(np.float32)))
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > np.finfo(np.float32).tiny)
    return np.asarray(cv2.resize(mean, heat.shape, interpolation=cv2.INTER_LINEAR), np.float32)


def _around(values: Float) -> Float:
    """Return the Gaussian mean of values (S, S) around each cell (S / CELL_PX, S / CELL_PX); beyond the image they are 0."""
    cells = cv2.resize(values, None, fx=1 / CELL_PX, fy=1 / CELL_PX, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(cells, (0, 0), REACH_PX / CELL_PX, borderType=cv2.BORDER_CONSTANT), np.float32)
