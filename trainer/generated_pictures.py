"""Drawn pictures that stand in for photographs, for lines where nobody has any."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainer.photographs import Image, crop_of
from trainer.procedural_images import picture

COUNT = 300
SEED = 7  # every training sees the same pictures, whatever its own seed


class GeneratedPictures:
    """So many different pictures; each is drawn when it is first asked for, which takes 35 ms."""

    def __init__(self) -> None:
        self._drawn = dict[int, Image]()

    def crops(self, count: int, greyscale_share: float, random: np.random.Generator) -> Tensor:
        """Return `count` random crops (count, 3, 256, 256) in 0..1, as those of photographs."""
        chosen = random.integers(COUNT, size=count).tolist()
        return torch.from_numpy(np.stack([crop_of(self._picture(number), greyscale_share, random) for number in chosen]))

    def _picture(self, number: int) -> Image:
        if number not in self._drawn:
            drawn = picture(np.random.default_rng((SEED, number)))
            self._drawn[number] = (np.clip(drawn, 0, 1) * 255).round().astype(np.uint8)
        return self._drawn[number]
