"""The model's square grid over frames of any shape: nothing stretched, and every pixel maps back."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdss.method.grid import Grid, is_measured

SIDES = st.integers(64, 2000)
SIZES = st.sampled_from([64, 128, 256, 320])


@settings(max_examples=60)
@given(SIDES, SIDES, SIZES)
def test_pixels_of_the_grid_map_back_to_the_frame_exactly(height: int, width: int, size: int) -> None:
    grid = Grid(height, width, size)
    index = np.arange(height * width, dtype=np.int64).reshape(height, width)
    sampled = grid.sample(index, fill=-1)
    rows, columns = np.indices((size, size))
    for row, column in ((0, 0), (size // 2, size // 2), (size - 1, size // 3), (size // 3, size - 1)):
        assert grid.pixel(row, column) == (tuple(divmod(int(sampled[row, column]), width)) if sampled[row, column] >= 0 else (-1, -1))
    on_frame = sampled >= 0
    np.testing.assert_array_equal(sampled[on_frame] // width, grid.rows[rows[on_frame]])
    np.testing.assert_array_equal(sampled[on_frame] % width, grid.columns[columns[on_frame]])


@settings(max_examples=60)
@given(SIDES, SIDES, SIZES)
def test_the_grid_shows_the_whole_frame_without_stretching_it(height: int, width: int, size: int) -> None:
    grid = Grid(height, width, size)
    for found, length in ((grid.rows, height), (grid.columns, width)):
        shown = found[found >= 0]
        step = grid.side / size
        assert shown[0] < step and shown[-1] >= length - 1 - step
        assert np.ptp(shown - step * np.arange(len(shown))) < 1 + 1e-9
        assert abs(np.count_nonzero(found[: size // 2] < 0) - np.count_nonzero(found[size // 2 :] < 0)) <= 1 + 1 / step
        if step <= 1:
            assert set(shown) == set(range(length))


@settings(max_examples=30)
@given(SIDES, SIDES, st.integers(40, 215), st.integers(40, 215))
def test_a_peak_on_the_grid_lies_at_its_pixel_of_the_frame(height: int, width: int, row: int, column: int) -> None:
    grid = Grid(height, width)
    expected = grid.pixel(row, column)
    found = np.zeros((256, 256), np.float32)
    found[row - 1 : row + 2, column - 1 : column + 2] = 0.5
    found[row, column] = 1
    original = grid.to_original(found)
    assert original.shape == (height, width)
    if expected != (-1, -1):
        peak = np.unravel_index(int(original.argmax()), original.shape)
        assert np.abs(np.subtract(peak, expected)).max() <= grid.side / 256 / 2 + 1


@pytest.mark.parametrize("size", [(400, 400), (300, 500), (64, 100), (1000, 700)])
def test_image_and_cloud_show_the_same_place_on_the_grid(size: tuple[int, int]) -> None:
    grid = Grid(*size)
    row, column = size[0] // 3, size[1] // 4
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[row : row + 12, column : column + 12] = 255
    bright = grid.image(rgb)[..., 0] > 127
    sampled = np.asarray(grid.sample(rgb[..., 0], fill=0)) > 127
    assert np.abs(np.argwhere(bright).mean(axis=0) - np.argwhere(sampled).mean(axis=0)).max() < 0.75


@pytest.mark.parametrize("size_px", [256, 100])
@pytest.mark.parametrize(
    "size",
    [
        (1200, 1600),
        (800, 600),
        (480, 640),
        (600, 801),
        (1080, 1920),
        (1024, 1280),
        (400, 400),
        (301, 299),
        (511, 512),
        (1017, 1024),
        (1015, 1024),
    ],
)
def test_the_image_is_averaged_as_one_whose_letterbox_repeats_its_rim(size: tuple[int, int], size_px: int) -> None:
    grid = Grid(*size, size_px)
    rgb = np.random.default_rng(4).integers(0, 256, (*size, 3)).astype(np.uint8)
    sides = [(before, grid.side - length - before) for before, length in zip((grid.top, grid.left), size, strict=True)]
    square = np.pad(rgb, [*sides, (0, 0)], "edge")
    np.testing.assert_array_equal(grid.image(rgb), cv2.resize(square, (size_px, size_px), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("size", [(64, 64), (64, 100), (200, 130)])
def test_a_smaller_image_is_enlarged_without_steps(size: tuple[int, int]) -> None:
    grid, rgb = Grid(*size), np.random.default_rng(4).integers(0, 256, (*size, 3)).astype(np.uint8)
    sides = [(before, grid.side - length - before) for before, length in zip((grid.top, grid.left), size, strict=True)]
    expected = cv2.resize(np.pad(rgb, [*sides, (0, 0)], "edge"), (256, 256), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(grid.image(rgb), expected)


@pytest.mark.parametrize("size", [(64, 64), (480, 640), (640, 480), (63, 64), (200, 300)])
def test_at_the_edge_lie_the_outermost_rows_and_columns_of_the_frame_and_nothing_beyond_them(size: tuple[int, int]) -> None:
    grid = Grid(*size, 64)
    rows, columns = (np.flatnonzero(index >= 0) for index in (grid.rows, grid.columns))
    edge = np.zeros((64, 64), np.bool_)
    edge[np.ix_(rows, columns)] = True
    edge[rows[1] : rows[-1], columns[1] : columns[-1]] = False
    assert grid.at_edge(edge) == np.count_nonzero(edge) == 2 * (len(rows) + len(columns)) - 4
    assert grid.at_edge(~edge) == 0
    for row, column in ((rows[0], columns[3]), (rows[-1], columns[-1]), (rows[5], columns[0]), (rows[5], columns[-1])):
        one = np.zeros((64, 64), np.bool_)
        one[row, column] = True
        assert grid.at_edge(one) == 1


@pytest.mark.parametrize("size", [(100, 80), (256, 256), (300, 400), (1200, 1600)])
def test_steps_lead_from_the_first_row_that_is_sampled_to_the_last(size: tuple[int, int]) -> None:
    grid = Grid(*size)
    for index in (grid.rows, grid.columns):
        shown = index >= 0
        steps = grid.steps(index)
        assert steps.shape == (255,)
        assert steps[shown[1:] & shown[:-1]].sum() == pytest.approx(np.ptp(index[shown]), abs=1 if grid.side < 256 else 0)


class Recorded:
    """A cloud that counts the points that are read."""

    def __init__(self, points: NDArray[np.float32]) -> None:
        self.points, self.shape, self.read = points, points.shape, 0

    def __getitem__(self, where: Any, /) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.points[where]
        self.read += found.size // 3
        return found


def only(kept: NDArray[np.bool_]) -> Recorded:
    """Return a cloud in which only some pixels were measured."""
    return Recorded(np.where(kept[..., None], slope(*kept.shape), np.float32(np.nan)))


@pytest.mark.parametrize(("up", "left"), [(0, 1), (1, 0), (1, 1)])
def test_where_a_sensor_measures_just_what_the_grid_leaves_out_the_pixels_up_or_left_are_taken(up: int, left: int) -> None:
    rows, columns = np.indices((512, 384))
    grid = Grid(512, 384, 128)  # samples row and column 2 of every 4
    kept = (rows % 4 == 2 - up) & (columns % 4 == 2 - left)
    kept |= (rows % 4 == 2) & (columns % 4 == 2) & (np.random.default_rng(0).random(kept.shape) < 0.02)  # and a few that it does not
    found = grid.points(only(kept))
    np.testing.assert_array_equal(found[:, 16:112], slope(512, 384)[2 - up :: 4, 2 - left :: 4])
    assert np.isnan(found[:, :16]).all() and np.isnan(found[:, 112:]).all()


def test_up_of_the_first_row_and_left_of_the_first_column_there_is_nothing() -> None:
    for height, width in ((510, 512), (512, 510)):
        kept = np.indices((height, width))[0 if height < width else 1] % 2 == 1  # the grid samples 0, 2, 4 ...
        found = grid_rows(Grid(height, width, 256).points(only(kept)), height < width)
        assert np.isnan(found[0]).all() and np.isfinite(found[1]).all() and found[1, 5, 1] == 0.5


def grid_rows(points: NDArray[np.float32], as_they_are: bool) -> NDArray[np.float32]:
    """Return a grid's points, or those with rows and columns (and x and y) exchanged."""
    return points if as_they_are else points.transpose(1, 0, 2)[..., [1, 0, 2]]


