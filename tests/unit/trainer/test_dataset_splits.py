"""What a verb does not need of a folder of scans is no reason to refuse it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mdss.errors import BadInput
from tests.lines import write_tiny_line
from trainer.dataset import Dataset, Split

ALL = {"train", "validation", "test"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a sound dataset of two training scans, one validation scan and three test scans."""
    write_tiny_line(tmp_path / "data")
    return tmp_path / "data"


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


def test_an_empty_test_folder_is_no_reason_not_to_train(root: Path) -> None:
    shutil.rmtree(root / "test")
    (root / "test").mkdir()
    assert Dataset.open(root, "m").test == []
    with pytest.raises(BadInput, match="test: found no folders, expected one for each kind of part"):
        Dataset.open(root, "m", needs=ALL)
