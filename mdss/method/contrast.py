"""How rich in contrast a place is: at edges and highlights a student errs on good parts, too."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mdss.method.heat import blurred

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

AROUND_PX = 4.0  # as wide as the map is blurred
SOBEL_SUM = 8.0  # weights of Sobel's filter; divided by it, the slope is in levels per pixel
LEAST_SHARE = 0.05  # of the surroundings: with less of the part in them, the contrast fades to 0


def contrast(rgb: Image, mask: Bool) -> Float:
    """Return the mean slope of brightness on the part around each pixel (S, S), in levels (of 255) a pixel; rgb (S, S, 3), mask (S, S)."""
    grey, inside = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), mask.astype(np.float32)
    along, across = (cv2.Sobel(grey, cv2.CV_32F, *step, scale=1 / SOBEL_SUM) for step in ((1, 0), (0, 1)))
    slope = blurred(np.asarray(cv2.magnitude(along, across) * inside, np.float32), AROUND_PX)
    return np.asarray(slope / np.maximum(blurred(inside, AROUND_PX), np.float32(LEAST_SHARE)), np.float32)
