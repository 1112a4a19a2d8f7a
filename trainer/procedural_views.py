"""Pairs of crops of generated pictures: the same place twice, with slightly different light, noise and focus."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from trainer.procedural_images import picture
from trainer.procedural_textures import SIDE_PX, Float

CROP_PX = 64  # what the network sees: 8 x 8 positions
JITTER_PX = 1  # largest shift between the two crops of a pair, from the middle


def pairs(pictures: int, crops: int, random: np.random.Generator) -> Tensor:
    """Return first and second views (2, pictures * crops, 3, 64, 64) in 0..1 of random places in new pictures."""
    places = [place for _ in range(pictures) for place in _places(picture(random), crops, random)]
    views = [[view(place, random) for place in places] for _ in range(2)]
    return torch.from_numpy(np.asarray(views, np.float32)).permute(0, 1, 4, 2, 3)


def view(place: Float, random: np.random.Generator) -> Float:
    """Return a crop (64, 64, 3) of a place that is a little larger, with its own light and noise."""
    top, left = random.integers(0, 2 * JITTER_PX + 1, 2)
    seen = place[top : top + CROP_PX, left : left + CROP_PX]
    if random.random() < 0.5:
        seen = np.asarray(cv2.GaussianBlur(seen, (0, 0), random.uniform(0.2, 0.8)), np.float32)
    gain = random.uniform(0.8, 1.2) * random.uniform(0.97, 1.03, 3)
    seen = (gain * seen ** random.uniform(0.85, 1.18) + random.normal(0, 0.03)).astype(np.float32)
    noise = random.standard_normal(seen.shape, np.float32) * np.float32(random.exponential(0.012))
    return np.asarray(np.clip(seen + noise, 0, 1), np.float32)


def _places(whole: Float, crops: int, random: np.random.Generator) -> list[Float]:
    side = CROP_PX + 2 * JITTER_PX
    corners = random.integers(0, SIDE_PX - side + 1, (crops, 2))
    places = [whole[top : top + side, left : left + side] for top, left in corners]
    return [np.rot90(place, int(random.integers(4))) for place in places]
