"""What is computed block by block, or stops at the first answer, says the same as the plain formula."""

from __future__ import annotations

import numpy as np
import pytest

from mdss.method.grid import Grid, all_three
from mdss.method.point_cloud import holds_two_points
from mdss.method.table import support


def test_points_near_a_plane_count_by_how_near_they_are_whatever_is_computed_at_once() -> None:
    random = np.random.default_rng(1)
    points, normals, offsets = random.normal(0, 3, (500, 3)), random.normal(0, 1, (37, 3)), random.normal(0, 1, 37)
    distances = np.abs(normals @ points.T + offsets[:, None])
    assert np.allclose(support(normals, offsets, points, 2.0), np.clip(2.0 - distances, 0, None).sum(axis=1), rtol=1e-12)


def test_two_points_that_differ_are_found_however_late_the_second_comes() -> None:
    cloud = np.full((100, 90, 3), np.nan, np.float32)
    assert not holds_two_points(cloud)
    cloud[40:, 10:] = 7.0
    assert not holds_two_points(cloud)
    early = cloud.copy()
    early[0, 3] = 8.0
    assert holds_two_points(early)
    cloud[99, 89, 2] = 8.0
    assert holds_two_points(cloud)


def test_all_three_is_what_all_is_over_three() -> None:
    flags = np.random.default_rng(2).random((11, 13, 3)) < 0.7
    assert np.array_equal(all_three(flags), flags.all(axis=2))
    assert all_three(np.empty((0, 3), np.bool_)).shape == (0,)


@pytest.mark.parametrize(("height", "width"), [(100, 64), (64, 90), (301, 299)])
def test_a_sample_is_the_frame_at_the_grids_rows_and_columns(height: int, width: int) -> None:
    grid, frame = Grid(height, width, 64), np.random.default_rng(3).random((height, width, 3)).astype(np.float32)
    sampled = grid.sample(frame, np.nan)
    for row, column in ((0, 0), (10, 50), (32, 32), (63, 1)):
        where = grid.pixel(row, column)
        assert np.array_equal(sampled[row, column], frame[where] if where[0] >= 0 else np.full(3, np.nan), equal_nan=True)
