"""What speaks against the table that was found, or against there being none, is said; of a part on a table or on nothing, nothing is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mdss.method.recipe import PointCloudSettings
from mdss.method.table import find_table
from mdss.settings_types import SMALLEST_SIDE_PX
from tests.scenes import DEFAULT, BlockScan, grey, part_of
from trainer.dataset import GOOD, LoadedScan, Scan
from trainer.ignored_content import IgnoredContent, sentences_on_some
from trainer.parts_found import advice
from trainer.table_doubts import AXIS, FILLED, part_behind_sentence, table_doubt

Float = NDArray[np.float32]
MARGIN_PX = 14  # wider than the strip that the table is looked for in


def said(cloud: Float, settings: PointCloudSettings = DEFAULT) -> str:
    """Return the doubt on the table of a cloud, as a sentence."""
    doubt = table_doubt(find_table(cloud, settings), cloud, settings)
    return doubt.sentence if doubt else ""


def loaded(cloud: Float) -> LoadedScan:
    """Return a scan in memory whose image does not matter."""
    return LoadedScan(Scan("train", GOOD, "000", Path("rgb"), Path("000.tiff")), grey(cloud), cloud, np.zeros(cloud.shape[:2], np.bool_))


def framed(cloud: Float) -> Float:
    """Return a cloud of a sensor that measures nothing along the image's border."""
    cloud = cloud.copy()
    cloud[:MARGIN_PX] = cloud[-MARGIN_PX:] = cloud[:, :MARGIN_PX] = cloud[:, -MARGIN_PX:] = np.nan
    return cloud


def heights(reaches_the_border: bool) -> Float:
    """Return a cloud whose z is the height above the table, with a part that may run through the image."""
    cloud = BlockScan(200, 200, block_mm=0.0).cloud()
    part = np.zeros((200, 200), np.bool_)
    part[60:140, slice(None) if reaches_the_border else slice(40, 160)] = True
    cloud[..., 2] = cloud[..., 2] - 500 + np.where(part, 15, 0)
    return cloud


@pytest.mark.parametrize("tilt_deg", [0.0, 20.0])
@pytest.mark.parametrize("has_table", [True, False])
@pytest.mark.parametrize("noise_mm", [0.05, 0.5])
def test_nothing_is_said_of_a_part_on_a_table_or_on_nothing(tilt_deg: float, has_table: bool, noise_mm: float) -> None:
    assert said(BlockScan(200, 200, tilt_deg, noise_mm=noise_mm, has_table=has_table).cloud()) == ""
    assert said(framed(BlockScan().cloud()), PointCloudSettings(table="none")) == ""


def test_a_rough_surface_that_fills_the_image_and_counts_as_table_is_said() -> None:
    cloud = BlockScan(noise_mm=1.2).cloud()
    assert part_of(cloud).has_table
    assert said(cloud) == f"what counts as table is rough, or the sensor noisy: points deviate from a plane by 1.3 mm; {FILLED}"
    assert said(cloud, PointCloudSettings(plane_removal_mm=7.2)) == "", "a person has said how much is dropped"


def test_a_face_of_the_part_that_is_nearer_than_all_else_is_said() -> None:
    cloud = BlockScan(block_mm=-30.0).cloud()
    assert part_of(cloud).has_table
    assert said(cloud) == f"most of what counts as the part lies behind what counts as table; {FILLED}"
    plane = find_table(cloud, DEFAULT)
    assert plane is not None
    for side in (plane, replace(plane, normal=-plane.normal, offset=-plane.offset)):  # which way a normal points is chance
        assert part_behind_sentence(side, cloud, DEFAULT) and not part_behind_sentence(side, BlockScan().cloud(), DEFAULT)


def test_a_table_of_which_the_border_was_not_measured_is_said_and_found_with_what_is_advised() -> None:
    cloud = framed(BlockScan().cloud())
    assert not part_of(cloud).has_table
    assert said(cloud) == (
        "next to nothing was measured within 10 px of the image's border, a table within 20 px; if the part lies on a table, "
        "set point_cloud.border_px=20, or crop the scans"
    )
    advised = PointCloudSettings(border_px=20)
    assert (part_of(cloud, advised).has_table, said(cloud, advised)) == (True, "")


def padded(cloud: Float) -> Float:
    """Return a cloud of a camera that sees far more than the sensor beside it measures."""
    return np.pad(cloud, ((150, 100), (170, 130), (0, 0)), constant_values=np.nan)


def test_a_table_that_is_measured_far_inside_the_image_is_said_and_found_in_what_is_advised() -> None:
    cloud = padded(BlockScan(200, 240).cloud())
    assert not part_of(cloud).has_table
    assert said(cloud) == (
        "next to nothing was measured within 10 px of the image's border, a table farther inside; if the part lies on a table, "
        "crop the scans to the 240 x 200 px that were measured"
    )


