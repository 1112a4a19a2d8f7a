"""Recorded scans on disk: finds pairs of image and cloud, and reads one pair or says why it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from os.path import lexists
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdss.errors import BadInput
from mdss.scans import CLOUD_SUFFIXES, IMAGE_SUFFIXES, by_stem, read_scan, without_partner
from mdss.wire.cloud import Invalid

NOT_MEASURED = Invalid(kind="value", value=0.0)  # recorded files mark a missing point as (0, 0, 0)


@dataclass(frozen=True)
class RecordedPair:
    """One pair of files; `part_id` is folder name and file stem. The path of a file that is not there ends with the stem."""

    part_id: str
    rgb_path: Path
    xyz_path: Path

    def check(self) -> None:
        """Refuse a file without its partner, as a training does."""
        if not lexists(self.xyz_path):
            raise without_partner(self.rgb_path, self.xyz_path.parent, CLOUD_SUFFIXES)
        if not lexists(self.rgb_path):
            raise without_partner(self.xyz_path, self.rgb_path.parent, IMAGE_SUFFIXES)


def find_pairs(directory: Path, split: str) -> list[RecordedPair]:
    """Return the pairs of a dataset (DIR/SPLIT/KIND/rgb), a split (DIR/KIND/rgb) or one folder (DIR/rgb), sorted by name.

    A file without its partner is among them, and refused when it is read. BadInput if there is nothing else.
    """
    root = directory / split if (directory / split).is_dir() else directory
    folders = [root] if (root / "rgb").is_dir() else sorted(path for path in root.iterdir() if (path / "rgb").is_dir())
    pairs = [pair for folder in folders for pair in _pairs_of(folder)]
    if not pairs:
        raise BadInput(f"{directory}: found no scans, expected {split}/KIND/rgb with xyz beside it, or rgb and xyz")
    if not any(lexists(pair.rgb_path) and lexists(pair.xyz_path) for pair in pairs):
        pairs[0].check()
    return pairs


def _pairs_of(folder: Path) -> list[RecordedPair]:
    rgb, xyz = folder / "rgb", folder / "xyz"
    images, clouds = by_stem(rgb, IMAGE_SUFFIXES), by_stem(xyz, CLOUD_SUFFIXES)
    stems = sorted(images.keys() | clouds.keys())
    return [RecordedPair(f"{folder.name}/{stem}", images.get(stem, rgb / stem), clouds.get(stem, xyz / stem)) for stem in stems]


def read_pair(pair: RecordedPair) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return image and cloud, both (H, W, 3), as recorded."""
    pair.check()
    rgb, xyz = read_scan(pair.rgb_path, pair.xyz_path)
    return rgb, xyz.astype(np.float32)
