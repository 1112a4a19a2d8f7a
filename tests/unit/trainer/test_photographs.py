"""Photographs: which of a folder are read, and what their crops show."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.errors import BadInput
from trainer import photographs as photographs_module
from trainer.photographs import Photographs, photographs_in, read_photograph


def crops_of(folder: Path, *images: NDArray[np.uint8], count: int = 60, greyscale_share: float = 0.0) -> Tensor:
    """Return crops (count, 3, 256, 256) of these photographs, RGB (H, W, 3)."""
    for number, image in enumerate(images):
        assert cv2.imwrite(str(folder / f"{number}.png"), image[..., ::-1])
    return Photographs(folder).crops(count, greyscale_share, np.random.default_rng(0))


def halves(height: int, width: int) -> NDArray[np.uint8]:
    """Return a photograph (height, width, 3) whose left half is black and whose right half is white."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = 255
    return image


@pytest.mark.parametrize(("count", "most", "read"), [(4, 4, "0123"), (4, 2, "02"), (5, 2, "03"), (5, 3, "024"), (5, 4, "024")])
def test_of_too_many_photographs_those_at_even_steps_by_name_are_read_and_never_more_than_the_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, most: int, read: str
) -> None:
    monkeypatch.setattr(photographs_module, "MAX_PHOTOGRAPHS", most)
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "0.jpg").touch()  # which a walk through the folders comes to last
    for number in range(1, count):
        (tmp_path / f"{number}.jpg").touch()
    assert "".join(path.stem for path in photographs_in(tmp_path)) == read


def test_a_photograph_may_have_its_ending_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "DSC_0001.JPG").touch()
    assert len(photographs_in(tmp_path)) == 1


def test_the_smallest_photograph_that_is_read_has_the_side_of_a_crop(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "small.png"), np.zeros((128, 128, 3), np.uint8))
    assert read_photograph(tmp_path / "small.png").shape == (128, 128, 3)


def test_an_empty_file_among_photographs_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(BadInput, match=r"empty\.jpg: cannot be read as an image; expected a photograph"):
        read_photograph(tmp_path / "empty.jpg")


def test_a_photograph_that_is_reduced_shows_the_mean_of_what_it_showed(tmp_path: Path) -> None:
    stripes = np.zeros((1536, 1536, 3), np.uint8)
    stripes[:, ::2] = 255
    assert cv2.imwrite(str(tmp_path / "large.png"), stripes)
    assert np.abs(read_photograph(tmp_path / "large.png").astype(int) - 127).max() <= 1


def test_crops_come_from_all_photographs(tmp_path: Path) -> None:
    red, blue = (np.full((150, 150, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    is_red = [bool(crop[0].mean() > crop[2].mean()) for crop in crops_of(tmp_path, red, blue)]
    assert 15 < sum(is_red) < 45


def test_crops_come_from_all_over_a_photograph(tmp_path: Path) -> None:
    wide, tall = halves(150, 500), halves(150, 500).transpose(1, 0, 2)
    for number, image in enumerate((wide, tall)):
        folder = tmp_path / str(number)
        folder.mkdir()
        brightness = crops_of(folder, image).mean((1, 2, 3))
        assert (brightness == 0).sum() > 10 and (brightness > 0.5).sum() > 10


def test_a_crop_has_between_two_fifths_and_the_whole_of_the_shorter_side(tmp_path: Path) -> None:
    stripes = np.zeros((200, 300, 3), np.uint8)
    stripes[:, np.arange(300) % 10 < 5] = 255
    row = crops_of(tmp_path, stripes)[:, 0, 128]
    is_white = row > row.mean(dim=1, keepdim=True)
    sides = 5 * (is_white[:, 1:] != is_white[:, :-1]).sum(dim=1)  # px
    assert 75 <= sides.min() < 100 and 180 < sides.max() <= 200


def test_half_of_the_crops_are_mirrored_and_none_stands_on_its_head(tmp_path: Path) -> None:
    upright = halves(200, 200).transpose(1, 0, 2)
    (tmp_path / "beside").mkdir()
    rows, columns = crops_of(tmp_path, upright).mean((1, 3)), crops_of(tmp_path / "beside", halves(200, 200)).mean((1, 2))
    assert (rows[:, 0] <= rows[:, -1]).all()
    is_mirrored = (columns[:, 0] > columns[:, -1])[columns[:, 0] != columns[:, -1]]
    assert 0.3 < is_mirrored.float().mean() < 0.7


def test_light_and_contrast_of_a_crop_vary_and_stay_those_of_a_photograph(tmp_path: Path) -> None:
    (tmp_path / "white").mkdir()
    grey = crops_of(tmp_path, np.full((150, 150, 3), 128, np.uint8)).mean((1, 2, 3))
    white = crops_of(tmp_path / "white", np.full((150, 150, 3), 255, np.uint8)).mean((1, 2, 3))
    assert 0.25 < grey.min() < 0.35 and 0.5 < grey.max() < 0.65
    assert 0.59 < white.min() < 0.7 and white.max() == 1


def test_a_grey_crop_is_as_bright_as_the_mean_of_its_colours(tmp_path: Path) -> None:
    crops = crops_of(tmp_path, np.full((150, 150, 3), (0, 100, 200), np.uint8), greyscale_share=1.0)
    (tmp_path / "grey").mkdir()
    assert torch.allclose(crops, crops_of(tmp_path / "grey", np.full((150, 150, 3), 100, np.uint8), greyscale_share=1.0), atol=1e-5)
