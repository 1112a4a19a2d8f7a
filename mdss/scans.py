"""Reads recorded scans from disk: an 8-bit RGB image, a float cloud on the same pixels, a mask; refuses the rest with a sentence."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from mdss.errors import BadInput
from mdss.image_header import JPEG_BEGINS, TIFF_ERRORS, UPRIGHT, ImageHeader, header_of_tiff, read_header, tile_px
from mdss.settings_types import LARGEST_SIDE_PX, SMALLEST_SIDE_PX

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
CLOUD_SUFFIXES = (".tif", ".tiff")
CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}
JPEG_PIXELS, JPEG_ENDS = b"\xff\xda", b"\xff\xd9"
MOST_TILE_PX = 1 << 24  # of a TIFF; tiles may reach beyond a scan's border
TURNED = range(2, 9)  # TIFF orientations that are turned or mirrored; values beyond them mean nothing
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # a damaged file gets one sentence, from this module
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)


def by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Return the files of a folder with these suffixes by their stem, sorted by name; BadInput if two files share a stem.

    Hidden files are ignored: they belong to other programs. A folder that does not exist has no files.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise BadInput(f"{path}: found {found[path.stem].name} beside it, expected one file per scan")
        found[path.stem] = path
    return found


def without_partner(lone: Path, folder: Path, suffixes: Collection[str]) -> BadInput:
    """Return the refusal of a file whose partner is not in the other folder; it names one of another format that is."""
    found = folder.iterdir() if folder.is_dir() else ()
    others = sorted(path for path in found if path.stem == lone.stem and not path.name.startswith("."))
    but = f" but {others[0]}" if others else ""
    return BadInput(f"{lone}: found no partner{but}, expected {folder / lone.stem} with {', '.join(suffixes)}")


def read_scan(rgb_path: Path, xyz_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.floating]]:
    """Return image and cloud, both (H, W, 3), as stored."""
    rgb, xyz = read_image(rgb_path), read_cloud(xyz_path)
    if xyz.shape != rgb.shape:
        raise BadInput(f"{xyz_path}: found {size(xyz)} px, expected {size(rgb)} px as {rgb_path}")
    return rgb, xyz


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) in the order R, G, B, exactly as stored (no rotation by EXIF)."""
    image = _decoded(path)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BadInput(f"{path}: found {_described(image)}, expected 8-bit RGB")
    return np.ascontiguousarray(image[:, :, ::-1], np.uint8)


def read_truth(path: Path) -> NDArray[np.bool_]:
    """Return which pixels (H, W) of a mask are marked: those that are not zero, whether the mask uses 255 or 1."""
    mask = _decoded(path)
    if mask.dtype != np.uint8 or (mask.ndim == 3 and mask.shape[2] != 3):
        raise BadInput(f"{path}: found {_described(mask)}, expected an 8-bit grey mask")
    return np.asarray((mask != 0).any(axis=2) if mask.ndim == 3 else mask != 0, np.bool_)


def read_cloud(path: Path) -> NDArray[np.floating]:
    """Return an organised cloud (H, W, 3) as stored."""
    try:
        with tifffile.TiffFile(path) as file:
            stored = file.series[0]  # of all pages that make up one array: a program may have written each row as a page
            header = header_of_tiff(file, len(stored.pages))
            shape, dtype = tuple(stored.shape), np.dtype(stored.dtype)
            if dtype.kind != "f" or len(shape) != 3 or shape[2] != 3:
                raise BadInput(f"{path}: found {dtype} of shape {shape}, expected float32 of shape (H, W, 3)")
            _check_header(path, header._replace(height=shape[0], width=shape[1], tile_px=tile_px(stored.keyframe)))
            return np.asarray(file.asarray())
    except TIFF_ERRORS as error:
        by_the_system = error.strerror if isinstance(error, OSError) else None  # damage has none, also where it is an OSError
        what = f"cannot be read ({by_the_system})" if by_the_system else f"cannot be read as a TIFF ({error})"
        raise BadInput(f"{path}: {what}; expected float32 of shape (H, W, 3)") from error


def _check_header(path: Path, header: ImageHeader) -> None:
    """Refuse what says that it is to be turned, or holds more than a scan, and before it is decoded what is larger than any.

    A few megabytes of compressed zeros can expand beyond any memory.
    """
    if max(header.height, header.width) > LARGEST_SIDE_PX:
        found = f"found {header.height} x {header.width} px"
        raise BadInput(f"{path}: {found}, expected {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX} on each side")
    if header.tile_px > MOST_TILE_PX:
        raise BadInput(f"{path}: found tiles of {header.tile_px} pixels, expected at most {MOST_TILE_PX}")
    if header.orientation in TURNED:  # image and cloud of a scan would no longer lie on the same pixels
        raise BadInput(f"{path}: found a TIFF of orientation {header.orientation}, expected {UPRIGHT}: pixels stored as they are seen")
    if header.has_more_pages:
        raise BadInput(f"{path}: found a TIFF of several pages, expected one: what the others hold would be passed over")


def size(image: NDArray[np.generic]) -> str:
    """Return height and width in words."""
    return " x ".join(str(side) for side in cast(tuple[int, ...], image.shape[:2]))


def check_name(path: Path) -> None:
    """Refuse a name that is not in UTF-8: no model card or plan could hold it."""
    shown = str(path).encode("utf-8", "backslashreplace").decode()
    if shown != str(path):
        raise BadInput(f"{shown}: found a name that is not in UTF-8, expected one that is")


def _decoded(path: Path) -> NDArray[np.generic]:
    check_name(path)
    try:
        encoded = path.read_bytes()  # cv2 does not say why a file cannot be read
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); expected PNG, JPEG or TIFF") from error
    header = read_header(encoded)
    if header is None or _is_jpeg_cut_short(encoded):
        raise _damaged(path)
    _check_header(path, header)
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _damaged(path) from error
    if image is None:
        raise _damaged(path)
    return np.asarray(image)


def _damaged(path: Path) -> BadInput:
    return BadInput(
        f"{path}: cannot be read as an image, it is damaged, cut short, far too large or of another format; expected PNG, JPEG or TIFF"
    )


def _is_jpeg_cut_short(encoded: bytes) -> bool:
    """Return whether a JPEG's pixel data has no end marker (decoders fill the rest with grey); an embedded thumbnail has its own marker."""
    return encoded.startswith(JPEG_BEGINS) and encoded.rfind(JPEG_ENDS) < encoded.rfind(JPEG_PIXELS)


def _described(image: NDArray[np.generic]) -> str:
    channels = 1 if image.ndim == 2 else image.shape[2]
    depth = f"{8 * image.dtype.itemsize}-bit{' float' if image.dtype.kind == 'f' else ''}"
    return f"{depth} {CHANNELS.get(channels, f'of {channels} channels')}"
