"""Parts that are shown turned: where they lie then, that they stay as sharp as they were, and how often they are."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mdss.method.grid import Grid
from mdss.method.recipe import Recipe
from tests.unit.trainer.test_train_rgb import SMALL, parts, windows_of
from trainer.branch_inputs import BranchInput
from trainer.colour_windows import PartView, ShownPart, Windows
from trainer.turned_parts import turned

SIZE_PX = 96
ROWS, COLUMNS = slice(20, 61), slice(30, 51)  # the part: 41 px high, 21 wide, its middle at row 40, column 40


def scan() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return an image of noise as fine as a camera's on a grey part, and the part's mask."""
    random = np.random.default_rng(0)
    mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    mask[ROWS, COLUMNS] = True
    noise = cv2.GaussianBlur(random.normal(0, 60, (SIZE_PX, SIZE_PX, 3)).astype(np.float32), (0, 0), 0.8)
    return np.clip(128 + noise, 0, 255).astype(np.uint8), mask


def test_a_quarter_turn_moves_each_pixel_about_the_middle_of_the_part_and_changes_no_value() -> None:
    rgb, mask = scan()
    image, covered = turned(rgb, mask, 90)
    expected = np.zeros_like(mask)
    expected[30:51, 20:61] = True
    np.testing.assert_array_equal(covered, expected)
    np.testing.assert_array_equal(image[30:51, 20:61], np.rot90(rgb[ROWS, COLUMNS]))


@pytest.mark.parametrize("angle_deg", [-90.0, -37.0, 4.0, 61.0, 180.0])
def test_image_and_mask_are_turned_alike_and_the_part_keeps_its_size(angle_deg: float) -> None:
    _, mask = scan()
    marked = np.repeat(np.where(mask, 200, 50).astype(np.uint8)[..., None], 3, axis=2)
    image, covered = turned(marked, mask, angle_deg)
    inside = cv2.erode(covered.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    outside = cv2.dilate(covered.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    assert image[inside].min() > 170
    assert image[outside].max() < 80
    assert covered.sum() == pytest.approx(mask.sum(), rel=0.05)


def test_a_turned_part_is_nearly_as_sharp_as_it_was_where_a_mean_of_four_pixels_would_be_blurred() -> None:
    rgb, mask = scan()

    def sharpness(image: NDArray[np.uint8], place: NDArray[np.bool_]) -> float:
        grey = image.mean(axis=2)
        return float(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.0))[place].mean())

    image, covered = turned(rgb, mask, 33)
    middle = (40.0, 40.0)
    blurred = cv2.warpAffine(rgb, cv2.getRotationMatrix2D(middle, 33, 1), (SIZE_PX, SIZE_PX), flags=cv2.INTER_LINEAR)
    assert sharpness(image, covered) > 0.9 * sharpness(rgb, mask) > sharpness(np.asarray(blurred, np.uint8), covered)


def test_a_part_at_the_edge_of_the_image_stays_in_it_by_half_at_least_and_nothing_black_comes_in() -> None:
    rgb, mask = np.full((SIZE_PX, SIZE_PX, 3), 90, np.uint8), np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    mask[20:80, :8] = True
    image, covered = turned(rgb, mask, 90)
    assert covered.sum() >= mask.sum() / 2
    assert image.min() == 90


def test_a_part_whose_pieces_would_leave_the_image_is_shown_as_it_came() -> None:
    rgb, mask = np.full((SIZE_PX, SIZE_PX, 3), 90, np.uint8), np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    for rows in (slice(2, 8), slice(-8, -2)):
        for columns in (slice(2, 8), slice(-8, -2)):
            mask[rows, columns] = True
    part = BranchInput(rgb, mask, np.empty(0, np.float32), Grid.filled(SIZE_PX))
    assert not turned(rgb, mask, 30)[1].any()
    np.testing.assert_array_equal(ShownPart.of(part, PartView(0, 30.0), "reflect").mask, mask)
    changed = msgspec.structs.replace(SMALL, turned=True, turned_deg=45.0, turned_last=1.0)
    windows = Windows([part], Recipe(rgb=changed))
    assert any(windows.batch(step).masks.any() for step in range(10))


def test_turned_parts_are_kept_for_one_grid_and_no_longer() -> None:
    asked = msgspec.structs.replace(SMALL, turned=True, turned_last=1.0, steps=30)
    windows, anywhere = windows_of(asked), windows_of(msgspec.structs.replace(asked, shift_every=None))
    for step in range(9):
        windows.batch(step)
        anywhere.batch(step)
        assert {part.view for part in windows._turned.values()} <= set(windows._views(step))
    assert windows._turned and not anywhere._turned


def test_parts_that_come_at_any_angle_are_shown_another_way_with_each_shift_and_whole_images_are_not() -> None:
    asked = [
        Windows(parts()[:1], Recipe(rgb=msgspec.structs.replace(SMALL, shift_every=1, turned=is_turned))) for is_turned in (False, True)
    ]
    shown = [[windows.batch(step).masks.mean(dim=0) for step in range(16)] for windows in asked]
    assert any(not torch.equal(plain, other) for plain, other in zip(*shown, strict=True))
    whole = [windows_of(msgspec.structs.replace(SMALL, window_px=None, turned=is_turned)).batch(0).images for is_turned in (False, True)]
    assert torch.equal(*whole)


def test_parts_are_shown_turned_ever_less_often_where_the_last_are_shown_as_they_came() -> None:
    steps = 400
    falling, steady = (
        windows_of(msgspec.structs.replace(SMALL, turned=True, turned_last=last, steps=steps, shift_every=1)) for last in (0.0, 1.0)
    )

    def share(windows: Windows, first: int) -> float:
        return float(np.mean([view.angle_deg != 0 for step in range(first, first + 100) for view in windows._views(step)]))

    assert 0.95 > share(falling, 0) > 0.7 > share(falling, 150) > 0.3 > share(falling, 300) > 0
    assert falling._views(steps - 1) == [PartView(number) for number in range(3)]
    assert all(share(steady, first) == 1 for first in (0, 300))


@pytest.mark.parametrize("most_deg", [10.0, 90.0, 180.0])
def test_parts_are_turned_to_either_side_by_as_much_as_the_recipe_says_and_no_more(most_deg: float) -> None:
    windows = windows_of(msgspec.structs.replace(SMALL, turned=True, turned_deg=most_deg, turned_last=1.0, steps=400, shift_every=1))
    angles_deg = [view.angle_deg for step in range(200) for view in windows._views(step)]
    assert -most_deg <= min(angles_deg) < -0.9 * most_deg
    assert 0.9 * most_deg < max(angles_deg) <= most_deg
    assert abs(np.mean(angles_deg)) < 0.1 * most_deg


def test_how_many_parts_are_turned_stays_the_same_while_the_teacher_is_not_asked_again() -> None:
    windows = windows_of(msgspec.structs.replace(SMALL, turned=True, turned_last=0.0))
    assert windows._views(6) == windows._views(7) == windows._views(8)
    assert windows._share_turned(6) == windows._share_turned(8) > windows._share_turned(9)
