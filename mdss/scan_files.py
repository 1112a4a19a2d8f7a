"""Writes a scan to disk without loss, so that every reader of PNG and TIFF takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdss.whole_files import flush, write_durably


def write_scan(rgb_path: Path, rgb: NDArray[np.uint8], xyz_path: Path, xyz_mm: NDArray[np.float32]) -> None:
    """Write image and cloud (H, W, 3); mdss.scans reads them back bit for bit, NaN included.

    Measured on scans of 400 x 400 px: of 2.4 MB 0.8 and 0.2 MB are left, in 15 and 7 ms. zstd saves another 3 % of the cloud in the same
    time, but fewer programs read it; tifffile's predictor makes a cloud larger.
    """
    import imagecodecs  # lighter than cv2, by 17 MB
    import tifffile

    png = imagecodecs.PNG
    write_durably(rgb_path, imagecodecs.png_encode(rgb, level=png.COMPRESSION.SPEED, strategy=png.STRATEGY.RLE, filter=png.FILTER.SUB))
    with xyz_path.open("wb") as file:
        tifffile.imwrite(file, xyz_mm, photometric="rgb", compression="zlib", compressionargs={"level": 1})
        flush(file)
