"""Pixels that are asked about, and what the others take from those beside them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mdss.method.checkerboard import AskedPixels, askable_pixels

SHAPE = 12, 15


def chosen_from(there: NDArray[np.bool_]) -> AskedPixels:
    return AskedPixels.of(np.flatnonzero(there), askable_pixels(0, SHAPE, "checkerboard"))


def test_every_pixel_is_asked_about_and_keeps_its_value() -> None:
    asked = AskedPixels.of(np.array([3, 4, 20]), askable_pixels(3, SHAPE, "every_pixel"))
    values = np.array([1, 2, 3], np.float32)
    assert asked.chosen.all()
    assert asked.interpolated(values).tolist() == [1, 2, 3]


@pytest.mark.parametrize("first", [0, 1, SHAPE[1], 2 * SHAPE[1] + 4])
def test_the_first_pixel_is_asked_about_and_none_beside_another(first: int) -> None:
    board = askable_pixels(first, SHAPE, "checkerboard")
    assert board.ravel()[first]
    assert (board[1:] != board[:-1]).all() and (board[:, 1:] != board[:, :-1]).all()


def test_of_a_whole_grid_half_is_asked_about_and_a_slope_is_found_between() -> None:
    asked = chosen_from(np.ones(SHAPE, np.bool_))
    rows, columns = np.indices(SHAPE)
    slope = (10 + 2 * rows - 3 * columns).astype(np.float32)
    assert asked.chosen.sum() == SHAPE[0] * SHAPE[1] / 2
    found = asked.interpolated(slope.ravel()[asked.chosen]).reshape(SHAPE)
    assert np.allclose(found[1:-1, 1:-1], slope[1:-1, 1:-1])
    assert found[0, 1] == np.mean([slope[0, 0], slope[0, 2], slope[1, 1]])


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_value_that_was_asked_for_is_kept_and_the_others_are_the_mean_of_those_beside_them(share: float) -> None:
    random = np.random.default_rng(0)
    asked = chosen_from(random.random(SHAPE) < share)
    values = random.uniform(1, 2, int(asked.chosen.sum())).astype(np.float32)
    found = asked.interpolated(values)
    assert np.array_equal(found[asked.chosen], values)
    said = dict(zip(zip(*np.divmod(asked.pixels[asked.chosen], SHAPE[1]), strict=True), values, strict=True))
    for row, column, value in zip(*np.divmod(asked.pixels[~asked.chosen], SHAPE[1]), found[~asked.chosen], strict=True):
        beside = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        assert value == pytest.approx(np.mean([said[place] for place in beside if place in said]))


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9])
def test_off_the_board_those_and_only_those_are_asked_about_that_have_none_of_it_beside_them(share: float) -> None:
    there, board = np.random.default_rng(1).random(SHAPE) < share, askable_pixels(0, SHAPE, "checkerboard")
    asked, padded = chosen_from(there), np.pad(there & board, 1)
    has_some_beside = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    assert np.array_equal(asked.chosen, (board | ~has_some_beside)[there])


def test_no_pixels_are_asked_about_nothing() -> None:
    asked = chosen_from(np.zeros(SHAPE, np.bool_))
    assert asked.interpolated(np.empty(0, np.float32)).shape == (0,)
