"""Reads what a PNG, JPEG or TIFF says of itself, without decoding a pixel: a few kilobytes can claim gigabytes of them."""

from __future__ import annotations

import struct
from io import BytesIO
from itertools import islice
from typing import NamedTuple

import tifffile

PNG_BEGINS, JPEG_BEGINS, TIFF_BEGINS = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", (b"II", b"MM")
PNG_HEADER = ">4x4sII"  # what follows: length and name of the first chunk, which is always IHDR, then width and height
SIZE_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG markers whose segment has the size: SOF0 to SOF15
BARE_MARKERS = {0x00, 0x01, *range(0xD0, 0xD9)}  # JPEG markers without a segment
MOST_COPIES = 16  # of a TIFF's page; a damaged file may lead from page to page for ever
UPRIGHT = 1  # TIFF orientation of pixels that are stored as seen
# RuntimeError comes from the codecs; a damaged header leads tifffile to the others.
TIFF_ERRORS = (OSError, ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, MemoryError, struct.error)


class ImageHeader(NamedTuple):
    """What an image file says of itself."""

    height: int
    width: int
    orientation: int = UPRIGHT  # the tag of a TIFF
    tile_px: int = 0  # pixels of one tile of a TIFF, which is decoded whole, however small the image is
    has_more_pages: bool = False  # whether a TIFF holds another page than smaller copies of the first


def read_header(encoded: bytes) -> ImageHeader | None:
    """Return the header of an encoded image; None if it is no PNG, JPEG or TIFF, or its header is damaged."""
    if encoded.startswith(TIFF_BEGINS):
        return _of_tiff(encoded)
    try:
        if encoded.startswith(PNG_BEGINS):
            name, width, height = struct.unpack_from(PNG_HEADER, encoded, len(PNG_BEGINS))
            return ImageHeader(height, width) if name == b"IHDR" else None
        return _of_jpeg(encoded) if encoded.startswith(JPEG_BEGINS) else None
    except (struct.error, IndexError):  # it ends in the middle of its header
        return None


def _of_jpeg(encoded: bytes) -> ImageHeader | None:
    """Go from marker to marker, over segments such as a thumbnail's, and over bytes between them, as decoders do."""
    at = encoded.find(b"\xff", len(JPEG_BEGINS))
    while at >= 0:
        marker = encoded[at + 1]
        if marker in SIZE_MARKERS:
            return ImageHeader(*struct.unpack_from(">HH", encoded, at + 5))
        is_fill = marker == 0xFF
        length = 0 if is_fill or marker in BARE_MARKERS else struct.unpack_from(">H", encoded, at + 2)[0]
        at = encoded.find(b"\xff", at + 1 if is_fill else at + 2 + length)
    return None


def _of_tiff(encoded: bytes) -> ImageHeader | None:
    try:
        with tifffile.TiffFile(BytesIO(encoded)) as file:
            return header_of_tiff(file)
    except TIFF_ERRORS:
        return None


def header_of_tiff(file: tifffile.TiffFile, counting: int = 1) -> ImageHeader:
    """Return the header of an open TIFF, whose first pages count, as a rule one; one of TIFF_ERRORS if it is damaged."""
    page, others = file.pages.first, list(islice(file.pages, counting, counting + MOST_COPIES + 1))
    tag = page.tags.get("Orientation")
    return ImageHeader(
        page.imagelength,
        page.imagewidth,
        orientation=UPRIGHT if tag is None else int(tag.value),
        tile_px=tile_px(page),
        has_more_pages=len(others) > MOST_COPIES or not all(map(is_smaller_copy, others)),
    )


def is_smaller_copy(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    """Return whether a page says that it is a smaller copy of another page, such as a preview."""
    return isinstance(page, tifffile.TiffPage) and page.is_reduced


def tile_px(page: tifffile.TiffPage) -> int:
    """Return how many pixels one tile of a page has; 0 if it has none."""
    return page.tilelength * page.tilewidth * max(1, page.tiledepth)
