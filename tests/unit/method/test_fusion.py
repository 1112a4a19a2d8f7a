"""Two maps become one: the paper's product and alignment, and regions that a person can find on the part."""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from mdss.method import fusion
from mdss.method.calibration import Calibration, Statistics, Threshold
from mdss.method.fusion import Fused, colour_score, fuse, fused_score, regions
from mdss.method.grid import Grid
from mdss.method.recipe import FusionSettings

SIZE_PX = 64
LIMIT = Threshold(value=1.0, method="conformal", asked_false_reject_rate=0.05, stated_false_reject_rate=0.05, parts=30)


def calibration(**changes: object) -> Calibration:
    given = Calibration(
        rgb=Statistics(2.0, 0.5), sdf=Statistics(0.1, 0.02), threshold=LIMIT, map_level=4.0, fusion=FusionSettings(),
        calibrated_at="now", validation_scores=(),
    )  # fmt: skip
    return msgspec.structs.replace(given, **changes)


def maps() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(0)
    return random.normal(2.0, 0.5, (SIZE_PX, SIZE_PX)).astype(np.float32), random.normal(0.1, 0.02, (SIZE_PX, SIZE_PX)).astype(np.float32)


def cloud(pitch_mm: float = 0.5) -> NDArray[np.float32]:
    rows, columns = np.indices((SIZE_PX, SIZE_PX), dtype=np.float32)
    return np.stack([pitch_mm * columns, pitch_mm * rows, np.full_like(rows, 300)], axis=-1)


def test_the_score_is_the_product_of_the_raw_maxima() -> None:
    rgb, sdf = maps()
    assert fuse(rgb, sdf, calibration()).score == pytest.approx(float(rgb.max()) * float(sdf.max()))


def test_a_shape_score_among_those_of_good_parts_counts_as_the_floor_and_one_above_as_itself() -> None:
    rgb, sdf = maps()
    highest = float(sdf.max())
    below, above = (fuse(rgb, sdf, calibration(score_floor=floor)).score for floor in (2 * highest, 0.5 * highest))
    assert below == pytest.approx(2 * above) == pytest.approx(2 * highest * float(rgb.max()))


@pytest.mark.parametrize(
    ("rgb", "sdf", "expected"),
    [
        (3.0, 0.4, 1.5),  # colour, while shape is among good parts
        (1.0, 0.5, 0.5),
        (1.0, 0.55, 1.1),
        (3.0, 0.55, 1.5),
        (3.0, 1.0, 2.0),
    ],
)
def test_the_larger_score_is_colour_s_until_shape_exceeds_what_good_parts_reach(rgb: float, sdf: float, expected: float) -> None:
    larger = calibration(fusion=FusionSettings(score="larger"), score_floor=0.5, colour_limit=2.0)
    assert fused_score(rgb, sdf, larger) == pytest.approx(expected)


def test_what_shape_says_of_the_same_place_counts_in_colour_s_score_and_what_it_says_elsewhere_does_not() -> None:
    rgb, sdf = np.full((SIZE_PX, SIZE_PX), 2.0, np.float32), np.full((SIZE_PX, SIZE_PX), 0.1, np.float32)
    rgb[5, 5], rgb[50, 50] = 4.0, 4.1
    sdf[5, 5], sdf[50, 50] = 0.1 + 2 * 0.02, 0.1 - 0.02  # two deviations up where colour is high, one down where it is higher
    alone, agreeing = (calibration(fusion=FusionSettings(score="larger", score_agreement=share)) for share in (0.0, 0.5))
    assert colour_score(rgb, sdf, alone) == pytest.approx(4.1)
    assert colour_score(rgb, sdf, agreeing) == pytest.approx(4.0 + 0.5 * 2 * 0.5)  # half of two deviations, of 0.5 each in colour
    sdf[5, 5], sdf[20, 20] = 0.1, 0.1 + 2 * 0.02
    assert colour_score(rgb, sdf, agreeing) == pytest.approx(4.0)
    larger = msgspec.structs.replace(agreeing, score_floor=0.5, colour_limit=2.0)
    assert fuse(rgb, sdf, larger).score == pytest.approx(4.0 / 2.0)


def test_a_map_with_no_number_in_it_gives_no_score_also_where_shape_agrees() -> None:
    rgb, sdf = maps()
    rules = calibration(fusion=FusionSettings(score="larger", score_agreement=0.5), score_floor=0.5, colour_limit=2.0)
    for broken in (rgb, sdf):
        kept, broken[3, 3] = broken[3, 3], np.nan
        assert math.isnan(fuse(rgb, sdf, rules).score)
        broken[3, 3] = kept


