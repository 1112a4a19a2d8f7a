"""A folder of photographs in memory, and random crops of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.errors import BadInput
from mdss.image_header import read_header
from mdss.method.store_files import DIGEST_LENGTH
from trainer.checkpoint import digest
from trainer.progress import tracked

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
CROP_PX = 128  # side of what the description network sees; the backbone sees the same crop at twice the size
STORED_SIDE_PX = 3 * CROP_PX  # the shorter side in memory, at most
MAX_PHOTOGRAPHS = 3000  # about 1.5 GB
MOST_PIXELS = 200_000_000  # of one photograph as it is read: 0.6 GB

Image = NDArray[np.uint8]


class Photographs:
    """The photographs of a folder and its subfolders, evenly chosen if there are very many. Hidden files and folders are skipped."""

    def __init__(self, folder: Path) -> None:
        paths = photographs_in(folder)
        self._images = [read_photograph(path) for path in tracked(paths, "reading photographs")]

    def __len__(self) -> int:
        return len(self._images)

    @property
    def digest(self) -> str:
        """Return a checksum over the pictures in their order; others give another one, another folder alone does not."""
        return digest({f"{number:04d}": torch.from_numpy(image) for number, image in enumerate(self._images)})[:DIGEST_LENGTH]

    def crops(self, count: int, greyscale_share: float, random: np.random.Generator) -> Tensor:
        """Return `count` random crops (count, 3, 256, 256) in 0..1, some of them grey, with varied light and contrast."""
        chosen = random.integers(len(self._images), size=count)
        return torch.from_numpy(np.stack([crop_of(self._images[index], greyscale_share, random) for index in chosen]))


def photographs_in(folder: Path) -> list[Path]:
    """Return the files to read, evenly chosen if there are very many. BadInput if there is none."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; expected photographs in it")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir())
    paths = sorted(path for path in found if not any(name.startswith(".") for name in path.relative_to(folder).parts))
    if not paths:
        raise BadInput(f"{folder}: no photographs found, expected files ending in {', '.join(IMAGE_SUFFIXES)}")
    return paths[:: -(-len(paths) // MAX_PHOTOGRAPHS)]


def read_photograph(path: Path) -> Image:
    """Return an image file as RGB (H, W, 3), reduced if it is large. BadInput names a file that is no image, or far too large a one."""
    try:
        encoded = path.read_bytes()  # cv2 itself ends the process over a name that is not UTF-8
        _check_fits(path, encoded)
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    except (OSError, cv2.error):
        image = None
    if image is None:
        raise BadInput(f"{path}: cannot be read as an image; expected a photograph")
    shortest = min(image.shape[:2])
    if shortest < CROP_PX:
        raise BadInput(f"{path}: found {image.shape[0]} x {image.shape[1]} px, expected at least {CROP_PX} on each side")
    scale = STORED_SIDE_PX / shortest
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8)


def _check_fits(path: Path, encoded: bytes) -> None:
    """Refuse a PNG, JPEG or TIFF that claims to be far too large, before it is decoded: its pixels could fill the memory."""
    header = read_header(encoded)
    if header is not None and header.height * header.width > MOST_PIXELS:
        found = f"found {header.height} x {header.width} px"
        raise BadInput(f"{path}: {found}, expected at most {MOST_PIXELS // 10**6} million pixels")


def crop_of(image: Image, greyscale_share: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Return a random square of a picture (H, W, 3) as (3, 256, 256) in 0..1, in another light, mirrored or grey by chance."""
    side = int(min(image.shape[:2]) * random.uniform(0.4, 1.0))
    top, left = (int(random.integers(0, length - side + 1)) for length in image.shape[:2])
    crop = cv2.resize(image[top : top + side, left : left + side], (2 * CROP_PX, 2 * CROP_PX), interpolation=cv2.INTER_LINEAR)
    values = crop.astype(np.float32) / 255
    if random.random() < 0.5:
        values = values[:, ::-1]
    if random.random() < greyscale_share:
        values = np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
    gain, gamma = random.uniform(0.6, 1.1), random.uniform(0.8, 1.25)
    return np.ascontiguousarray(np.clip(gain * values**gamma, 0, 1).transpose(2, 0, 1), dtype=np.float32)
