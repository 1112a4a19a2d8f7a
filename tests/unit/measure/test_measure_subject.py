"""Sizes as people write them, and the same part on a sensor of another size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mdss.errors import BadInput, ModelRefused
from mdss.scan_files import write_scan
from measure.subject import Scan, Size, subject_of_store

ROWS, COLUMNS = np.indices((100, 80), dtype=np.float32)
SCAN = Scan(np.stack([ROWS, COLUMNS, COLUMNS], axis=-1).astype(np.uint8), np.stack([COLUMNS, ROWS, np.ones_like(ROWS)], axis=-1))


def test_a_size_is_height_and_width() -> None:
    assert Size.parse("1600x1200") == Size(1600, 1200)
    assert str(Size(1600, 1200)) == "1600x1200"


@pytest.mark.parametrize("text", ["400", "400x", "x400", "400 x 400", "63x400", "400x2001", "-400x400"])
def test_a_size_that_no_station_takes_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"HEIGHTxWIDTH with 64 to 2000"):
        Size.parse(text)


def test_a_scan_at_its_own_size_is_itself() -> None:
    same = SCAN.at(Size(100, 80))
    assert np.array_equal(same.xyz, SCAN.xyz) and np.array_equal(same.rgb, SCAN.rgb)


@pytest.mark.parametrize("size", [Size(200, 160), Size(50, 40), Size(200, 200), Size(64, 128)])
def test_at_another_size_points_stay_what_was_measured_and_the_middle_stays_the_middle(size: Size) -> None:
    scan = SCAN.at(size)
    assert scan.rgb.shape == scan.xyz.shape == (size.height, size.width, 3)
    assert scan.xyz.dtype == np.float32
    x, y, z = np.moveaxis(scan.xyz, -1, 0)
    assert np.array_equal(x, np.rint(x)) and np.array_equal(y, np.rint(y)) and (z == 1).all()
    assert abs(float(x.mean()) - 39.5) <= 1 and abs(float(y.mean()) - 49.5) <= 1
    assert np.abs(scan.rgb[..., 0] - y).max() <= 2 and np.abs(scan.rgb[..., 1] - x).max() <= 2


def test_nothing_is_stretched() -> None:
    x, y, _ = np.moveaxis(SCAN.at(Size(200, 200)).xyz, -1, 0)
    assert np.ptp(x) == np.ptp(y) == 79


def test_a_store_without_the_model_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    for kind in ("rgb", "xyz"):
        (tmp_path / "test" / "good" / kind).mkdir(parents=True)
    write_scan(tmp_path / "test/good/rgb/000.png", SCAN.rgb, tmp_path / "test/good/xyz/000.tiff", SCAN.xyz)
    with pytest.raises(ModelRefused, match="nowhere/gland/champion: no such model; expected one made by `mdss train"):
        subject_of_store(tmp_path / "nowhere", "gland", tmp_path, "mm")
