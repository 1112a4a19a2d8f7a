"""From where on a table is doubted: just before each limit nothing is said, and just beyond it something is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mdss.method.point_cloud import scene_extent
from mdss.method.recipe import PointCloudSettings
from mdss.method.table import find_table
from tests.scenes import DEFAULT, BlockScan, part_of
from trainer.table_doubts import is_before_camera, is_field_of_view, part_behind_sentence, table_doubt

Float = NDArray[np.float32]


def behind(cloud: Float) -> str:
    """Return what is said of a cloud whose part lies behind its table."""
    plane = find_table(cloud, DEFAULT)
    assert plane is not None
    return part_behind_sentence(plane, cloud, DEFAULT)


@pytest.mark.parametrize(("share", "is_said"), [(0.4, False), (0.6, True)])
def test_a_part_is_said_to_lie_behind_its_table_where_more_than_half_of_it_does(share: float, is_said: bool) -> None:
    cloud = BlockScan(block_mm=0.0).cloud()
    cloud[60:140, 60:140, 2] -= 20
    cloud[60 : 60 + round(80 * share), 60:140, 2] += 40
    assert bool(behind(cloud)) == is_said


def test_the_roughness_of_a_table_is_no_part_behind_it() -> None:
    cloud = BlockScan(noise_mm=0.0).cloud()
    random = np.random.default_rng(0)
    cloud[..., 2] += np.where(random.random(cloud.shape[:2]) < 0.7, 0.09, -0.21)
    assert behind(cloud) == ""


@pytest.mark.parametrize(("share", "is_before"), [(0.2, False), (0.3, True)])
def test_a_camera_sees_a_scene_from_a_quarter_of_its_extent_or_from_farther_away(share: float, is_before: bool) -> None:
    points = BlockScan(block_mm=0.0, noise_mm=0.0).cloud().reshape(-1, 3).astype(np.float64)
    points[:, 2] = share * scene_extent(points)
    assert is_before_camera(points, np.array([0.0, 0.0, 1.0])) == is_before
    assert not is_before_camera(points[:0], np.array([0.0, 0.0, 1.0]))


@pytest.mark.parametrize(("share", "is_field"), [(0.4, False), (0.6, True)])
def test_a_window_is_a_field_of_view_where_its_border_has_half_as_many_points_as_all_of_it_or_more(share: float, is_field: bool) -> None:
    window = BlockScan().cloud()
    strip = np.ones(window.shape[:2], np.bool_)
    strip[DEFAULT.border_px : -DEFAULT.border_px, DEFAULT.border_px : -DEFAULT.border_px] = False
    inside = window.copy()
    inside[~strip & (np.indices(strip.shape).sum(axis=0) % 2 > 0)] = np.nan  # half of what is inside
    for cloud, of_all in ((window, 1.0), (inside, 0.5)):
        cloud[strip & (np.random.default_rng(0).random(strip.shape) > share * of_all)] = np.nan
        assert is_field_of_view(cloud, DEFAULT) == is_field


def test_a_margin_of_up_to_four_times_the_strip_is_named_with_the_strip_that_reaches_over_it() -> None:
    cloud = BlockScan(400, 400).cloud()
    cloud[:30] = cloud[-30:] = cloud[:, :30] = cloud[:, -30:] = np.nan
    doubt = table_doubt(find_table(cloud, DEFAULT), cloud, DEFAULT)
    assert doubt is not None and "set point_cloud.border_px=40, or crop the scans" in doubt.sentence
    assert part_of(cloud, PointCloudSettings(border_px=40)).has_table
