"""Scans on disk: other programs read them, bit for bit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mdss import scan_files
from mdss.scan_files import png, write_scan


@pytest.mark.parametrize("shape", [(64, 64, 3), (97, 131, 3), (1, 5, 3), (50, 33)])
def test_other_programs_read_an_image_as_it_was(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    read = np.asarray(cv2.imdecode(np.frombuffer(png(image), np.uint8), cv2.IMREAD_UNCHANGED))
    np.testing.assert_array_equal(read if image.ndim == 2 else cv2.cvtColor(read, cv2.COLOR_BGR2RGB), image)


@pytest.mark.parametrize("strip_bytes", [1, 64 * 12 * 7, 1 << 20], ids=["a row a strip", "strips that leave a rest", "one strip"])
def test_other_programs_read_a_cloud_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strip_bytes: int) -> None:
    monkeypatch.setattr(scan_files, "STRIP_BYTES", strip_bytes)
    cloud = np.random.default_rng(1).normal(0, 100, (80, 64, 3)).astype(np.float32)
    cloud[3:9, 5:30] = np.nan
    write_scan(tmp_path / "rgb.png", np.zeros((80, 64, 3), np.uint8), tmp_path / "xyz.tiff", cloud)
    assert tifffile.imread(tmp_path / "xyz.tiff").tobytes() == cloud.tobytes()
    by_opencv = cv2.imread(str(tmp_path / "xyz.tiff"), cv2.IMREAD_UNCHANGED)
    assert by_opencv is not None
    np.testing.assert_array_equal(cv2.cvtColor(by_opencv, cv2.COLOR_BGR2RGB), cloud)
