"""What is said of the parts that were found in the scans of a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mdss.method.point_cloud import Prepared
from mdss.method.recipe import PointCloudSettings
from tests.scenes import DEFAULT, BlockScan, grey, part_of
from trainer.dataset import GOOD, LoadedScan, Scan
from trainer.part_measures import Measures
from trainer.parts_found import (
    MOST_COMPARED,
    MOST_TIMES,
    advice,
    constant_coordinate,
    copy_sentences,
    flat_cloud_sentences,
    lighting_sentences,
    missing_points_sentences,
    other_product_sentences,
    other_training_sentences,
    pointless,
    scan_sentences,
    sentences_on,
    small_part_sentences,
)

ON_TABLE = part_of(BlockScan().cloud())
PATHS = [Path(f"xyz/{number:03d}.tiff") for number in range(4)]


def of_share(share: float, part: Prepared = ON_TABLE) -> Prepared:
    """Return the part with a mask that covers that much of the frame."""
    mask = part.mask & False
    mask[: round(share * len(mask))] = True
    return replace(part, mask=mask)


def test_parts_that_are_alike_are_one_sentence() -> None:
    parts = [of_share(share) for share in (0.25, 0.5, 0.25, 0.75)]
    assert scan_sentences(parts, PATHS) == ["a table in 4 of 4 scans; the part covers 25 to 75 % of the image (median 37.5 %)"]


def test_the_letterbox_is_no_part_of_the_image() -> None:
    wide = part_of(BlockScan(200, 400).cloud(), PointCloudSettings(table="none"))
    assert scan_sentences([wide], PATHS) == ["a table in 0 of 1 scans; the part covers 100 to 100 % of the image (median 100 %)"]


def test_a_table_in_some_scans_alone_is_said_with_the_scan_that_is_farthest_off_and_with_what_to_do() -> None:
    parts = [of_share(0.25), of_share(0.25), of_share(0.5, replace(ON_TABLE, has_table=False)), of_share(0.25)]
    found, warning = scan_sentences(parts, PATHS)
    assert found == "a table in 3 of 4 scans; the part covers 25 to 50 % of the image (median 25 %)"
    assert warning == (
        "xyz/002.tiff is farthest off, with no table and a part of 50 %; expected a table in all scans or in none, and parts of about one "
        "size: set point_cloud.table=none for parts that fill the image or lie on nothing flat, point_cloud.plane_inlier_mm to four times "
        "the sensor's noise, or crop the scans"
    )


def test_parts_of_very_different_sizes_are_said_as_well() -> None:
    small = 0.0625
    assert len(scan_sentences([of_share(small), of_share(MOST_TIMES * small)], PATHS)) == 1
    _, warning = scan_sentences([of_share(share) for share in (0.5, small, 0.5, 0.5)], PATHS)
    assert warning.startswith("xyz/001.tiff is farthest off, with a table and a part of 6.25 %; ")


def test_how_far_off_a_part_is_counts_as_a_ratio_so_that_a_small_one_is_found_among_large_ones() -> None:
    _, warning = scan_sentences([of_share(share) for share in (0.4, 0.1, 0.4, 0.8)], PATHS)
    assert warning.startswith("xyz/001.tiff is farthest off, ")


def test_parts_of_few_pixels_of_the_grid_are_to_be_cropped_to() -> None:
    assert small_part_sentences([of_share(0.024)] * 3) == []
    assert small_part_sentences([of_share(0.01), of_share(0.03), of_share(0.03)]) == [], "most are large enough"
    (said,) = small_part_sentences([of_share(0.01)] * 2 + [of_share(0.03)])
    assert (
        said == "the part has 768 of the grid's 65536 pixels, expected 1311 or more: crop the scans to the part, or small defects are lost"
    )
    far = part_of(BlockScan(400, 400, side_mm=8.0).cloud())
    assert any("crop the scans to the part" in sentence for sentence in sentences_on([far], PATHS[:1]))


def test_scans_that_lack_more_points_than_a_station_tolerates_are_counted_and_the_worst_is_named() -> None:
    parts = [replace(ON_TABLE, invalid_point_ratio=ratio) for ratio in (0.1, 0.52, 0.63, 0.5)]
    (said,) = missing_points_sentences(parts, PATHS)
    assert said.startswith(
        "2 of 4 scans lack more than 50% of the part's points, at worst 63% in xyz/002.tiff: a station leaves such parts undecided "
    )
    assert missing_points_sentences(parts[:1], PATHS) == []
    (said,) = missing_points_sentences([replace(ON_TABLE, invalid_point_ratio=0.504)], PATHS)
    assert "more than 50% of the part's points, at worst 50.4% in xyz/000.tiff" in said


def test_scans_of_too_little_light_and_of_too_much_are_counted_and_one_is_named() -> None:
    dim, bright = (replace(ON_TABLE, rgb=np.full_like(ON_TABLE.rgb, value)) for value in (16, 17))
    assert lighting_sentences([ON_TABLE, bright], PATHS[:2]) == []
    (said,) = lighting_sentences([ON_TABLE, dim, dim], PATHS[:3])
    expected = "expected light and exposure that show all of it, or colour finds little there"
    assert said == f"in 2 of 3 scans the part is nowhere brighter than 16 of 255, as in xyz/001.tiff; {expected}"
    burnt = replace(bright, rgb=bright.rgb.copy())
    rows, columns = np.nonzero(burnt.mask)
    burnt.rgb[rows[: len(rows) // 9], columns[: len(rows) // 9]] = 255
    (said,) = lighting_sentences([ON_TABLE, burnt], PATHS[:2])
    assert said == f"in 1 of 2 scans the part is over-exposed in more than 10 % of its image, as in xyz/001.tiff; {expected}"
    burnt.rgb[..., 2] = 17  # a saturated colour
    assert lighting_sentences([burnt], PATHS[:1]) == []
    assert lighting_sentences([dim], PATHS[:1])[0] in sentences_on([dim], PATHS[:1])


def test_a_dark_part_with_a_bright_label_is_lit_well_enough() -> None:
    labelled = replace(ON_TABLE, rgb=np.full_like(ON_TABLE.rgb, 10))
    rows, columns = np.nonzero(labelled.mask)
    labelled.rgb[rows[::50], columns[::50]] = 120
    assert lighting_sentences([labelled], PATHS[:1]) == []


def test_scans_that_are_copies_of_others_are_counted_and_one_is_named_with_the_one_that_it_is_of() -> None:
    parts = [ON_TABLE, part_of(BlockScan(tilt_deg=1).cloud()), part_of(BlockScan(tilt_deg=2).cloud())]
    assert copy_sentences(parts, PATHS[:3]) == []
    (said,) = copy_sentences([*parts, part_of(BlockScan().cloud())], PATHS)
    assert said == (
        "1 of 4 scans are copies of others, for example xyz/003.tiff of xyz/000.tiff; expected each part once: a threshold from scans that "
        "were trained on, or from one scan many times, keeps no promise"
    )
    darker = replace(ON_TABLE, rgb=ON_TABLE.rgb // 2)  # another image of it
    assert copy_sentences([ON_TABLE, darker], PATHS[:2]) == []


@pytest.mark.parametrize("side_px", [200, 300])  # enlarged to the grid, and not
def test_scans_without_a_table_whose_points_have_all_the_same_depth_are_counted_and_one_is_named(side_px: int) -> None:
    settings = PointCloudSettings(table="none")
    cloud = BlockScan(side_px, side_px).cloud()
    measured = part_of(cloud, settings)
    cloud[..., 2] = 437.3
    flat = part_of(cloud, settings)
    assert flat_cloud_sentences([measured], PATHS[:1]) == []
    assert flat_cloud_sentences([replace(flat, has_table=True)], PATHS[:1]) == [], "a flat part on a table"
    assert sentences_on([measured, flat, flat], PATHS[:3])[1:-1] == [
        "2 of 3 scans have the same z in all points, for example xyz/001.tiff; expected it to be measured: was the depth image not filled?"
    ]


@pytest.mark.parametrize(("spread_mm", "axis"), [(0.0005, "z"), (0.005, "")])
def test_a_sheet_that_is_flatter_than_any_sensor_measures_was_not_measured(spread_mm: float, axis: str) -> None:
    sheet = BlockScan(noise_mm=0.0, block_mm=0.0).cloud()
    sheet[..., 2] = np.random.default_rng(0).uniform(0, spread_mm, sheet.shape[:2])
    assert constant_coordinate(sheet) == axis


def test_parts_of_which_none_is_like_those_of_a_model_are_said_with_what_the_first_differs_in() -> None:
    known, larger = [Measures.of(ON_TABLE)] * 3, replace(ON_TABLE, xyz=ON_TABLE.xyz * 2)
    assert other_product_sentences([larger, ON_TABLE, larger], PATHS, known) == [], "parts of one product vary"
    assert other_product_sentences([larger], PATHS, []) == [], "a model of a release without golden scans"
    (said,) = other_product_sentences([larger, larger], PATHS, known)
    assert said.startswith("none of 2 scans is like the good ones that the model keeps; xyz/000.tiff: its ")
    assert said.endswith(" mm: another product?")


def test_validation_parts_of_which_none_is_like_those_to_train_on_are_said_with_what_the_first_differs_in() -> None:
    training = [ON_TABLE] * 3
    larger, dark = replace(ON_TABLE, xyz=ON_TABLE.xyz * 2), replace(ON_TABLE, rgb=ON_TABLE.rgb // 4)
    assert other_training_sentences(training, [larger, ON_TABLE], PATHS[:2]) == [], "parts of one product vary"
    (said,) = other_training_sentences(training, [larger, dark], PATHS[:2])
    assert said.startswith("none of 2 validation scans is like those to train on; xyz/000.tiff: its ") and said.endswith("another product?")
    (said,) = other_training_sentences(training, [dark, larger], PATHS[:2])
    assert said.endswith("xyz/000.tiff: the part has a brightness of 32 of 255, expected at least 51.2: is the lamp on?")
    assert other_training_sentences(training, [replace(ON_TABLE, invalid_point_ratio=0.9)], PATHS[:1]) == [], "which is said of each scan"
    assert other_training_sentences([larger, *training], [ON_TABLE], PATHS[:1]) == [], "it is like the others"


def test_of_very_many_parts_to_train_on_those_from_first_to_last_are_compared_with() -> None:
    larger = replace(ON_TABLE, xyz=ON_TABLE.xyz * 2)
    training = [larger] * MOST_COMPARED + [ON_TABLE] * (2 * MOST_COMPARED)
    assert other_training_sentences(training, [ON_TABLE], PATHS[:1]) == []


def test_who_trains_on_clouds_without_depth_is_not_told_to_do_without_a_table() -> None:
    cloud = BlockScan().cloud()
    loaded = LoadedScan(Scan("train", GOOD, "000", Path("rgb"), Path("xyz")), grey(cloud), cloud, np.zeros(cloud.shape[:2], np.bool_))
    assert advice(loaded, DEFAULT).startswith("; set point_cloud.table=none for parts")
    cloud[..., 2] = 0
    assert advice(loaded, DEFAULT) == "; z is the same in all points, expected it to be measured"


def test_of_a_scan_without_any_point_nothing_is_advised() -> None:
    cloud = np.full((200, 200, 3), np.nan, np.float32)
    loaded = LoadedScan(Scan("train", GOOD, "000", Path("rgb"), Path("xyz")), grey(cloud), cloud, np.zeros(cloud.shape[:2], np.bool_))
    assert advice(loaded, DEFAULT) == ""
    assert pointless(loaded) == "; expected x, y, z of each pixel, and NaN or (0, 0, 0) only where none was measured"
    cloud[7, 7] = 1, 2, 300
    assert pointless(loaded) == ""
