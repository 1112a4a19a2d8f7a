"""Folders of scans as people have them: with splits that are not needed, with names in any encoding."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mdss.errors import BadInput
from tests.lines import SIDE_PX, write_tiny_line
from trainer.dataset import Dataset, Split
from trainer.synthetic import LineSize

ALL = {"train", "validation", "test"}
LATIN_1 = os.fsdecode("Stück".encode("latin-1"))


@pytest.mark.parametrize(
    ("split", "folder", "left"), [("train", "good", 1), ("validation", "good", 0), ("test", "good", 2), ("test", "stain", 2)]
)
@pytest.mark.parametrize("lost", ["rgb", "xyz", "rgb/000.png", "xyz/000.tiff"])
def test_a_split_that_is_not_needed_has_the_scans_that_are_whole(root: Path, split: Split, folder: str, left: int, lost: str) -> None:
    path = root / split / folder / lost
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    found = Dataset.open(root, "m", needs=ALL - {split})
    assert len(getattr(found, split)) == (0 if split == "train" and not path.suffix else left)
    with pytest.raises(BadInput, match=f"{root}/{split}/{folder}/"):
        Dataset.open(root, "m", needs=ALL)


@pytest.mark.parametrize(
    ("folder", "found"),
    [("..", "data"), ("train", "good"), ("train/good", "rgb, xyz"), ("train/good/rgb", "000.png, 001.png"), ("empty", "nothing in it")],
)
def test_the_folder_above_or_below_the_dataset_is_known_by_what_lies_in_it(root: Path, folder: str, found: str) -> None:
    (root / "empty").mkdir()
    with pytest.raises(BadInput, match=f": found {found}, expected train/good, validation/good and test/KIND$"):
        Dataset.open(root / folder, "m")


def test_of_a_folder_of_other_things_some_are_named(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"part_{number}.ply").touch()
    (tmp_path / ".hidden").touch()
    with pytest.raises(
        BadInput, match=r"found part_0\.ply, part_1\.ply, part_2\.ply, part_3\.ply, part_4\.ply and 3 more, expected train/good"
    ):
        Dataset.open(tmp_path, "m", needs=("test",))


@pytest.mark.parametrize(("kind", "suffix", "expected"), [("rgb", ".bmp", ".png, .jpg"), ("xyz", ".ply", ".tif, .tiff")])
def test_where_all_files_are_of_another_kind_some_are_named(root: Path, kind: str, suffix: str, expected: str) -> None:
    folder = root / "train/good" / kind
    for path in folder.iterdir():
        path.rename(path.with_suffix(suffix))
    with pytest.raises(BadInput, match=f"^{folder}: found 000{suffix}, 001{suffix}, expected {expected}"):
        Dataset.open(root, "m")


@pytest.mark.parametrize(("kept", "other"), [("rgb/000.png", "xyz/000.ply"), ("xyz/000.tiff", "rgb/000.BMP")])
def test_of_a_scan_whose_other_half_is_of_another_kind_that_file_is_named(root: Path, kept: str, other: str) -> None:
    good = root / "train/good"
    (good / ("xyz/000.tiff" if "xyz" in other else "rgb/000.png")).rename(good / other)
    with pytest.raises(BadInput, match=rf"^{good}/{kept}: found no partner but {good}/{other}, expected {good}/{other[:7]} with \.\w+, "):
        Dataset.open(root, "m")


@pytest.mark.parametrize("name", ["train/good/rgb/001.png", "train/good/xyz/001.tiff", "test/stain/gt/000.png"])
def test_a_link_to_a_file_that_is_not_there_is_said_to_be_one(root: Path, name: str) -> None:
    (root / name).unlink()
    (root / name).symlink_to("/elsewhere/001")
    with pytest.raises(BadInput, match=f"^{root}/{name}: found a link to /elsewhere/001, which is not there; expected a file$"):
        Dataset.open(root, "m", needs=ALL)


@pytest.mark.parametrize("folder", ["train/good/rgb", "validation/good/xyz", "test/stain/rgb"])
def test_a_folder_of_images_or_clouds_in_capital_letters_is_said_to_be_one(root: Path, folder: str) -> None:
    capitals = (root / folder).with_name((root / folder).name.upper())
    (root / folder).rename(capitals)
    with pytest.raises(BadInput, match=f"^{capitals}: found '{capitals.name}', expected '{folder[-3:]}' in small letters"):
        Dataset.open(root, "m", needs=ALL)


def test_folders_beside_that_of_good_parts_are_said_to_be_unread(root: Path) -> None:
    assert Dataset.open(root, "m").unread_folder_sentences() == []
    for name in ("good2", "bent", ".cache"):
        (root / "train" / name).mkdir()
    said = f"{root}/train: found bent, good2 as well, expected good alone: nothing else is learned from"
    assert Dataset.open(root, "m").unread_folder_sentences() == [said]


def test_an_empty_test_folder_is_no_reason_not_to_train(root: Path) -> None:
    shutil.rmtree(root / "test")
    (root / "test").mkdir()
    assert Dataset.open(root, "m").test == []
    with pytest.raises(BadInput, match="test: found no folders, expected one for each kind of part"):
        Dataset.open(root, "m", needs=ALL)


@pytest.mark.parametrize("folder", ["train/good", "validation/good", "test/stain"])
def test_a_name_that_is_not_in_utf_8_is_refused_before_the_decoder_ends_the_process_over_it(root: Path, folder: str) -> None:
    for path in [*root.glob(f"{folder}/*/000.png"), *root.glob(f"{folder}/*/000.tiff")]:
        path.rename(path.with_stem(LATIN_1))
    with pytest.raises(BadInput, match=r"St\\udcfcck\.png: found a name that is not in UTF-8, expected one that is"):
        Dataset.open(root, "m", needs=ALL)


def test_umlauts_and_spaces_and_endings_in_capitals_are_names_like_others(root: Path) -> None:
    for kind, suffix in (("rgb", "png"), ("xyz", "tiff")):
        path = root / "train" / "good" / kind / f"000.{suffix}"
        path.rename(path.with_name(f"ein Stück.{suffix.upper()}"))
    dataset = Dataset.open(root, "m")
    assert [scan.name for scan in dataset.train] == ["001", "ein Stück"]
    assert dataset.load(dataset.train[1]).rgb.shape == (SIDE_PX, SIDE_PX, 3)


def test_a_line_may_lie_in_a_folder_of_such_a_name(tmp_path: Path) -> None:
    write_tiny_line(tmp_path / LATIN_1, size=LineSize(train=1, validation=0, good=1, defective=0))
    assert (tmp_path / LATIN_1).rename(tmp_path / "data").is_dir()
    assert Dataset.open(tmp_path / "data", "m", needs=("test",)).train[0].name == "000"
