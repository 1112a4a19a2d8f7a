"""Training parts turned about their middle: the angles at which parts come and that few scans do not have."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Bool = NDArray[np.bool_]


def turned(rgb: Image, mask: Bool, angle_deg: float) -> tuple[Image, Bool]:
    """Return an image (S, S, 3) and the mask (S, S) of its part, turned about the part's middle; what leaves the image is lost.

    Lanczos' kernel keeps the image as sharp as those that will be judged. Where nothing was recorded, it is mirrored at its border.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    middle = (columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2
    by = cv2.getRotationMatrix2D(middle, angle_deg, 1)
    size = mask.shape[::-1]
    image = cv2.warpAffine(rgb, by, size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101)
    covered = cv2.warpAffine(mask.astype(np.uint8), by, size, flags=cv2.INTER_NEAREST)
    return np.asarray(image, np.uint8), covered > 0