@pytest.mark.parametrize("rule", ["product", "larger"])
@pytest.mark.parametrize("scores", [(math.nan, 0.1), (math.nan, 2.0), (3.0, math.nan)])
def test_where_one_score_is_no_number_the_fused_one_is_none_either(rule: Literal["product", "larger"], scores: tuple[float, float]) -> None:
    rules = calibration(fusion=FusionSettings(score=rule), score_floor=0.5, colour_limit=2.0)
    assert math.isnan(fused_score(*scores, rules))


def test_the_map_is_the_papers_aligned_maximum_in_deviations_of_the_shape_map() -> None:
    rgb, sdf = maps()
    paper = calibration(fusion=FusionSettings(map_floor=None))
    aligned = (rgb - 2.0) * (0.02 / 0.5) + 0.1  # mean +- 3 deviations onto mean +- 3 deviations
    assert np.allclose(fuse(rgb, sdf, paper).map, (np.maximum(aligned, sdf) - 0.1) / 0.02, atol=1e-3)


def test_shape_above_its_floor_is_added_to_the_aligned_colour_map() -> None:
    rgb, sdf = maps()
    fused = fuse(rgb, sdf, calibration(fusion=FusionSettings(map_floor=1.5)))
    assert np.allclose(fused.map, (rgb - 2.0) / 0.5 + np.maximum((sdf - 0.1) / 0.02 - 1.5, 0), atol=1e-3)


def test_clipping_holds_the_aligned_colour_map_at_zero_of_the_shape_map_where_the_recipe_asks() -> None:
    rgb, sdf = maps()
    clipped, plain = (fuse(rgb - 2.5, sdf, calibration(fusion=FusionSettings(clip_aligned=asked))).rgb for asked in (True, False))
    np.testing.assert_allclose(plain, (rgb - 4.5) / 0.5, atol=1e-5)
    np.testing.assert_array_equal(clipped, np.maximum(plain, np.float32(-0.1 / 0.02)))


def test_the_map_is_blurred_where_the_recipe_asks_and_the_score_is_not() -> None:
    sharp, blurred = (fuse(*hot("rgb", 9.0, size=1), calibration(fusion=FusionSettings(blur_px=blur_px))) for blur_px in (0.0, 2.0))
    assert (sharp.map[20, 31], sharp.map[20, 30]) == (0, pytest.approx(9))
    assert 0 < blurred.map[20, 31] < blurred.map[20, 30] < 1
    assert blurred.score == sharp.score


def hot(branch: str, value: float, size: int = 6) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rgb, sdf = np.full((SIZE_PX, SIZE_PX), 2.0, np.float32), np.full((SIZE_PX, SIZE_PX), 0.1, np.float32)
    inside = np.s_[20 : 20 + size, 30 : 30 + size]
    if branch != "sdf":
        rgb[inside] += 0.5 * value
    if branch != "rgb":
        sdf[inside] += 0.02 * value
    return rgb, sdf


@pytest.mark.parametrize(("branch", "peak"), [("rgb", 9), ("sdf", 8), ("both", 17)])  # shape above a floor of 1
def test_a_region_says_where_how_large_and_which_branch_saw_it(branch: str, peak: float) -> None:
    grid = Grid(2 * SIZE_PX, 2 * SIZE_PX, SIZE_PX)
    (region,) = regions(fuse(*hot(branch, 9.0), calibration()), cloud(), grid, calibration())
    assert region.branch == branch
    assert (region.area_px, region.bbox_px) == (144, (60, 40, 12, 12))
    assert region.area_mm2 == pytest.approx(36 * 0.25, rel=1e-3)
    assert region.centroid_px == pytest.approx((65.5, 45.5), abs=0.01)
    assert region.centroid_mm == pytest.approx((0.5 * 32.5, 0.5 * 22.5, 300), abs=0.01)
    assert region.peak == pytest.approx(peak, abs=0.01)


@pytest.mark.parametrize(("rgb", "sdf", "branch"), [(10, 6, "both"), (6, 10, "both"), (10, 4, "rgb"), (4, 10, "sdf")])
def test_both_saw_a_region_where_the_weaker_has_more_than_half_of_what_the_stronger_has(rgb: float, sdf: float, branch: str) -> None:
    colour, shape = hot("rgb", rgb)[0], hot("sdf", sdf)[1]
    colour[20, 30], shape[25, 35] = 2.0, 0.1  # it is the highest value that counts
    fused = fuse(colour, shape, calibration())
    (region,) = regions(fused, cloud(), Grid(SIZE_PX, SIZE_PX, SIZE_PX), calibration())
    assert region.branch == branch


