"""From a scan to the part on it: mask, grid, and each scan that is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from mdss.errors import BadPart
from mdss.method.point_cloud import Float, check_scan, drop_specks, prepare, scene_extent
from mdss.method.recipe import PointCloudSettings
from tests.scenes import DEFAULT, BlockScan, foreground, grey, part_of

FILLED = PointCloudSettings(enclosed_gaps="part")


def refusal(rgb: NDArray[np.generic], cloud: Float, settings: PointCloudSettings = DEFAULT) -> str:
    """Return the sentence with which a scan is refused."""
    with pytest.raises(BadPart) as refused:
        prepare(rgb, cloud, settings)  # type: ignore[arg-type]
    assert refused.value.code == "BAD_CLOUD"
    return str(refused.value)


def test_the_same_scan_gives_the_same_part() -> None:
    cloud = BlockScan(tilt_deg=7, noise_mm=0.4).cloud()
    np.testing.assert_array_equal(part_of(cloud).xyz, part_of(cloud).xyz)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_a_point_that_is_not_finite_is_not_of_the_part_and_is_counted(missing: float) -> None:
    scene = BlockScan(256, 256)
    cloud = scene.cloud()
    cloud[120:124, 120:130, 1] = missing
    part = part_of(cloud)
    assert not foreground(part)[120:124, 120:130].any()
    assert part.mask[120:124, 120:130].all()
    assert part.invalid_point_ratio == pytest.approx(40 / scene.block().sum())


def test_the_table_seen_through_a_hole_is_not_missing() -> None:
    scene = BlockScan(256, 256)
    cloud = scene.cloud()
    cloud[120:124, 120:124, 2] += 8
    part = part_of(cloud)
    assert not foreground(part)[120:124, 120:124].any()
    assert part.invalid_point_ratio == 0


def test_a_region_that_the_sensor_lost_is_the_part_and_an_opening_with_the_table_in_it_is_not() -> None:
    scene = BlockScan(256, 256)
    cloud = scene.cloud()
    cloud[100:140, 100:118] = cloud[122:140, 118:155] = np.nan  # around two sides of the opening, and ten times as large
    cloud[102:114, 130:142, 2] += 8
    part = part_of(cloud, FILLED)
    assert part.mask[100:140, 100:118].all() and part.mask[122:140, 118:155].all()
    assert not part.mask[106:110, 134:138].any()
    assert part.invalid_point_ratio == pytest.approx(np.isnan(cloud[..., 2]).sum() / (scene.block().sum() - 144))


def test_a_region_that_the_sensor_lost_but_for_specks_is_the_part_and_its_specks_are_measured_points() -> None:
    scene, lost = BlockScan(256, 256), np.s_[100:130, 100:130]
    cloud = scene.cloud()
    cloud[lost][np.random.default_rng(0).random((30, 30)) >= 0.2] = np.nan
    part = part_of(cloud, FILLED)
    assert part.mask[lost].all()
    assert not foreground(part)[106:124, 106:124].any()
    assert part.invalid_point_ratio == pytest.approx(np.isnan(cloud[..., 2]).sum() / scene.block().sum())


@pytest.mark.parametrize("has_table", [True, False])
def test_a_region_that_the_sensor_lost_is_the_part_in_an_image_that_is_not_square_too(has_table: bool) -> None:
    scene = BlockScan(64, 256) if has_table else BlockScan(64, 256, block_mm=0)
    cloud = scene.cloud()
    cloud[24:40, 118:138] = np.nan
    part = part_of(cloud, PointCloudSettings(enclosed_gaps="part", table="auto" if has_table else "none"))
    assert part.mask[120:136, 118:138].all()
    assert part.invalid_point_ratio == pytest.approx(16 * 20 / (scene.block().sum() if has_table else 64 * 256))


@pytest.mark.parametrize(("through", "around", "is_part"), [(0.05, 0.35, True), (0.15, 0.35, False), (0.05, 0.2, False)])
def test_a_gap_is_the_part_where_the_table_is_seen_around_it_and_next_to_nothing_of_it_through_it(
    through: float, around: float, is_part: bool
) -> None:
    scene = BlockScan(256, 256)
    cloud, seen = scene.cloud(), np.where(scene.block(), 1, around)
    cloud[110:140, 110:140, 2] += 8
    seen[110:140, 110:140] = through
    cloud[np.random.default_rng(0).random((256, 256)) >= seen] = np.nan
    assert part_of(cloud, FILLED).mask[115:135, 115:135].all() == is_part


@pytest.mark.parametrize(("has_table", "settings"), [(False, FILLED), (True, DEFAULT)])
def test_a_gap_is_background_where_all_of_that_was_taken_away_and_in_models_made_before_there_was_a_choice(
    has_table: bool, settings: PointCloudSettings
) -> None:
    cloud = BlockScan(256, 256, has_table=has_table).cloud()
    cloud[100:120, 100:130] = np.nan
    part = part_of(cloud, settings)
    assert not part.mask[108:112, 108:122].any()
    assert part.invalid_point_ratio == 0


def test_the_mask_is_the_foreground_dilated_with_a_square() -> None:
    for by_px in (1, 5, 8):
        part = part_of(BlockScan(256, 256, has_table=False).cloud(), PointCloudSettings(dilation_px=by_px))
        expected = binary_dilation(foreground(part), np.ones((by_px, by_px), np.bool_), origin=by_px % 2 - 1)
        np.testing.assert_array_equal(part.mask, expected)
        assert part.invalid_point_ratio == 0  # what the dilation adds is not missing


def test_specks_go_and_small_bodies_stay() -> None:
    found = np.zeros((100, 100), np.bool_)
    found[10:50, 10:50] = True
    found[80:83, 80:83] = True  # 9 px
    found[80:85, 20:25] = True  # 25 px
    found[60, 60] = found[61, 61] = True
    found[range(56, 80), range(66, 90)] = True  # a wire of 24 px that runs slantwise
    kept = drop_specks(found, min_component_px=24)
    found[80:83, 80:83] = found[60:62, 60:62] = False
    np.testing.assert_array_equal(kept, found)


def test_noise_on_the_table_is_no_part_and_a_body_beside_the_part_is() -> None:
    cloud = BlockScan(256, 256).cloud()
    cloud[30:33, 30:33, 2] -= 5
    cloud[220:230, 220:230, 2] -= 5
    part = part_of(cloud)
    assert not foreground(part)[30:33, 30:33].any()
    assert foreground(part)[220:230, 220:230].all()


def test_the_background_turns_black_only_where_the_recipe_asks() -> None:
    cloud = BlockScan().cloud()
    black = part_of(cloud, PointCloudSettings(blacken_background=True))
    assert (part_of(cloud).rgb == 128).all()
    assert (black.rgb[black.mask] == 128).all() and (black.rgb[~black.mask] == 0).all()


def test_nothing_that_came_in_is_changed() -> None:
    cloud = BlockScan(has_table=False).cloud()
    rgb, before = grey(cloud), cloud.copy()
    prepare(rgb, cloud, PointCloudSettings(blacken_background=True))
    assert (rgb == 128).all()
    np.testing.assert_array_equal(cloud, before)


@pytest.mark.parametrize(
    ("scene", "sentence"),
    [
        (
            BlockScan(block_mm=0),
            "no part in view: 0 points at least 1 mm (point_cloud.plane_removal_mm) off the table, expected 64 or more",
        ),
        (
            BlockScan(side_mm=3),
            "no part in view: 36 points at least 1 mm (point_cloud.plane_removal_mm) off the table, expected 64 or more",
        ),
        (BlockScan(63, 200), "scan of 63x200: expected 64 to 2000 on each side"),
        (BlockScan(200, 63), "scan of 200x63: expected 64 to 2000 on each side"),
        (BlockScan(64, 2001), "scan of 64x2001: expected 64 to 2000 on each side"),
        (BlockScan(2001, 64), "scan of 2001x64: expected 64 to 2000 on each side"),
        (BlockScan(side_mm=0, has_table=False), "the cloud is empty: no pixel has a measured point"),
    ],
)
def test_a_scan_without_a_part_is_refused_with_a_sentence(scene: BlockScan, sentence: str) -> None:
    cloud = scene.cloud()
    assert sentence in refusal(grey(cloud), cloud)


def test_a_part_thinner_than_the_removal_distance_is_refused_and_the_distance_is_named() -> None:
    cloud = replace(BlockScan(), block_mm=4.0).cloud()
    assert "0 points at least 5 mm (point_cloud.plane_removal_mm) off the table" in refusal(
        grey(cloud), cloud, PointCloudSettings(plane_removal_mm=5.0)
    )


def test_of_a_part_whose_points_are_too_scattered_the_sentence_says_that_they_are_there() -> None:
    scene = BlockScan(256, 256)
    cloud = scene.cloud()
    kept = np.random.default_rng(0).random((256, 256)) < 0.12
    cloud[~kept] = np.nan
    left = np.count_nonzero(kept & scene.block())
    specks = f", beside {left} in specks of fewer than 24 (point_cloud.min_component_px), expected 64 or more"
    assert refusal(grey(cloud), cloud).endswith(specks)


def test_a_few_points_without_a_table_are_no_part() -> None:
    cloud = BlockScan(side_mm=1.5, has_table=False).cloud()
    assert "no part in view: 0 points in clusters large enough" in refusal(grey(cloud), cloud)


def test_a_part_has_64_points_at_least() -> None:
    cloud = np.full((256, 256, 3), np.nan, np.float32)
    rows, columns = np.mgrid[100:108, 100:108].astype(np.float32)
    cloud[100:108, 100:108] = np.stack([columns, rows, np.full_like(rows, 300)], axis=-1)
    assert foreground(part_of(cloud)).sum() == 64
    cloud[100, 100] = np.nan
    assert refusal(grey(cloud), cloud) == "no part in view: 63 points in clusters large enough, expected 64 or more"


def test_a_constant_cloud_is_refused() -> None:
    cloud = np.full((80, 80, 3), 7, np.float32)
    assert refusal(grey(cloud), cloud) == "the cloud is constant: all 6400 points are the same"


def test_two_points_that_differ_make_a_cloud_however_far_apart_they_lie() -> None:
    cloud = np.full((80, 80, 3), np.nan, np.float32)
    cloud[3, 5] = 7
    assert refusal(grey(cloud), cloud) == "the cloud is constant: all 1 points are the same"
    cloud[70, 9] = 8
    check_scan(grey(cloud), cloud)


@pytest.mark.parametrize(
    ("rgb_shape", "dtype", "cloud_shape"),
    [
        ((80, 80, 3), np.uint8, (80, 90, 3)),
        ((80, 80), np.uint8, (80, 80, 3)),
        ((80, 80, 3), np.uint16, (80, 80, 3)),
        ((80, 80, 1), np.uint8, (80, 80, 1)),
        ((6400,), np.uint8, (6400,)),
    ],
)
def test_arrays_that_are_no_scan_are_refused(rgb_shape: tuple[int, ...], dtype: type, cloud_shape: tuple[int, ...]) -> None:
    sentence = refusal(np.zeros(rgb_shape, dtype), np.ones(cloud_shape, np.float32))
    assert "expected both (H, W, 3), the image uint8" in sentence


@pytest.mark.parametrize("mark", [(0, 0, 0), (0, 0, -1), (-9999, -9999, -9999)])
@pytest.mark.parametrize("size", [(200, 200), (80, 64), (700, 300)])
def test_points_that_only_mark_what_was_not_measured_are_refused_by_name(size: tuple[int, int], mark: tuple[int, int, int]) -> None:
    cloud = BlockScan(*size).cloud()
    cloud[20:50, 30:60] = mark
    sentence = refusal(grey(cloud), cloud)
    assert f"pixels hold the same point ({', '.join(map(str, mark))}); expected that of a pixel that was not measured" in sentence


def test_a_point_that_no_more_than_64_pixels_hold_is_no_mark() -> None:
    cloud = BlockScan(256, 256).cloud()
    cloud[100:108, 100:108] = cloud[100, 100]
    part_of(cloud)
    cloud[108, 100] = cloud[100, 100]
    assert refusal(grey(cloud), cloud).startswith("65 pixels hold the same point")


def test_a_scan_may_have_2000_pixels_on_a_side() -> None:
    cloud = BlockScan(64, 2000).cloud()
    check_scan(grey(cloud), cloud)


def test_a_mark_is_found_where_only_some_of_its_pixels_are_neighbours() -> None:
    cloud = BlockScan(256, 256).cloud()
    cloud[np.random.default_rng(0).random((256, 256)) < 0.02] = 0
    assert f"{np.count_nonzero((cloud == 0).all(axis=2))} pixels hold the same point (0, 0, 0)" in refusal(grey(cloud), cloud)


def test_a_cloud_of_fewer_pixels_than_its_image_may_be_enlarged_by_repeating_points() -> None:
    scene = BlockScan(100, 100)
    cloud = scene.cloud().repeat(4, axis=0).repeat(4, axis=1)
    part = part_of(cloud)
    assert np.mean(foreground(part)) == pytest.approx(np.mean(scene.block()), rel=0.05)


@pytest.mark.parametrize("mark", [np.inf, 3e38, -1e9])
def test_a_mark_that_no_point_can_have_is_a_missing_point_however_many_pixels_hold_it(mark: float) -> None:
    scene = BlockScan(256, 256)
    cloud = scene.cloud()
    cloud[120:124, 110:130] = mark
    part = part_of(cloud)
    assert not foreground(part)[120:124, 110:130].any()
    assert part.invalid_point_ratio == pytest.approx(80 / scene.block().sum())


@pytest.mark.parametrize(("factor", "found"), [(0.001, "0.1177 mm"), (1000, "117700 mm")])
def test_a_cloud_in_another_unit_is_refused(factor: float, found: str) -> None:
    cloud = (BlockScan().cloud() * factor).astype(np.float32)
    assert f"the scene measures {found}, expected 1 mm to 5 m: another unit?" in refusal(grey(cloud), cloud)


def test_the_extent_is_told_from_some_of_the_points_whatever_their_columns_and_from_all_where_most_are_the_same() -> None:
    rows, columns = np.indices((512, 512), np.float32)
    wide = np.stack([2 * columns, rows, 0 * rows], axis=2).reshape(-1, 3)
    assert scene_extent(wide) == pytest.approx(0.98 * 2 * 511, rel=0.01)
    same = np.full((1000, 3), (7.0, 7.0, 500.0))
    same[500, 1] += 5
    assert scene_extent(same) == 5


def test_points_farther_away_than_any_camera_sees_were_not_measured() -> None:
    scene = BlockScan(256, 256)
    cloud = scene.cloud()
    cloud[120:124, 120:130] = 3e38
    cloud[3, ::20] = -1e30
    part = part_of(cloud)
    np.testing.assert_array_equal(foreground(part)[118:126, 118:132].sum(), 8 * 14 - 40)
    assert part.invalid_point_ratio == pytest.approx(40 / scene.block().sum())
