"""The table that a part lies on: which plane it is, and what is left once it is removed."""

from __future__ import annotations

import numpy as np
import pytest

from mdss.method.grid import is_measured
from mdss.method.point_cloud import remove_table
from mdss.method.recipe import PointCloudSettings
from mdss.method.table import Plane, find_table, removal_mm
from tests.scenes import DEFAULT, BlockScan, foreground, part_of


@pytest.mark.parametrize("tilt_deg", [0, 3, 6, 15, 30])
@pytest.mark.parametrize("size", [(200, 200), (400, 400), (120, 300), (640, 480), (64, 64), (64, 400), (2000, 1500)])
def test_the_part_and_nothing_of_a_tilted_table_is_found(size: tuple[int, int], tilt_deg: float) -> None:
    scene = BlockScan(*size, tilt_deg=tilt_deg)
    part = part_of(scene.cloud())
    expected = part.grid.sample(scene.block(), fill=False)
    assert part.has_table
    np.testing.assert_array_equal(foreground(part), expected)


@pytest.mark.parametrize("noise_mm", [0.02, 0.3, 0.5])
def test_a_thin_part_is_found_on_a_noisy_tilted_table(noise_mm: float) -> None:
    scene = BlockScan(tilt_deg=6, block_mm=4.6, noise_mm=noise_mm)
    part = part_of(scene.cloud())
    expected = part.grid.sample(scene.block(), fill=False)
    assert np.mean(foreground(part)[expected]) > 0.99
    assert not foreground(part)[~expected].any()


@pytest.mark.parametrize(("block_mm", "block_px"), [(3, 30), (8, 60), (40, 60)])
def test_the_table_found_is_the_table_though_a_part_lies_across_the_border(block_mm: float, block_px: int) -> None:
    cloud = BlockScan(tilt_deg=5).cloud()
    cloud[:, :block_px, 2] -= block_mm
    plane = find_table(cloud, DEFAULT)
    assert plane is not None
    assert np.abs(plane.distance(cloud[20:60, 100:180])).max() < 0.5
    assert plane.deviation_mm == pytest.approx(0.05, rel=0.3)


@pytest.mark.parametrize("quarter_turns", range(4))
@pytest.mark.parametrize("tilt_deg", [0, 5, 20])
def test_the_table_is_what_lies_behind_though_a_flat_part_covers_more_of_the_border(tilt_deg: float, quarter_turns: int) -> None:
    cloud = BlockScan(tilt_deg=tilt_deg).cloud()
    table = cloud[:40].copy()
    cloud[80:, :, 2] -= 18
    plane = find_table(np.ascontiguousarray(np.rot90(cloud, quarter_turns)), DEFAULT)
    assert plane is not None
    assert plane.distance(table).max() < 0.5


@pytest.mark.parametrize("quarter_turns", range(4))
@pytest.mark.parametrize("rough_mm", [0.05, 0.3, 0.6])
def test_a_table_at_one_side_alone_is_none_and_no_plane_from_it_to_the_part(rough_mm: float, quarter_turns: int) -> None:
    cloud = BlockScan().cloud()
    cloud[24:, :, 2] -= 18 + np.random.default_rng(5).normal(0, rough_mm, cloud[24:, :, 2].shape).astype(np.float32)
    assert find_table(np.ascontiguousarray(np.rot90(cloud, quarter_turns)), DEFAULT) is None


@pytest.mark.parametrize("quarter_turns", range(4))
@pytest.mark.parametrize(("part_mm", "part_px"), [*((part_mm, part_px) for part_mm in (5, 7, 10) for part_px in (85, 100, 110)), (10, 142)])
def test_the_table_is_found_beside_a_low_part_over_a_whole_side_of_the_border(part_mm: float, part_px: int, quarter_turns: int) -> None:
    cloud = BlockScan(tilt_deg=5, block_mm=0).cloud()
    table = cloud[part_px:].copy()
    cloud[:part_px, :, 2] -= part_mm
    plane = find_table(np.ascontiguousarray(np.rot90(cloud, quarter_turns)), DEFAULT)
    assert plane is not None
    assert plane.distance(table).max() < 0.5


@pytest.mark.parametrize("bow_mm", [-4, -3, -2, 2, 3, 4])
def test_a_table_that_is_bowed_is_the_table(bow_mm: float) -> None:
    scene = BlockScan(block_mm=20)
    cloud = scene.cloud()
    cloud[..., 2] += bow_mm * (cloud[..., 0] / 60) ** 2
    part = part_of(cloud)
    np.testing.assert_array_equal(foreground(part), part.grid.sample(scene.block(), fill=False))


@pytest.mark.parametrize("mirrored", [(-1, 1, 1), (1, 1, -1), (-1, 1, -1)])
def test_the_table_is_found_beside_a_part_across_the_border_in_coordinates_that_are_no_cameras(mirrored: tuple[int, int, int]) -> None:
    cloud = BlockScan(tilt_deg=5).cloud()
    table = cloud[20:60, 100:180].copy()
    cloud[:, :60, 2] -= 40
    signs = np.array(mirrored, np.float32)
    plane = find_table(cloud * signs, DEFAULT)
    assert plane is not None
    assert plane.distance(table * signs).max() < 0.5


