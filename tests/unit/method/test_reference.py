"""What drift compares with: one figure for each good validation part, measured where it will be measured again."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from mdss.method.brightness import object_brightness
from mdss.method.calibration import Calibration
from mdss.method.point_cloud import prepare
from mdss.method.recipe import PointCloudSettings
from mdss.method.reference import Conditions, Reference
from tests.plates import SIZE_PX, plate
from tests.scenes import BlockScan, part_of
from tests.unit.method.test_model_store import CALIBRATION

SETTINGS = PointCloudSettings(size_px=SIZE_PX)


def test_conditions_are_those_of_the_part_and_not_of_what_lies_around_it() -> None:
    rgb = np.full((SIZE_PX, SIZE_PX, 3), 255, np.uint8)
    rgb[8:56, 8:56] = (30, 60, 90)
    cloud = plate(tilt=0.0)
    part = prepare(rgb, cloud, SETTINGS)
    found = Conditions.of(part)
    assert found.brightness == pytest.approx(60)
    assert found.distance_mm == 500
    assert found.valid_point_ratio == pytest.approx(1 - part.invalid_point_ratio)
    cloud[20:40:2, 20:40:2] = np.nan
    assert Conditions.of(prepare(rgb, cloud, SETTINGS)).valid_point_ratio < found.valid_point_ratio


def test_a_reference_holds_one_value_for_each_part_and_travels_with_the_calibration() -> None:
    part = prepare(np.full((SIZE_PX, SIZE_PX, 3), 100, np.uint8), plate(), SETTINGS)
    reference = Reference.of([0.1, 0.2], [3.0, 4.0], [part, part])
    assert (reference.rgb, reference.sdf, reference.brightness) == ((0.1, 0.2), (3.0, 4.0), (100.0, 100.0))
    assert {len(getattr(reference, name)) for name in reference.__struct_fields__} == {2}
    kept = msgspec.json.encode(msgspec.structs.replace(CALIBRATION, reference=reference))
    assert msgspec.json.decode(kept, type=Calibration).reference == reference


@pytest.mark.parametrize("lost", [np.s_[::3], np.s_[:, ::3]])
def test_the_distance_of_a_part_is_a_number_though_the_sensor_leaves_out_the_rows_that_are_sampled(lost: tuple[slice, ...]) -> None:
    cloud = BlockScan(256, 256).cloud()
    cloud[lost] = np.nan
    part = part_of(cloud)
    assert Conditions.of(part).distance_mm == pytest.approx(492, abs=0.1)
    reference = Reference.of([0.1], [3.0], [part])
    assert msgspec.json.decode(msgspec.json.encode(reference), type=Reference) == reference


def test_a_calibration_of_an_earlier_release_has_no_reference_and_is_read() -> None:
    tree = msgspec.to_builtins(CALIBRATION)
    del tree["reference"]
    assert msgspec.convert(tree, Calibration) == CALIBRATION


def test_a_fine_grid_is_sampled_and_tells_the_same_as_all_of_its_pixels() -> None:
    random, side = np.random.default_rng(0), 400
    mask = np.zeros((side, side), np.bool_)
    mask[60:340, 90:310] = True
    depth = np.where(mask, random.normal(500, 2, (side, side)), np.nan).astype(np.float32)
    rgb = random.integers(60, 140, (side, side, 3)).astype(np.uint8)
    found = Conditions.of(SimpleNamespace(rgb=rgb, xyz=np.stack([depth] * 3, axis=-1), mask=mask, invalid_point_ratio=0.1))
    assert found.brightness == pytest.approx(object_brightness(rgb, mask), abs=1.0)
    assert found.distance_mm == pytest.approx(float(np.nanmedian(depth)), abs=0.2)


def test_a_part_of_a_few_pixels_on_a_fine_grid_is_measured_whole() -> None:
    rgb, mask = np.zeros((400, 400, 3), np.uint8), np.zeros((400, 400), np.bool_)
    mask[201:209, 201:205], rgb[201:209, 201:205] = True, 90
    rgb[205, 201:205] = 0  # on the row that a sample would take
    xyz = np.where(mask[..., None], np.float32(500), np.float32(np.nan))
    found = Conditions.of(SimpleNamespace(rgb=rgb, xyz=np.repeat(xyz, 3, axis=2), mask=mask, invalid_point_ratio=0.0))
    assert found.brightness == pytest.approx(90 * 7 / 8)
    assert found.distance_mm == 500


def test_a_part_without_a_point_has_no_distance() -> None:
    nothing = np.full((64, 64, 3), np.nan, np.float32)
    part = SimpleNamespace(rgb=np.zeros((64, 64, 3), np.uint8), xyz=nothing, mask=np.ones((64, 64), np.bool_), invalid_point_ratio=1.0)
    assert np.isnan(Conditions.of(part).distance_mm)
