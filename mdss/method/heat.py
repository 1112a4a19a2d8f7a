"""What both branches do with maps: blur them, and put values at their pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Index = NDArray[np.intp]


def blurred(heat: Float, deviation_px: float) -> Float:
    """Return the map after a Gaussian blur of this deviation, in float; unchanged for 0."""
    return np.asarray(cv2.GaussianBlur(heat, (0, 0), deviation_px), np.float32) if deviation_px else heat


def on_grid(values: Float, pixels: Index, shape: tuple[int, ...]) -> Float:
    """Return a grid of this shape with values at their pixels (flat indices), and 0 elsewhere."""
    flat = np.zeros(shape, np.float32).ravel()
    flat[pixels] = values
    return flat.reshape(shape)
