"""What both branches do with a map."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def blurred(heat: Float, deviation_px: float) -> Float:
    """Return the map after a Gaussian blur in float; unchanged for a deviation of 0."""
    return np.asarray(cv2.GaussianBlur(heat, (0, 0), deviation_px), np.float32) if deviation_px else heat
