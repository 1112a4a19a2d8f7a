"""Damaged copies: other shapes and missing points in places, and the rest as it was."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plates import plate
from trainer.damage import Spot, damaged_copy


def test_a_copy_differs_in_places_and_the_part_itself_is_left_alone() -> None:
    cloud = plate()
    before = cloud.copy()
    copies = [damaged_copy(cloud, np.random.default_rng(seed)) for seed in range(12)]
    assert np.array_equal(cloud, before, equal_nan=True)
    measured = np.isfinite(cloud).all(axis=2)
    lost = [np.count_nonzero(measured & ~np.isfinite(copy).all(axis=2)) for copy in copies]
    moved = [np.count_nonzero(np.nan_to_num(np.abs(copy - cloud)).max(axis=2) > 0.1) for copy in copies]
    assert max(lost) > 0 and max(moved) > 0
    assert all(0 < a + b < 0.7 * measured.sum() for a, b in zip(lost, moved, strict=True))
    assert not any(np.isfinite(copy[~measured]).any() for copy in copies)


def test_places_are_pushed_in_as_well_as_pulled_out() -> None:
    heights = [np.nan_to_num(damaged_copy(plate(0.0), np.random.default_rng(seed)) - plate(0.0))[..., 2] for seed in range(12)]
    assert min(each.min() for each in heights) < -1 and max(each.max() for each in heights) > 1


def test_of_the_smallest_part_something_is_left() -> None:
    cloud = plate()
    cloud[:28], cloud[37:], cloud[:, :28], cloud[:, 37:] = np.nan, np.nan, np.nan, np.nan  # 81 points
    left = [np.isfinite(damaged_copy(cloud, np.random.default_rng(seed))).all(axis=2).sum() for seed in range(200)]
    assert 81 * 0.3 < min(left) < 81


def test_the_same_seed_gives_the_same_damage() -> None:
    first, second = (damaged_copy(plate(), np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, second, equal_nan=True)


@pytest.mark.parametrize(("row", "column", "expected"), [(20, 30, 0.0), (20, 36, 1.0), (23, 30, 1.0), (20, 42, 2.0)])
def test_a_spot_reaches_its_length_along_and_its_width_across(row: int, column: int, expected: float) -> None:
    assert Spot(20, 30, 0.0, 6, 3).reach(64)[row, column] == pytest.approx(expected)