def test_of_a_table_measured_in_steps_of_depth_those_a_step_away_are_its_own_though_most_share_one_depth() -> None:
    cloud = BlockScan(noise_mm=0).cloud()
    cloud[np.random.default_rng(0).random(cloud.shape[:2]) < 0.4, 2] += 0.4
    plane = find_table(cloud, DEFAULT)
    assert plane is not None
    assert plane.deviation_mm == pytest.approx(1.4826 * 0.16, rel=0.1)


def test_stray_points_do_not_move_the_table() -> None:
    cloud = BlockScan(tilt_deg=4).cloud()
    random = np.random.default_rng(0)
    stray = random.random(cloud.shape[:2]) < 0.2
    before = find_table(cloud, DEFAULT)
    cloud[stray, 2] += random.uniform(-200, 200, np.count_nonzero(stray)).astype(np.float32)
    after = find_table(cloud, DEFAULT)
    assert before is not None and after is not None
    assert abs(abs(before.normal @ after.normal) - 1) < 1e-5


@pytest.mark.parametrize("noise_mm", [1.0, 1.5, 2.5])
def test_a_table_so_rough_that_many_of_its_points_lie_behind_any_plane_is_found(noise_mm: float) -> None:
    plane, table = (
        find_table(BlockScan(tilt_deg=6, noise_mm=noise_mm).cloud(), DEFAULT),
        BlockScan(tilt_deg=6, block_mm=0, noise_mm=0).cloud(),
    )
    assert plane is not None
    assert plane.distance(table).max() < 0.5


def test_a_few_stray_points_behind_the_table_do_not_make_it_a_face_of_the_part_that_lies_across_the_border() -> None:
    cloud, random = BlockScan(tilt_deg=5).cloud(), np.random.default_rng(0)
    table = cloud[20:60, 100:180].copy()
    cloud[:, :60, 2] -= 40
    stray = random.random(cloud.shape[:2]) < 0.03
    cloud[stray, 2] += random.uniform(10, 100, np.count_nonzero(stray)).astype(np.float32)
    plane = find_table(cloud, DEFAULT)
    assert plane is not None
    assert plane.distance(table).max() < 0.5


def test_without_a_table_every_point_is_of_the_part() -> None:
    scene = BlockScan(has_table=False)
    part = part_of(scene.cloud())
    assert not part.has_table
    np.testing.assert_array_equal(foreground(part), part.grid.sample(scene.block(), fill=False))


@pytest.mark.parametrize("size", [(301, 299), (400, 400), (480, 640), (1200, 1600)])
def test_a_sensor_that_measures_every_second_pixel_shows_the_table_too(size: tuple[int, int]) -> None:
    cloud = np.full((*size, 3), np.nan, np.float32)
    cloud[1::2, 1::2] = BlockScan(*size, tilt_deg=5).cloud()[1::2, 1::2]
    plane = find_table(cloud, DEFAULT)
    assert plane is not None
    assert plane.deviation_mm == pytest.approx(0.05, rel=0.3)


@pytest.mark.parametrize("rough_mm", [60, 6])  # of the smaller one most lies near a plane, as much far from it as close to it
def test_a_border_that_is_no_plane_is_no_table(rough_mm: float) -> None:
    cloud = BlockScan().cloud()
    cloud[..., 2] += np.random.default_rng(0).uniform(-rough_mm, rough_mm, cloud.shape[:2]).astype(np.float32)
    assert find_table(cloud, DEFAULT) is None


def test_the_table_stays_where_the_recipe_says_that_there_is_none() -> None:
    cloud = BlockScan().cloud()
    part = part_of(cloud, PointCloudSettings(table="none"))
    assert not part.has_table
    assert foreground(part).all()


def test_where_next_to_nothing_of_the_border_was_measured_there_is_no_table() -> None:
    cloud = BlockScan().cloud()
    cloud[np.random.default_rng(0).random((200, 200)) >= 0.05] = np.nan
    assert find_table(cloud, DEFAULT) is None


@pytest.mark.parametrize(("deviation_mm", "expected"), [(0.01, 1), (0.5, 3), (2, 5)])
def test_points_nearer_to_the_table_than_six_of_its_deviations_go_within_limits(deviation_mm: float, expected: float) -> None:
    assert removal_mm(Plane(np.array([0.0, 0.0, 1.0]), -500.0, deviation_mm), DEFAULT) == pytest.approx(expected)


def test_a_removal_distance_in_the_recipe_is_kept_to() -> None:
    cloud = BlockScan(noise_mm=0).cloud()
    plane = find_table(cloud, DEFAULT)
    assert remove_table(cloud, is_measured(cloud), plane, PointCloudSettings(plane_removal_mm=7.9)).sum() == BlockScan().block().sum()
    assert remove_table(cloud, is_measured(cloud), plane, PointCloudSettings(plane_removal_mm=8.1)).sum() == 0