def test_no_crop_is_advised_that_would_be_refused_as_too_small_a_scan() -> None:
    asked = [said(padded(BlockScan(side, side).cloud())) for side in (SMALLEST_SIDE_PX - 1, SMALLEST_SIDE_PX)]
    assert ["crop the scans" in each for each in asked] == [False, True]


def disc() -> Float:
    """Return a cloud of a disc without a table that touches the image's four borders, with a block on its face."""
    cloud = BlockScan(block_mm=0.0).cloud()
    rows, columns = np.indices(cloud.shape[:2]) - 100
    cloud[np.hypot(rows, columns) > 95] = np.nan
    cloud[80:120, 80:120, 2] -= 8
    return cloud


def test_a_part_without_a_table_is_not_told_to_lie_on_one() -> None:
    assert said(padded(disc())) == said(np.full((200, 200, 3), np.nan, np.float32)) == ""


def test_a_face_that_counts_as_table_where_the_part_touches_the_border_is_said() -> None:
    assert part_of(disc()).has_table
    found = "most of the border of what was measured is empty, and what is there counts as table"
    assert said(disc()) == f"{found}; if that is the part, set point_cloud.table=none"
    assert not part_of(disc(), PointCloudSettings(table="none")).has_table


@pytest.mark.parametrize("margin_px", [3, 8])
def test_a_table_whose_border_a_sensor_loses_in_part_is_no_doubt(margin_px: int) -> None:
    cloud = BlockScan().cloud()
    inside = cloud[margin_px:-margin_px, margin_px:-margin_px].copy()
    cloud[:] = np.nan
    cloud[margin_px:-margin_px, margin_px:-margin_px] = inside
    assert (part_of(cloud).has_table, said(cloud)) == (True, "")
    cloud[0, 0], cloud[-1, -1] = BlockScan().cloud()[[0, -1], [0, -1]]  # strays do not widen what was measured
    assert said(cloud) == ""


def test_a_table_with_many_gaps_is_no_doubt() -> None:
    cloud = BlockScan().cloud()
    cloud[np.random.default_rng(0).random(cloud.shape[:2]) < 0.6] = np.nan
    assert (part_of(cloud).has_table, said(cloud)) == (True, "")


def test_a_part_that_fills_the_image_is_no_reason_to_look_for_a_table_farther_from_the_border() -> None:
    cloud = BlockScan(block_mm=0.0).cloud()
    rim = np.ones(cloud.shape[:2], np.bool_)
    rim[9:-9, 9:-9] = False
    cloud[rim, 2] -= np.random.default_rng(0).uniform(5, 60, np.count_nonzero(rim))  # all of it before the face
    cloud[80:120, 80:120, 2] -= 8
    assert find_table(cloud, DEFAULT) is None and find_table(cloud, PointCloudSettings(border_px=40)) is not None
    assert said(cloud) == ""


def test_heights_above_a_table_are_told_from_distances_to_a_camera() -> None:
    assert said(heights(reaches_the_border=False)) == "", "the table is found, and nobody knows from where it was seen"
    cloud = heights(reaches_the_border=True)
    assert not part_of(cloud).has_table
    assert said(cloud) == f"no table was found, but one where z is negated; {AXIS}"
    cloud[..., 2] *= -1
    assert (part_of(cloud).has_table, said(cloud)) == (True, "")


def test_who_trains_is_told() -> None:
    found = [IgnoredContent.of(loaded(framed(BlockScan().cloud())), DEFAULT)] * 2
    (sentence,) = sentences_on_some(found)
    assert sentence.startswith("in 2 of 2 scans that were looked at, as in 000.tiff, next to nothing was measured within 10 px")


def test_of_what_some_scans_show_and_others_show_something_else_nothing_is_said() -> None:
    unmeasured, rough = (
        IgnoredContent.of(loaded(cloud), DEFAULT) for cloud in (framed(BlockScan().cloud()), BlockScan(noise_mm=1.2).cloud())
    )
    assert sentences_on_some([unmeasured, rough]) == []
    (sentence,) = sentences_on_some([unmeasured, rough, rough])
    assert sentence.startswith("in 2 of 3 scans that were looked at, as in 000.tiff, what counts as table is rough")


def test_a_part_of_too_few_points_is_to_be_cropped_to() -> None:
    cloud = BlockScan(400, 400, side_mm=3.0).cloud()
    assert advice(loaded(cloud), DEFAULT).startswith("; crop the scans to the part if it is so small, or set point_cloud.table=none")
    cloud = BlockScan(block_mm=0.0).cloud()
    assert advice(loaded(cloud), DEFAULT).startswith("; set point_cloud.table=none")
