"""Images that would be read as something else than what was recorded, and the sentence of each."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mdss.errors import BadInput
from mdss.scan_files import png
from mdss.scans import read_cloud, read_image, read_truth

RGB = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
DAMAGED = "cannot be read as an image, it is damaged, cut short or far too large; expected PNG, JPEG or TIFF"


def said_of(path: Path) -> str:
    """Return the sentence with which an image is refused, without its path."""
    with pytest.raises(BadInput) as refused:
        read_image(path)
    return str(refused.value).removeprefix(f"{path}: ")


def written_jpeg(path: Path, *how: int) -> bytes:
    """Write a JPEG and return its bytes."""
    assert cv2.imwrite(str(path), RGB, how)
    return path.read_bytes()


@pytest.mark.parametrize("how", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_jpeg_cut_short_is_refused_and_not_filled_up_with_grey(tmp_path: Path, how: tuple[int, ...], share: float) -> None:
    path = tmp_path / "000.jpg"
    whole = written_jpeg(path, *how)
    path.write_bytes(whole[: int(share * len(whole))])
    assert said_of(path) == DAMAGED


def test_the_end_of_a_thumbnail_is_not_that_of_its_jpeg_and_what_a_camera_adds_behind_it_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "000.jpg"
    whole = written_jpeg(path)
    with_thumbnail = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(whole) + 2) + whole + whole[2:]
    path.write_bytes(with_thumbnail[:-100])
    assert said_of(path) == DAMAGED
    path.write_bytes(with_thumbnail + bytes(100))
    assert np.array_equal(read_image(path), np.asarray(cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR))[..., ::-1])


def test_a_header_that_asks_for_more_pixels_than_any_image_has_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "000.png"
    whole = png(RGB)
    head = b"IHDR" + struct.pack(">II", 100_000, 100_000) + whole[24:29]
    path.write_bytes(whole[:12] + head + struct.pack(">I", zlib.crc32(head)) + whole[33:])
    assert said_of(path) == DAMAGED
    with pytest.raises(BadInput, match="far too large"):
        read_truth(path)


def test_a_cloud_that_would_fill_the_memory_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path, shape, rows = tmp_path / "000.tiff", (40_000, 40_000, 3), 1000  # 18 GiB, in ten bytes to a strip
    tifffile.imwrite(
        path, (b"no pixels." for _ in range(shape[0] // rows)), shape=shape, dtype="<f4", photometric="rgb", compression="zlib",
        rowsperstrip=rows,
    )  # fmt: skip
    with pytest.raises(BadInput, match="it says that it has 18310 MiB, far too large"):
        read_cloud(path)


@pytest.mark.parametrize("orientation", range(10))
def test_a_tiff_that_says_it_is_to_be_turned_is_refused_for_its_cloud_is_not(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "000.tiff"
    tifffile.imwrite(path, RGB, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    if orientation in (0, 1, 9):  # 0 and 9 mean nothing
        assert np.array_equal(read_image(path), RGB)
    else:
        assert said_of(path) == f"found a TIFF of orientation {orientation}, expected 1: pixels stored as they are seen"


def test_an_image_whose_name_is_not_in_utf_8_is_refused_and_ends_no_process(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"gr\xfcn.png")
    path.write_bytes(png(RGB))
    with pytest.raises(BadInput) as refused:
        read_image(path)
    assert str(refused.value) == f"{tmp_path}/gr\\udcfcn.png: found a name that is not in UTF-8, expected one that is"