@pytest.mark.parametrize(
    ("size", "share", "times_read"),
    [
        ((512, 512), 1.0, 1),
        ((512, 512), 0.06, 1),
        ((512, 512), 0.04, 4),
        ((600, 600), 0.01, 1),
        ((256, 256), 0.01, 1),
        ((128, 128), 0.01, 1),
    ],
)
def test_no_other_points_are_read_unless_next_to_nothing_was_measured_and_none_taken_unless_more_was(
    size: tuple[int, int], share: float, times_read: int
) -> None:
    cloud, grid = only(np.random.default_rng(0).random(size) < share), Grid(*size)
    np.testing.assert_array_equal(grid.points(cloud), cloud.points[np.ix_(grid.rows, grid.columns)])
    assert cloud.read == times_read * 256**2


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 80), (128, 200)])
def test_on_a_finer_grid_a_plane_stays_one_and_its_points_lie_evenly(height: int, width: int) -> None:
    frame, grid = slope(height, width), Grid(height, width, 256)
    found = grid.interpolated_points(frame)
    measured = np.asarray(np.isfinite(found).all(axis=2))
    np.testing.assert_array_equal(measured, (grid.rows >= 0)[:, None] & (grid.columns >= 0))
    x, y, z = found[measured].T
    np.testing.assert_allclose(z, 400 + 0.3 * x - 0.2 * y, atol=1e-3)
    row = found[128, grid.columns >= 0]
    across = np.diff(row, axis=0)[8:-8, 0]  # of the rim's pixels some lie farther out than the frame's last points
    np.testing.assert_allclose(across, 0.5 * max(height, width) / 256, atol=1e-3)


def test_on_a_finer_grid_a_missing_point_stays_missing_and_moves_none_beside_it() -> None:
    frame, grid = slope(64, 64), Grid(64, 64, 256)
    frame[20, 30], frame[40, 41] = np.nan, (3e7, 0, 0)
    found = grid.interpolated_points(frame)
    lost = ~np.isfinite(found).all(axis=2)
    np.testing.assert_array_equal(np.argwhere(lost).min(axis=0), (80, 120))
    np.testing.assert_array_equal(np.unique(np.argwhere(lost) // 4, axis=0), [(20, 30), (40, 41)])
    x, y, z = found[~lost].T
    np.testing.assert_allclose(z, 400 + 0.3 * x - 0.2 * y, atol=1e-3)


def test_a_point_counts_as_measured_up_to_ten_kilometres() -> None:
    assert is_measured(np.array([[0, 0, 9.99e6], [0, -1e7, 0], [0, 0, np.nan]], np.float32)).tolist() == [True, False, False]


def slope(height: int, width: int) -> NDArray[np.float32]:
    """Return a tilted plane in mm, half a millimetre from pixel to pixel."""
    y, x = np.mgrid[:height, :width].astype(np.float32) * np.float32(0.5)
    return np.stack([x, y, 400 + np.float32(0.3) * x - np.float32(0.2) * y], axis=2)