def test_a_letterboxed_frame_has_its_regions_in_its_own_pixels() -> None:
    grid = Grid(SIZE_PX // 2, SIZE_PX, SIZE_PX)  # rows 16 to 48 of the grid hold the frame
    (region,) = regions(fuse(*hot("rgb", 9.0), calibration()), cloud(), grid, calibration())
    assert region.bbox_px == (30, 4, 6, 6)
    assert region.centroid_px == pytest.approx((32.5, 6.5), abs=0.01)


def test_specks_are_dropped_unless_nothing_else_is_there() -> None:
    rgb, sdf = hot("rgb", 9.0)
    rgb[5, 5:8] = 10  # one pixel less than a region has at least
    rgb[50:52, 5:7] = 4.5  # as many
    grid = Grid(SIZE_PX, SIZE_PX, SIZE_PX)
    assert [region.area_px for region in regions(fuse(rgb, sdf, calibration()), cloud(), grid, calibration())] == [36, 4]
    (speck,) = regions(fuse(*hot("rgb", 9.0, size=1), calibration()), cloud(), grid, calibration())
    assert speck.area_px == 1


def test_the_strongest_region_comes_first_one_across_a_corner_is_one_and_its_centre_lies_where_it_is_hottest() -> None:
    rgb, sdf = hot("rgb", 9.0)
    rgb[40:44, 10:14], rgb[44:48, 14:18] = 8.0, 12.0
    grid = Grid(SIZE_PX, SIZE_PX, SIZE_PX)
    strongest, other = regions(fuse(rgb, sdf, calibration()), cloud(), grid, calibration())
    assert (strongest.bbox_px, other.bbox_px) == ((10, 40, 8, 8), (30, 20, 6, 6))
    assert (strongest.area_px, other.area_px) == (32, 36)
    assert strongest.peak == pytest.approx(20) and strongest.centroid_px == pytest.approx((14, 44), abs=0.01)


def test_a_part_without_a_pixel_above_the_level_still_has_a_place_to_look_at() -> None:
    fused = fuse(*hot("sdf", 2.0), calibration())
    for level in (4.0, float(fused.map.max())):
        (region,) = regions(fused, cloud(), Grid(SIZE_PX, SIZE_PX, SIZE_PX), calibration(map_level=level))
        assert region.bbox_px == (30, 20, 6, 6)


@pytest.mark.parametrize("below", [0.0, 1.0])
def test_a_part_with_no_pixel_above_the_mean_of_good_parts_has_one_too(below: float) -> None:
    rgb, sdf = hot("rgb", 1.0)
    fused = fuse(rgb - np.float32(0.5 + below), sdf, calibration())
    assert fused.map.max() == -2 * below
    (region,) = regions(fused, cloud(), Grid(SIZE_PX, SIZE_PX, SIZE_PX), calibration())
    assert region.bbox_px == (30, 20, 6, 6)


def test_that_place_is_what_has_more_than_half_of_the_highest_value() -> None:
    rgb, sdf = hot("rgb", 2.0)
    rgb[20:26, 29], rgb[20:26, 36] = 2.45, 2.55  # aligned: 0.9 and 1.1
    (region,) = regions(fuse(rgb, sdf, calibration()), cloud(), Grid(SIZE_PX, SIZE_PX, SIZE_PX), calibration())
    assert region.bbox_px == (30, 20, 7, 6)


def test_where_no_point_was_measured_there_are_pixels_but_no_millimetres() -> None:
    points = cloud()
    points[18:30, 28:40] = np.nan
    (region,) = regions(fuse(*hot("rgb", 9.0), calibration()), points, Grid(SIZE_PX, SIZE_PX, SIZE_PX), calibration())
    assert region.centroid_mm is None
    assert region.area_mm2 == pytest.approx(36 * 0.25, rel=1e-3)


@pytest.mark.parametrize("place", [(0, 0), (20, 30), (SIZE_PX - 6, SIZE_PX - 6)])
def test_the_area_of_a_place_is_that_of_its_own_pixels_wherever_it_lies(place: tuple[int, int]) -> None:
    points = cloud()
    points[..., 0] *= 1 + points[..., 1] / 10  # no two rows are as wide
    rgb = np.full((SIZE_PX, SIZE_PX), 2.0, np.float32)
    inside = np.s_[place[0] : place[0] + 6, place[1] : place[1] + 6]
    rgb[inside] += 9.0
    (region,) = regions(fuse(rgb, hot("rgb", 0)[1], calibration()), points, Grid(SIZE_PX, SIZE_PX, SIZE_PX), calibration())
    across, down = (np.diff(points, axis=axis, append=np.nan) for axis in (1, 0))
    assert region.area_mm2 == pytest.approx(36 * np.nanmedian(np.linalg.norm(np.cross(across, down), axis=2)[inside]), rel=1e-6)


@pytest.mark.parametrize("side", [80, 100, 128, 200])
def test_the_area_is_the_same_on_however_many_pixels_of_a_frame_the_grid_falls(side: int) -> None:
    y, x = np.mgrid[:side, :side].astype(np.float32) * np.float32(0.5)
    frame, grid = np.stack([x, y, np.full_like(x, 300)], axis=2), Grid(side, side, SIZE_PX)
    (region,) = regions(fuse(*hot("rgb", 9.0), calibration()), grid.sample(frame, np.nan), grid, calibration())
    assert region.area_mm2 == pytest.approx(36 * (0.5 * side / SIZE_PX) ** 2, rel=1e-5)


def test_the_area_is_right_on_a_grid_finer_than_the_frame() -> None:
    y, x = np.mgrid[:40, :40].astype(np.float32) * np.float32(0.5)
    frame, grid = np.stack([x, y, np.full_like(x, 300)], axis=2), Grid(40, 40, SIZE_PX)
    (region,) = regions(fuse(*hot("rgb", 9.0), calibration()), grid.interpolated_points(frame), grid, calibration())
    assert region.area_mm2 == pytest.approx(36 * (0.5 * 40 / SIZE_PX) ** 2, rel=1e-4)


@pytest.mark.parametrize("place", [(0, 0), (0, 100), (240, 240), (100, 76)])
def test_the_area_on_a_finer_grid_is_right_where_points_between_the_frames_end(place: tuple[int, int]) -> None:
    rows, columns = np.indices((64, 64), dtype=np.float32)
    frame, grid = np.stack([columns, rows, np.full_like(rows, 300)], axis=-1) / np.float32(2), Grid(64, 64, 256)
    frame[20:40, 22] = np.nan
    inside = tuple(index.ravel() + first for index, first in zip(np.indices((16, 12)), place, strict=True))
    assert fusion._area_mm2(inside, grid.interpolated_points(frame), grid) == pytest.approx(16 * 12 * (0.5 / 4) ** 2, rel=0.05)


def test_a_region_lies_within_the_frame_and_has_a_pixel_of_it_at_least() -> None:
    wide = Grid(400, 800, 256)  # 64 rows of letterbox above and below
    inside = np.zeros((256, 256), np.bool_)
    inside[180:196, 100:110] = True  # the last four rows beyond the frame
    (region,) = regions_of(inside, wide)
    left, top, width, height = region.bbox_px
    assert (top + height, left + width <= 800) == (400, True)
    assert region.area_px == pytest.approx(12 * 10 * (800 / 256) ** 2, abs=1) and region.centroid_px[1] < 400
    narrow = np.zeros((256, 256), np.bool_)
    narrow[100:104, 6] = True
    (region,) = regions_of(narrow, Grid(64, 64, 256))
    assert (region.bbox_px[2], region.area_px) == (1, 1)
    beyond = np.zeros((256, 256), np.bool_)
    beyond[40:60, 100:110] = True  # nowhere but in the letterbox
    (region,) = regions_of(beyond, wide)
    assert region.bbox_px[1] == 0 and region.area_px == pytest.approx(20 * 10 * (800 / 256) ** 2, abs=1)
    assert region.centroid_px == pytest.approx((104.5 * 800 / 256 + (800 / 256 - 1) / 2, 0))


@pytest.mark.parametrize(("first", "shown_at"), [(40, 0), (200, 399)])
def test_a_region_beyond_the_frame_is_shown_at_its_nearest_side(first: int, shown_at: int) -> None:
    beyond = np.zeros((256, 256), np.bool_)
    beyond[first : first + 20, 100:110] = True
    (region,), (turned,) = regions_of(beyond, Grid(400, 800, 256)), regions_of(beyond.T, Grid(800, 400, 256))
    assert (region.bbox_px[1::2], region.centroid_px[1]) == ((shown_at, 1), shown_at)
    assert (turned.bbox_px[::2], turned.centroid_px[0]) == ((shown_at, 1), shown_at)


def regions_of(inside: NDArray[np.bool_], grid: Grid) -> tuple[fusion.Region, ...]:
    """Return the regions of a map that is hot there alone."""
    heat = inside * np.float32(100)
    return regions(Fused(1.0, heat, heat, heat), np.full((256, 256, 3), np.nan, np.float32), grid, calibration())


def test_the_area_is_right_where_a_finer_grid_repeats_the_frames_points() -> None:
    rows, columns = np.indices((100, 100), dtype=np.float32)
    frame, grid = np.stack([columns, rows, np.full_like(rows, 500)], axis=-1) / np.float32(2), Grid(100, 100, 256)
    everywhere = np.nonzero(np.ones((256, 256), np.bool_))
    assert fusion._area_mm2(everywhere, grid.sample(frame, np.nan), grid) == pytest.approx(2500, rel=0.01)
