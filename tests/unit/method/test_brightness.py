"""The light of a part: measured on the part alone, and matched by one factor within a limit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mdss.method.brightness import match_brightness, object_brightness

SIZE_PX = 40
RGB = np.random.default_rng(0).integers(20, 120, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
MASK = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
MASK[10:30, 5:25] = True


def test_brightness_is_the_mean_of_all_channels_on_the_part_alone() -> None:
    beside = RGB.copy()
    beside[~MASK] = 255
    assert object_brightness(beside, MASK) == pytest.approx(RGB[MASK].mean())
    assert object_brightness(RGB[::2, ::2], MASK[::2, ::2]) == pytest.approx(RGB[::2, ::2][MASK[::2, ::2]].mean())


def test_an_empty_mask_has_no_brightness_and_changes_no_image() -> None:
    nowhere = np.zeros_like(MASK)
    assert math.isnan(object_brightness(RGB, nowhere))
    np.testing.assert_array_equal(match_brightness(RGB, nowhere, 100.0), RGB)


def test_matched_brightness_is_reached_even_where_pixels_saturate() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    for asked in (60.0, 127.0, 170.0):
        assert object_brightness(match_brightness(rgb, MASK, asked), MASK) == pytest.approx(asked, abs=0.5)


def test_a_black_part_stays_black() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert not match_brightness(black, np.ones((8, 8), bool), 100.0).any()


def test_every_level_is_scaled_alike_so_that_black_stays_black_and_what_is_too_bright_becomes_white() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    matched = match_brightness(levels, np.ones((16, 16), np.bool_), 250.0, most=0.5)  # 1.5 times as bright is as far as it may go
    np.testing.assert_allclose(matched, (levels * 1.5).clip(0, 255), atol=0.51)


@pytest.mark.parametrize(("asked", "factor"), [(3.0, 1.5), (1.2, 1.2), (0.8, 0.8), (0.1, 1 / 1.5)])
def test_an_image_is_made_brighter_or_darker_by_no_more_than_the_limit(asked: float, factor: float) -> None:
    matched = match_brightness(RGB, MASK, asked * object_brightness(RGB, MASK), most=0.5)
    np.testing.assert_allclose(matched, RGB * factor, atol=0.6)
