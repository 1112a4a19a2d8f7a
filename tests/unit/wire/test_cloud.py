"""A cloud as its sensor gave it: whatever is looked at is what the whole, made uniform, has there."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from mdss.method.point_cloud import prepare
from mdss.method.recipe import PointCloudSettings
from mdss.wire.cloud import Invalid, SensorCloud

Kind = Literal["nan", "value", "confidence"]
ROWS, COLUMNS = np.array([[0], [7], [89]]), np.array([[3, 3, 118, 0]])
PLACES: tuple[Any, ...] = (
    np.s_[:],
    np.s_[3:40],
    np.s_[-10:],
    np.s_[10:-10, -10:],
    np.s_[::8, ::8],
    np.s_[5, 6],
    (ROWS, COLUMNS),
)
ENLARGED, THINNED = (PointCloudSettings(size_px=size, enlarged_by="interpolating") for size in (128, 64))


def scene(kind: Kind) -> SensorCloud:
    """Return a tilted table in metres with a block on it and with missing points, as a sensor of that habit gives it."""
    random = np.random.default_rng(3)
    rows, columns = np.indices((90, 120), dtype=np.float32)
    height = 500 + 0.2 * columns + random.normal(0, 0.05, rows.shape).astype(np.float32)
    height[30:60, 40:80] -= 12
    points = (np.stack([columns, rows, height], axis=-1) / 1000).astype(np.float32)
    lost = random.random(rows.shape) < 0.1
    points[lost] = {"nan": np.nan, "value": 0.0, "confidence": 7.0}[kind]
    points[2, 2, 1] = np.inf
    confidence = np.where(lost, np.float32(0.2), np.float32(0.9)) if kind == "confidence" else None
    value = 0.5 if kind == "confidence" else 0.0
    return SensorCloud(given=points, confidence=confidence, unit="m", invalid=Invalid(kind=kind, value=value))


@pytest.mark.parametrize("kind", ["nan", "value", "confidence"])
def test_what_is_looked_at_is_what_the_whole_has_there(kind: Kind) -> None:
    cloud = scene(kind)
    whole = cloud[:]
    assert 0.05 < np.isnan(whole[..., 0]).mean() < 0.15
    assert np.isnan(whole[2, 2]).all()
    for where in PLACES:
        np.testing.assert_array_equal(cloud[where], whole[where])


@pytest.mark.parametrize("settings", [ENLARGED, THINNED], ids=["smaller than the grid", "larger"])
@pytest.mark.parametrize("kind", ["nan", "value", "confidence"])
def test_a_part_is_found_in_it_as_in_the_whole(kind: Kind, settings: PointCloudSettings) -> None:
    cloud, rgb = scene(kind), np.random.default_rng(4).integers(0, 256, (90, 120, 3), np.uint8)
    found, expected = prepare(rgb, cloud, settings), prepare(rgb, cloud[:], settings)
    assert found.has_table and found.mask.any()
    np.testing.assert_array_equal(found.xyz, expected.xyz)
    np.testing.assert_array_equal(found.mask, expected.mask)
    assert found.invalid_point_ratio == expected.invalid_point_ratio


@pytest.mark.parametrize("confidence", [None, np.ones((5, 6), np.float32)])
def test_confidences_are_one_for_each_point(confidence: Any) -> None:
    points = np.zeros((6, 5, 3), np.float32)
    with pytest.raises(ValueError, match=r"confidence: found shape .*, expected \(6, 5\) for points marked by confidence"):
        SensorCloud(given=points, confidence=confidence, invalid=Invalid(kind="confidence"))


def test_a_confidence_that_nothing_asks_for_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected None for points marked by nan"):
        SensorCloud(given=np.zeros((6, 5, 3), np.float32), confidence=np.ones((6, 5), np.float32))


@pytest.mark.parametrize("kind", ["nan", "value", "confidence"])
def test_bits_that_make_a_processor_complain_are_a_point_that_was_not_measured(kind: Kind) -> None:
    cloud = scene(kind)
    cloud.given.view(np.uint32)[40, 60] = 0x7FA00000  # a signalling NaN, as memory that nobody has written may hold
    cloud.given[41, 61, 2] = 3e38  # which overflows in mm
    whole = cloud[:]
    assert np.isnan(whole[40, 60]).all() and np.isnan(whole[41, 61]).all()
    for where in (*PLACES, np.s_[40, 60], np.s_[41, 61]):
        np.testing.assert_array_equal(cloud[where], whole[where])


@pytest.mark.parametrize(("kind", "bytes_a_point"), [("nan", 12), ("value", 12), ("confidence", 16)])
def test_its_size_is_that_of_all_its_arrays(kind: Kind, bytes_a_point: int) -> None:
    assert scene(kind).nbytes == 90 * 120 * bytes_a_point
