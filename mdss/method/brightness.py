"""Object brightness, and levelling: a new image is scaled to the brightness that its model knows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Bool = NDArray[np.bool_]

MATCHING_ROUNDS = 8
NEAR_ENOUGH = 0.05  # levels, of 255
VALUES = np.arange(256, dtype=np.float32)


def object_brightness(rgb: Image, mask: Bool) -> float:
    """Return the mean of all channels on the part, 0 to 255; NaN if the mask is empty."""
    if not mask.any():
        return float("nan")
    return float(np.mean(cv2.mean(np.ascontiguousarray(rgb), mask.astype(np.uint8))[:3]))


def match_brightness(rgb: Image, mask: Bool, brightness: float, most: float = np.inf) -> Image:
    """Return the image scaled by one factor, so that its mean on the part is `brightness`; repeated, because saturated pixels lag behind.

    rgb (S, S, 3), mask (S, S) where the part is. The factor stays within 1 / (1 + most) and 1 + most; an image that is farther off stays
    off by the rest.
    """
    factor, scaled = 1.0, rgb
    for _ in range(MATCHING_ROUNDS):
        found = object_brightness(scaled, mask)
        if not found > 0 or abs(found - brightness) < NEAR_ENOUGH:
            break
        factor = float(np.clip(factor * brightness / found, 1 / (1 + most), 1 + most))
        scaled = np.asarray(cv2.LUT(rgb, np.clip(np.rint(VALUES * np.float32(factor)), 0, 255).astype(np.uint8)), np.uint8)
    return scaled
