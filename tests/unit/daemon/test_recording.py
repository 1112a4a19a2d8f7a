"""Recorded scans are found in each layout, and a file that cannot be read is named."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from daemon.recording import find_pairs, read_pair
from mdss.errors import BadInput


def record(folder: Path, name: str) -> None:
    (folder / "rgb").mkdir(parents=True, exist_ok=True)
    (folder / "xyz").mkdir(exist_ok=True)
    image = np.zeros((64, 70, 3), np.uint8)
    image[..., 2] = 200  # red, as cv2 orders it
    cv2.imwrite(str(folder / "rgb" / f"{name}.png"), image)
    tifffile.imwrite(folder / "xyz" / f"{name}.tiff", np.ones((64, 70, 3), np.float32), photometric="rgb")


@pytest.mark.parametrize(("inside", "opened"), [("test/bent", ""), ("test/bent", "test"), ("bent", "bent")])
def test_a_dataset_a_split_and_one_folder_are_found(tmp_path: Path, inside: str, opened: str) -> None:
    for name in ("001", "000"):
        record(tmp_path / inside, name)
    pairs = find_pairs(tmp_path / opened, "test")
    assert [pair.part_id for pair in pairs] == ["bent/000", "bent/001"]
    rgb, xyz = read_pair(pairs[0])
    assert rgb[0, 0].tolist() == [200, 0, 0]
    assert (rgb.dtype.name, xyz.dtype.name, xyz.shape) == ("uint8", "float32", (64, 70, 3))


def test_scans_are_replayed_in_order_of_name_in_whatever_order_the_disk_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("bent", "cut"):
        for name in ("000", "001"):
            record(tmp_path / "test" / kind, name)
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(sorted(listed(folder), reverse=True)))
    assert [pair.part_id for pair in find_pairs(tmp_path, "test")] == ["bent/000", "bent/001", "cut/000", "cut/001"]


def test_a_folder_without_scans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="found no scans"):
        find_pairs(tmp_path, "test")


@pytest.mark.parametrize(("second", "first"), [("rgb/000.png", "000.jpg"), ("xyz/000.tiff", "000.tif")])
def test_two_files_of_one_scan_are_refused_as_a_dataset_refuses_them(tmp_path: Path, second: str, first: str) -> None:
    record(tmp_path, "000")
    path = tmp_path / second
    path.with_name(first).write_bytes(path.read_bytes())
    with pytest.raises(BadInput, match=f"^{path}: found {first} beside it, expected one file per scan$"):
        find_pairs(tmp_path, "test")


@pytest.mark.parametrize(
    ("kept", "other", "formats"), [("rgb/000.png", "xyz/000", ".tif, .tiff"), ("xyz/000.tiff", "rgb/000", ".png, .jpg")]
)
def test_a_file_without_its_partner_is_refused_in_its_turn_as_a_training_refuses_it(
    tmp_path: Path, kept: str, other: str, formats: str
) -> None:
    for name in ("000", "001"):
        record(tmp_path, name)
    next(tmp_path.glob(f"{other}.*")).unlink()
    lone, whole = find_pairs(tmp_path, "test")
    with pytest.raises(BadInput, match=rf"^{tmp_path / kept}: found no partner, expected {tmp_path / other} with {formats}"):
        read_pair(lone)
    assert read_pair(whole)[0].shape == (64, 70, 3)


def test_where_no_file_has_a_partner_the_first_is_named_at_once(tmp_path: Path) -> None:
    for name in ("000", "001"):
        record(tmp_path, name)
        (tmp_path / "rgb" / f"{name}.png").rename(tmp_path / "rgb" / f"{name}_rgb.png")
        (tmp_path / "xyz" / f"{name}.tiff").rename(tmp_path / "xyz" / f"{name}_xyz.tiff")
    with pytest.raises(
        BadInput, match=rf"^{tmp_path}/rgb/000_rgb.png: found no partner, expected {tmp_path}/xyz/000_rgb with .tif, .tiff$"
    ):
        find_pairs(tmp_path, "test")


@pytest.mark.parametrize("wrong", ["grey", "16 bit", "no image", "cut image", "folder", "truncated", "no cloud", "other size", "integers"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str], wrong: str) -> None:
    record(tmp_path, "000")
    rgb, xyz = tmp_path / "rgb" / "000.png", tmp_path / "xyz" / "000.tiff"
    match wrong:
        case "grey":
            cv2.imwrite(str(rgb), np.zeros((64, 70), np.uint8))
        case "16 bit":
            cv2.imwrite(str(rgb), np.zeros((64, 70, 3), np.uint16))
        case "no image":
            rgb.write_bytes(b"not an image")
        case "cut image":
            rgb.write_bytes(rgb.read_bytes()[:-30])
        case "folder":
            rgb.unlink()
            rgb.mkdir()
        case "truncated":
            xyz.write_bytes(xyz.read_bytes()[:5000])
        case "no cloud":
            xyz.unlink()
        case "other size":
            tifffile.imwrite(xyz, np.ones((64, 64, 3), np.float32), photometric="rgb")
        case "integers":
            tifffile.imwrite(xyz, np.ones((64, 70, 3), np.uint16), photometric="rgb")
    with pytest.raises(BadInput, match="000"):
        read_pair(find_pairs(tmp_path, "test")[0])
    assert capfd.readouterr().err == ""  # the sentence is all: no library speaks beside it


@pytest.mark.parametrize("seed", range(20))
def test_a_cloud_whose_tags_are_damaged_is_read_or_refused_and_nothing_else(tmp_path: Path, seed: int) -> None:
    record(tmp_path, "000")
    path, random = tmp_path / "xyz" / "000.tiff", np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for place in random.integers(8, 200, 6):  # the tags follow the eight bytes that say where they are
        content[place] = random.integers(256)
    path.write_bytes(content)
    with contextlib.suppress(BadInput):
        assert read_pair(find_pairs(tmp_path, "test")[0])[1].shape == (64, 70, 3)
