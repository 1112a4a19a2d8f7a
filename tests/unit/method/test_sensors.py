"""Sensors and their habits: how they mark what they did not measure, and rows and columns that they leave out."""

from __future__ import annotations

import numpy as np
import pytest

from mdss.errors import BadPart
from mdss.method.recipe import PointCloudSettings
from mdss.method.table import find_table
from tests.scenes import DEFAULT, BlockScan, foreground, part_of


@pytest.mark.parametrize("size", [(400, 300), (100, 100)])
@pytest.mark.parametrize("mark", [-2e7, 1e8, np.finfo(np.float32).max])
def test_a_mark_farther_away_than_any_camera_sees_is_one_of_points_that_were_not_measured(mark: float, size: tuple[int, int]) -> None:
    scene = BlockScan(*size)
    cloud, missing = scene.cloud(), np.random.default_rng(0).random(size) < 0.3
    cloud[missing] = np.nan
    expected = part_of(cloud)
    cloud[missing] = mark
    part = part_of(cloud)
    np.testing.assert_array_equal(part.xyz, expected.xyz)
    np.testing.assert_array_equal(part.mask, expected.mask)
    assert part.invalid_point_ratio == expected.invalid_point_ratio


def test_of_several_points_that_pixels_share_the_one_that_most_hold_is_the_mark() -> None:
    cloud = BlockScan().cloud()
    cloud[3, 10:14], cloud[20:50, 30:60], cloud[60, 10:14] = cloud[3, 10], (0, 0, -1), cloud[60, 10]
    with pytest.raises(BadPart, match=r"^900 pixels hold the same point \(0, 0, -1\)"):
        part_of(cloud)


@pytest.mark.parametrize(("size", "is_enlarged"), [((100, 100), True), ((400, 400), False)])
def test_the_points_of_a_smaller_cloud_are_repeated_or_others_put_between_them_as_the_recipe_says(
    size: tuple[int, int], is_enlarged: bool
) -> None:
    cloud = BlockScan(*size).cloud()
    repeating, between = (part_of(cloud, PointCloudSettings(enlarged_by=by)) for by in ("repeating", "interpolating"))
    given, found = ({tuple(each) for each in part.xyz[foreground(part)]} for part in (repeating, between))
    assert given <= {tuple(each) for each in cloud.reshape(-1, 3)}
    assert (
        np.count_nonzero(foreground(repeating)) > len(given) if is_enlarged else np.array_equal(repeating.xyz, between.xyz, equal_nan=True)
    )
    assert len(found) == np.count_nonzero(foreground(between))


@pytest.mark.parametrize("lost", [np.s_[1::2, 1::2], np.s_[::2, ::2], np.s_[::2], np.s_[:, 1::2], np.s_[2::4], np.s_[1::3]])
@pytest.mark.parametrize("size", [(512, 512), (512, 400), (768, 768), (768, 1024)])
def test_a_sensor_that_leaves_out_rows_or_columns_shows_the_part_whatever_the_grid_samples(
    size: tuple[int, int], lost: tuple[slice, ...]
) -> None:
    scene = BlockScan(*size)
    cloud = scene.cloud()
    cloud[lost] = np.nan
    part = part_of(cloud)
    found, shown = foreground(part), part.grid.sample(scene.block(), fill=False)
    measured = part.grid.sample(np.isfinite(cloud[..., 0]), fill=False)
    assert np.count_nonzero(found) > 0.45 * np.count_nonzero(shown)
    assert not measured[shown].any() or np.array_equal(found, shown & measured)


@pytest.mark.parametrize("lost", [np.s_[::2], np.s_[:, ::2], np.s_[::4], np.s_[:, ::8]])
@pytest.mark.parametrize("tilt_deg", [0, 20])
def test_a_sensor_that_leaves_out_rows_or_columns_shows_the_table_beside_a_part_over_most_of_the_border(
    tilt_deg: float, lost: tuple[slice, ...]
) -> None:
    cloud = BlockScan(tilt_deg=tilt_deg).cloud()
    table = cloud[:40].copy()
    cloud[80:, :, 2] -= 18
    cloud[lost] = np.nan
    plane = find_table(cloud, DEFAULT)
    assert plane is not None
    assert plane.distance(table).max() < 0.5
