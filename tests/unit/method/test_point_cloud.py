"""From a scan to the part on it: table, mask, and each scan that is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from mdss.errors import BadPart
from mdss.method.point_cloud import Bool, Float, Prepared, drop_specks, find_table, prepare, remove_table
from mdss.method.recipe import PointCloudSettings

DEFAULT = PointCloudSettings()


@dataclass(frozen=True)
class Scene:
    """A square block in the middle of a tilted table of 120 mm on its shorter side."""

    height_px: int = 200
    width_px: int = 200
    tilt_deg: float = 0.0
    block_mm: float = 8.0
    side_mm: float = 40.0
    noise_mm: float = 0.05
    has_table: bool = True

    def block(self) -> Bool:
        """Return which pixels show the block."""
        x, y = self._table()
        return (np.abs(x) < self.side_mm / 2) & (np.abs(y) < self.side_mm / 2)

    def cloud(self) -> Float:
        """Return the points (H, W, 3), all of them measured where there is a table."""
        x, y = self._table()
        noise = np.random.default_rng(3).normal(0, self.noise_mm, x.shape)
        z = 500 + np.tan(np.radians(self.tilt_deg)) * (0.8 * x + 0.6 * y) - self.block_mm * self.block() + noise
        cloud = np.stack([x, y, z], axis=-1).astype(np.float32)
        if not self.has_table:
            cloud[~self.block()] = np.nan
        return cloud

    def _table(self) -> tuple[Float, Float]:
        pitch = 120 / min(self.height_px, self.width_px)
        rows, columns = np.indices((self.height_px, self.width_px), np.float32)
        return (columns - self.width_px / 2 + 0.5) * pitch, (rows - self.height_px / 2 + 0.5) * pitch


def grey(cloud: Float) -> NDArray[np.uint8]:
    """Return an image that fits the cloud."""
    return np.full(cloud.shape, 128, np.uint8)


def part_of(cloud: Float, settings: PointCloudSettings = DEFAULT) -> Prepared:
    """Return the part of a cloud whose image does not matter."""
    return prepare(grey(cloud), cloud, settings)


def foreground(part: Prepared) -> Bool:
    """Return which pixels of the grid have a point of the part."""
    return np.asarray(np.isfinite(part.xyz).all(axis=2), np.bool_)


def refusal(rgb: NDArray[np.generic], cloud: Float, settings: PointCloudSettings = DEFAULT) -> str:
    """Return the sentence with which a scan is refused."""
    with pytest.raises(BadPart) as refused:
        prepare(rgb, cloud, settings)  # type: ignore[arg-type]
    assert refused.value.code == "BAD_CLOUD"
    return str(refused.value)


@pytest.mark.parametrize("tilt_deg", [0, 3, 6, 15, 30])
@pytest.mark.parametrize("size", [(200, 200), (400, 400), (120, 300), (640, 480), (64, 64), (64, 400), (2000, 1500)])
def test_the_part_and_nothing_of_a_tilted_table_is_found(size: tuple[int, int], tilt_deg: float) -> None:
    scene = Scene(*size, tilt_deg=tilt_deg)
    part = part_of(scene.cloud())
    expected = part.grid.sample(scene.block(), fill=False)
    assert part.has_table
    np.testing.assert_array_equal(foreground(part), expected)


@pytest.mark.parametrize("noise_mm", [0.02, 0.3, 0.5])
def test_a_thin_part_is_found_on_a_noisy_tilted_table(noise_mm: float) -> None:
    scene = Scene(tilt_deg=6, block_mm=4.6, noise_mm=noise_mm)
    part = part_of(scene.cloud())
    expected = part.grid.sample(scene.block(), fill=False)
    assert np.mean(foreground(part)[expected]) > 0.99
    assert not foreground(part)[~expected].any()


@pytest.mark.parametrize(("block_mm", "block_px"), [(3, 30), (8, 60), (40, 60)])
def test_the_table_found_is_the_table_though_a_part_lies_across_the_border(block_mm: float, block_px: int) -> None:
    cloud = Scene(tilt_deg=5).cloud()
    cloud[:, :block_px, 2] -= block_mm
    plane = find_table(cloud, DEFAULT)
    assert plane is not None
    assert np.abs(plane.distance(cloud[20:60, 100:180])).max() < 0.5
    assert plane.deviation_mm == pytest.approx(0.05, rel=0.3)


@pytest.mark.parametrize("quarter_turns", range(4))
@pytest.mark.parametrize("tilt_deg", [0, 5, 20])
def test_the_table_is_what_lies_behind_though_a_flat_part_covers_more_of_the_border(tilt_deg: float, quarter_turns: int) -> None:
    cloud = Scene(tilt_deg=tilt_deg).cloud()
    table = cloud[:40].copy()
    cloud[80:, :, 2] -= 18
    plane = find_table(np.ascontiguousarray(np.rot90(cloud, quarter_turns)), DEFAULT)
    assert plane is not None
    assert plane.distance(table).max() < 0.5


@pytest.mark.parametrize("mirrored", [(-1, 1, 1), (1, 1, -1), (-1, 1, -1)])
def test_the_table_is_found_beside_a_part_across_the_border_in_coordinates_that_are_no_cameras(mirrored: tuple[int, int, int]) -> None:
    cloud = Scene(tilt_deg=5).cloud()
    table = cloud[20:60, 100:180].copy()
    cloud[:, :60, 2] -= 40
    signs = np.array(mirrored, np.float32)
    plane = find_table(cloud * signs, DEFAULT)
    assert plane is not None
    assert plane.distance(table * signs).max() < 0.5


def test_stray_points_do_not_move_the_table() -> None:
    cloud = Scene(tilt_deg=4).cloud()
    random = np.random.default_rng(0)
    stray = random.random(cloud.shape[:2]) < 0.2
    before = find_table(cloud, DEFAULT)
    cloud[stray, 2] += random.uniform(-200, 200, np.count_nonzero(stray)).astype(np.float32)
    after = find_table(cloud, DEFAULT)
    assert before is not None and after is not None
    assert abs(abs(before.normal @ after.normal) - 1) < 1e-5


def test_without_a_table_every_point_is_of_the_part() -> None:
    scene = Scene(has_table=False)
    part = part_of(scene.cloud())
    assert not part.has_table
    np.testing.assert_array_equal(foreground(part), part.grid.sample(scene.block(), fill=False))


def test_a_border_that_is_no_plane_is_no_table() -> None:
    cloud = Scene().cloud()
    cloud[..., 2] += np.random.default_rng(0).uniform(-60, 60, cloud.shape[:2]).astype(np.float32)
    assert find_table(cloud, DEFAULT) is None


def test_the_table_stays_where_the_recipe_says_that_there_is_none() -> None:
    cloud = Scene().cloud()
    part = part_of(cloud, PointCloudSettings(table="none"))
    assert not part.has_table
    assert foreground(part).all()


def test_the_same_scan_gives_the_same_part() -> None:
    cloud = Scene(tilt_deg=7, noise_mm=0.4).cloud()
    np.testing.assert_array_equal(part_of(cloud).xyz, part_of(cloud).xyz)


def test_a_removal_distance_in_the_recipe_is_kept_to() -> None:
    cloud = Scene(noise_mm=0).cloud()
    plane = find_table(cloud, DEFAULT)
    assert remove_table(cloud, plane, PointCloudSettings(plane_removal_mm=7.9)).sum() == Scene().block().sum()
    assert remove_table(cloud, plane, PointCloudSettings(plane_removal_mm=8.1)).sum() == 0


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_a_point_that_is_not_finite_is_not_of_the_part_and_is_counted(missing: float) -> None:
    scene = Scene(256, 256)
    cloud = scene.cloud()
    cloud[120:124, 120:130, 1] = missing
    part = part_of(cloud)
    assert not foreground(part)[120:124, 120:130].any()
    assert part.mask[120:124, 120:130].all()
    assert part.invalid_point_ratio == pytest.approx(40 / scene.block().sum())


def test_the_table_seen_through_a_hole_is_not_missing() -> None:
    scene = Scene(256, 256)
    cloud = scene.cloud()
    cloud[120:124, 120:124, 2] += 8
    part = part_of(cloud)
    assert not foreground(part)[120:124, 120:124].any()
    assert part.invalid_point_ratio == 0


def test_the_mask_is_the_foreground_dilated_with_a_square() -> None:
    cloud = Scene(256, 256).cloud()
    part = part_of(cloud)
    np.testing.assert_array_equal(part.mask, binary_dilation(foreground(part), np.ones((8, 8), np.bool_), origin=-1))
    smaller = part_of(cloud, PointCloudSettings(dilation_px=1))
    np.testing.assert_array_equal(smaller.mask, foreground(smaller))


def test_specks_go_and_small_bodies_stay() -> None:
    found = np.zeros((100, 100), np.bool_)
    found[10:50, 10:50] = True
    found[80:83, 80:83] = True  # 9 px
    found[80:85, 20:25] = True  # 25 px
    found[60, 60] = found[61, 61] = True
    kept = drop_specks(found, min_component_px=24)
    found[80:83, 80:83] = found[60:62, 60:62] = False
    np.testing.assert_array_equal(kept, found)


def test_noise_on_the_table_is_no_part_and_a_body_beside_the_part_is() -> None:
    cloud = Scene(256, 256).cloud()
    cloud[30:33, 30:33, 2] -= 5
    cloud[220:230, 220:230, 2] -= 5
    part = part_of(cloud)
    assert not foreground(part)[30:33, 30:33].any()
    assert foreground(part)[220:230, 220:230].all()


def test_the_background_turns_black_only_where_the_recipe_asks() -> None:
    cloud = Scene().cloud()
    black = part_of(cloud, PointCloudSettings(blacken_background=True))
    assert (part_of(cloud).rgb == 128).all()
    assert (black.rgb[black.mask] == 128).all() and (black.rgb[~black.mask] == 0).all()


def test_nothing_that_came_in_is_changed() -> None:
    cloud = Scene(has_table=False).cloud()
    rgb, before = grey(cloud), cloud.copy()
    prepare(rgb, cloud, PointCloudSettings(blacken_background=True))
    assert (rgb == 128).all()
    np.testing.assert_array_equal(cloud, before)


@pytest.mark.parametrize(
    ("scene", "sentence"),
    [
        (Scene(block_mm=0), "no part in view: 0 points at least 1 mm off the table, expected 64 or more"),
        (Scene(side_mm=3), "no part in view: 36 points at least 1 mm off the table, expected 64 or more"),
        (Scene(63, 200), "scan of 63x200: expected 64 to 2000 on each side"),
        (Scene(64, 2001), "scan of 64x2001: expected 64 to 2000 on each side"),
        (Scene(side_mm=0, has_table=False), "the cloud is empty: no pixel has a measured point"),
    ],
)
def test_a_scan_without_a_part_is_refused_with_a_sentence(scene: Scene, sentence: str) -> None:
    cloud = scene.cloud()
    assert sentence in refusal(grey(cloud), cloud)


def test_a_part_thinner_than_the_removal_distance_is_refused_and_the_distance_is_named() -> None:
    cloud = replace(Scene(), block_mm=4.0).cloud()
    assert "0 points at least 5 mm off the table" in refusal(grey(cloud), cloud, PointCloudSettings(plane_removal_mm=5.0))


def test_a_few_points_without_a_table_are_no_part() -> None:
    cloud = Scene(side_mm=1.5, has_table=False).cloud()
    assert "no part in view: 0 points in clusters large enough" in refusal(grey(cloud), cloud)


def test_a_constant_cloud_is_refused() -> None:
    cloud = np.full((80, 80, 3), 7, np.float32)
    assert refusal(grey(cloud), cloud) == "the cloud is constant: all 6400 points are the same"


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
    cloud = Scene(*size).cloud()
    cloud[20:50, 30:60] = mark
    sentence = refusal(grey(cloud), cloud)
    assert f"pixels hold the same point ({', '.join(map(str, mark))}); expected that of a pixel that was not measured" in sentence


def test_a_mark_is_found_where_only_some_of_its_pixels_are_neighbours() -> None:
    cloud = Scene(256, 256).cloud()
    cloud[np.random.default_rng(0).random((256, 256)) < 0.02] = 0
    assert f"{np.count_nonzero((cloud == 0).all(axis=2))} pixels hold the same point (0, 0, 0)" in refusal(grey(cloud), cloud)


def test_a_cloud_of_fewer_pixels_than_its_image_may_be_enlarged_by_repeating_points() -> None:
    scene = Scene(100, 100)
    cloud = scene.cloud().repeat(4, axis=0).repeat(4, axis=1)
    part = part_of(cloud)
    assert np.mean(foreground(part)) == pytest.approx(np.mean(scene.block()), rel=0.05)


@pytest.mark.parametrize(("factor", "found"), [(0.001, "0.1177 mm"), (1000, "1.177e+05 mm")])
def test_a_cloud_in_another_unit_is_refused(factor: float, found: str) -> None:
    cloud = (Scene().cloud() * factor).astype(np.float32)
    assert f"the scene measures {found}, expected 1 mm to 5 m: another unit?" in refusal(grey(cloud), cloud)


def test_points_farther_away_than_any_camera_sees_were_not_measured() -> None:
    scene = Scene(256, 256)
    cloud = scene.cloud()
    cloud[120:124, 120:130] = 3e38
    cloud[3, ::20] = -1e30
    part = part_of(cloud)
    np.testing.assert_array_equal(foreground(part)[118:126, 118:132].sum(), 8 * 14 - 40)
    assert part.invalid_point_ratio == pytest.approx(40 / scene.block().sum())
