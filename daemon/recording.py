"""Recorded scans on disk: finds pairs of image and cloud, and reads one pair or says why it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdss.errors import BadInput
from mdss.scans import CLOUD_SUFFIXES, IMAGE_SUFFIXES, by_stem, read_scan
from mdss.wire.cloud import Invalid

NOT_MEASURED = Invalid(kind="value", value=0.0)  # recorded files mark a missing point as (0, 0, 0)


@dataclass(frozen=True)
class RecordedPair:
    """One pair of files; `part_id` is folder name and file stem."""

    part_id: str
    rgb_path: Path
    xyz_path: Path


def find_pairs(directory: Path, split: str) -> list[RecordedPair]:
    """Return the pairs of a dataset (DIR/SPLIT/KIND/rgb), a split (DIR/KIND/rgb) or one folder (DIR/rgb), sorted by name."""
    root = directory / split if (directory / split).is_dir() else directory
    folders = [root] if (root / "rgb").is_dir() else sorted(path for path in root.iterdir() if (path / "rgb").is_dir())
    pairs = [pair for folder in folders for pair in _pairs_of(folder)]
    if not pairs:
        raise BadInput(f"{directory}: found no scans, expected {split}/KIND/rgb with xyz beside it, or rgb and xyz")
    return pairs


def _pairs_of(folder: Path) -> list[RecordedPair]:
    images, clouds = by_stem(folder / "rgb", IMAGE_SUFFIXES), by_stem(folder / "xyz", CLOUD_SUFFIXES)
    return [
        RecordedPair(f"{folder.name}/{stem}", image, clouds.get(stem, folder / "xyz" / f"{stem}.tiff")) for stem, image in images.items()
    ]


def read_pair(pair: RecordedPair) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return image and cloud, both (H, W, 3), as recorded."""
    rgb, xyz = read_scan(pair.rgb_path, pair.xyz_path)
    return rgb, xyz.astype(np.float32)
