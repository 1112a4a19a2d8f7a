"""Images that would be read as something else than what was recorded, and the sentence of each."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from mdss.errors import BadInput
from mdss.image_header import PNG_BEGINS, read_header
from mdss.scan_files import png
from mdss.scans import read_cloud, read_image, read_truth

RGB = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
CLOUD = RGB.astype(np.float32)
DAMAGED = "cannot be read as an image, it is damaged, cut short, far too large or of another format; expected PNG, JPEG or TIFF"


def said_of(path: Path, read: Callable[[Path], NDArray[np.generic]] = read_image) -> str:
    """Return the sentence with which a file is refused, without its path."""
    with pytest.raises(BadInput) as refused:
        read(path)
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


def png_claiming(side: int, pixels: bytes) -> bytes:
    """Return an RGB PNG that says it has side x side pixels, with these compressed rows."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    return PNG_BEGINS + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def jpeg_claiming(whole: bytes, height: int, width: int) -> bytes:
    """Return a JPEG that says it has so many pixels."""
    at = whole.index(b"\xff\xc0") + 5
    return whole[:at] + struct.pack(">HH", height, width) + whole[at + 4 :]


def test_a_small_file_that_would_fill_the_memory_with_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side, rows = 12_000, 100
    packer = zlib.compressobj(1)
    blank = bytes(rows * (1 + 3 * side))
    packed = b"".join(packer.compress(blank) for _ in range(side // rows)) + packer.flush()
    path = tmp_path / "000.png"
    path.write_bytes(png_claiming(side, packed))
    program = """
import resource, sys
from pathlib import Path
from mdss.errors import BadInput
from mdss.scans import read_image
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
try:
    read_image(Path(sys.argv[1]))
except BadInput as error:
    print(error)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    sentence, grown_kib = done.stdout.splitlines()
    assert sentence == f"{path}: found 12000 x 12000 px, expected 64 to 2000 on each side"
    assert int(grown_kib) < 100 * 1024  # the file itself has 2 MB, its pixels 432


@pytest.mark.parametrize("name", ["000.png", "000.jpg", "000.tiff"])
def test_an_image_larger_than_any_scan_is_refused_by_what_its_header_says(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("png"):
        path.write_bytes(png_claiming(100_000, b"no pixels"))
    elif name.endswith("jpg"):
        whole = written_jpeg(path)
        with_thumbnail = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(whole) + 2) + whole + b"\xff" + whole[2:]
        path.write_bytes(with_thumbnail[: len(whole) + 4] + jpeg_claiming(with_thumbnail[len(whole) + 4 :], 50_000, 2000))
    else:
        tifffile.imwrite(path, (b"no pixels" for _ in range(30)), shape=(30_000, 400, 3), dtype="u1", compression="zlib", rowsperstrip=1000)
    sizes = {"000.png": "100000 x 100000", "000.jpg": "50000 x 2000", "000.tiff": "30000 x 400"}
    assert said_of(path) == f"found {sizes[name]} px, expected 64 to 2000 on each side"
    with pytest.raises(BadInput, match=f"found {sizes[name]} px"):
        read_truth(path)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\xff",
        b"\x89PNG\r\n\x1a\n\0",
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 1000, b"tEXt") + b"no size" * 200,
        b"II*\0",
        b"GIF89a" + bytes(50),
    ],
)
def test_a_file_without_a_header_that_can_be_read_is_no_image(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "000.png"
    path.write_bytes(damaged)
    assert said_of(path) == DAMAGED


def test_the_header_of_a_file_says_the_size_that_it_has(tmp_path: Path) -> None:
    for name in ("000.png", "000.jpg", "000.tiff"):
        path = tmp_path / name
        assert cv2.imwrite(str(path), RGB)
        header = read_header(path.read_bytes())
        assert header is not None and (header.height, header.width) == (70, 90)


def test_a_cloud_that_would_fill_the_memory_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path, shape, rows = tmp_path / "000.tiff", (40_000, 40_000, 3), 1000  # 18 GiB, in ten bytes to a strip
    tifffile.imwrite(
        path, (b"no pixels." for _ in range(shape[0] // rows)), shape=shape, dtype="<f4", photometric="rgb", compression="zlib",
        rowsperstrip=rows,
    )  # fmt: skip
    with pytest.raises(BadInput, match=r"000\.tiff: found 40000 x 40000 px, expected 64 to 2000 on each side"):
        read_cloud(path)


@pytest.mark.parametrize(("kind", "read"), [("u1", read_image), ("<f4", read_cloud)])
def test_a_small_tiff_of_enormous_tiles_is_refused_before_one_is_unpacked(
    tmp_path: Path, kind: str, read: Callable[[Path], NDArray[np.generic]]
) -> None:
    path, tiles = tmp_path / "000.tiff", (16_000, 16_000)
    tifffile.imwrite(path, iter([b"no pixels"]), shape=(70, 90, 3), dtype=kind, photometric="rgb", compression="zlib", tile=tiles)
    with pytest.raises(BadInput, match=r"000\.tiff: found tiles of 256000000 pixels, expected at most 16777216"):
        read(path)
    stored = np.ones((70, 90, 3), kind)
    tifffile.imwrite(path, stored, photometric="rgb", compression="zlib", tile=(256, 256))
    assert np.array_equal(read(path), stored)


@pytest.mark.parametrize("orientation", range(10))
def test_a_tiff_that_says_it_is_to_be_turned_is_refused_for_its_cloud_is_not(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "000.tiff"
    tifffile.imwrite(path, RGB, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    if orientation in (0, 1, 9):  # 0 and 9 mean nothing
        assert np.array_equal(read_image(path), RGB)
    else:
        assert said_of(path) == f"found a TIFF of orientation {orientation}, expected 1: pixels stored as they are seen"


@pytest.mark.parametrize("orientation", [1, 3, 9])
def test_so_is_a_cloud_for_its_image_is_not_turned(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "000.tiff"
    tifffile.imwrite(path, CLOUD, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    if orientation == 3:
        assert said_of(path, read_cloud) == "found a TIFF of orientation 3, expected 1: pixels stored as they are seen"
    else:
        assert np.array_equal(read_cloud(path), CLOUD)


@pytest.mark.parametrize(("stored", "read"), [(RGB, read_image), (CLOUD, read_cloud), (RGB[..., 0], read_truth)])
def test_a_tiff_of_several_pages_is_refused_and_smaller_copies_of_the_first_do_no_harm(
    tmp_path: Path, stored: NDArray[np.generic], read: Callable[[Path], NDArray[np.generic]]
) -> None:
    path = tmp_path / "000.tiff"
    for is_copy in (True, False):
        with tifffile.TiffWriter(path) as file:
            file.write(stored, photometric="rgb" if stored.ndim == 3 else "minisblack")
            file.write(stored[::2, ::2, ...].astype("u1"), subfiletype=int(is_copy))
        if is_copy:
            assert read(path).shape == stored.shape
        else:
            assert said_of(path, read) == "found a TIFF of several pages, expected one: what the others hold would be passed over"


def test_a_cloud_of_which_each_row_is_a_page_is_read_as_one_and_refused_with_another_page_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "000.tiff"
    for others in (0, 1):
        with tifffile.TiffWriter(path) as file:
            file.write(CLOUD, photometric="minisblack")
            for _ in range(others):
                file.write(CLOUD, photometric="rgb")
        with tifffile.TiffFile(path) as file:
            assert len(file.pages) == len(CLOUD) + others
        if others:
            assert said_of(path, read_cloud) == "found a TIFF of several pages, expected one: what the others hold would be passed over"
        else:
            assert np.array_equal(read_cloud(path), CLOUD)


@pytest.mark.timeout(30)
def test_a_damaged_tiff_whose_pages_lead_in_a_circle_is_not_followed_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "000.tiff"
    tifffile.imwrite(path, CLOUD, photometric="rgb", subfiletype=1, metadata=None)
    content = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * tags, first)  # where the next page begins
    path.write_bytes(content)
    assert said_of(path, read_image) == "found a TIFF of several pages, expected one: what the others hold would be passed over"
    assert np.array_equal(read_cloud(path), CLOUD)  # of a cloud all pages are looked at, and there is no other


def test_an_image_whose_name_is_not_in_utf_8_is_refused_and_ends_no_process(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"gr\xfcn.png")
    path.write_bytes(png(RGB))
    with pytest.raises(BadInput) as refused:
        read_image(path)
    assert str(refused.value) == f"{tmp_path}/gr\\udcfcn.png: found a name that is not in UTF-8, expected one that is"


def test_a_file_that_the_system_does_not_give_out_is_refused_with_its_reason_be_it_image_or_cloud(tmp_path: Path) -> None:
    for name, read, expected in (("000.png", read_image, "PNG, JPEG or TIFF"), ("000.tiff", read_cloud, r"float32 of shape \(H, W, 3\)")):
        with pytest.raises(BadInput, match=rf"^{tmp_path / name}: cannot be read \(No such file or directory\); expected {expected}$"):
            read(tmp_path / name)
