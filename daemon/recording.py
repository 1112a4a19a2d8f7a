"""Recorded scans on disk: finds image and cloud pairs, and reads one pair or says in a sentence why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from mdss.errors import BadInput

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
CLOUD_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Recorded:
    """One pair of files; `part_id` is the folder and the file's name."""

    part_id: str
    rgb_path: Path
    xyz_path: Path


def find_pairs(directory: Path, split: str) -> list[Recorded]:
    """Return the pairs under a dataset (DIR/SPLIT/KIND/rgb), a split (DIR/KIND/rgb) or one folder (DIR/rgb), in order of name."""
    root = directory / split if (directory / split).is_dir() else directory
    folders = [root] if (root / "rgb").is_dir() else sorted(path for path in root.iterdir() if (path / "rgb").is_dir())
    pairs = [pair for folder in folders for pair in _pairs_of(folder)]
    if not pairs:
        raise BadInput(f"{directory}: found no scans, expected {split}/KIND/rgb with xyz beside it, or rgb and xyz")
    return pairs


def _pairs_of(folder: Path) -> list[Recorded]:
    images = sorted(path for path in (folder / "rgb").iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return [Recorded(f"{folder.name}/{image.stem}", image, _cloud_beside(folder, image.stem)) for image in images]


def _cloud_beside(folder: Path, stem: str) -> Path:
    found = [path for suffix in CLOUD_SUFFIXES if (path := folder / "xyz" / f"{stem}{suffix}").is_file()]
    return found[0] if found else folder / "xyz" / f"{stem}.tiff"


def read_pair(pair: Recorded) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return image and cloud, both (H, W, 3), as they were recorded."""
    rgb, xyz = _read_image(pair.rgb_path), _read_cloud(pair.xyz_path)
    if rgb.shape != xyz.shape:
        raise BadInput(f"{pair.xyz_path}: found {xyz.shape}, expected the image's shape {rgb.shape}")
    return rgb, xyz


def _read_image(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise BadInput(f"{path}: cannot be read as an image")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise BadInput(f"{path}: found {image.dtype} of shape {image.shape}, expected 8-bit RGB")
    return np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8, copy=False)


def _read_cloud(path: Path) -> NDArray[np.float32]:
    try:
        cloud = np.asarray(tifffile.imread(path))
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise BadInput(f"{path}: cannot be read as a tiff: {error}") from error
    if cloud.dtype.kind != "f" or cloud.ndim != 3 or cloud.shape[2] != 3:
        raise BadInput(f"{path}: found {cloud.dtype} of shape {cloud.shape}, expected float32 of shape (H, W, 3)")
    return cloud.astype(np.float32)
