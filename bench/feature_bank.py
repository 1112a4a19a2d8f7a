"""A memory bank of the teacher's descriptions, like PatchCore's of a backbone's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.memory_bank import BYTES_PER_MB, MemoryBank
from mdss.method.description_network import STRIDE_PX
from mdss.method.heat import blurred
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import ColourSettings, Recipe
from mdss.method.student_teacher import WEIGHTS, StudentTeacher, Window, enlarge, window_pixels
from mdss.method.weights import read_weights
from trainer.progress import tracked

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

BLUR_PX = 4.0


@dataclass(frozen=True)
class Describer:
    """The teacher of a model, with its channel statistics."""

    networks: StudentTeacher
    settings: ColourSettings
    device: str

    @classmethod
    def load(cls, folder: Path, recipe: Recipe, device: str) -> Describer:
        """Return the teacher of a model folder."""
        networks = StudentTeacher(recipe.rgb)
        read_weights(networks, folder / WEIGHTS)
        return cls(networks.eval().to(device), recipe.rgb, device)

    @property
    def size_mb(self) -> float:
        """Return the size in MB of what a bank needs of the model: the teacher and its statistics, without the student."""
        kept: list[Tensor] = [*self.networks.teacher.state_dict().values(), self.networks.mean, self.networks.deviation]
        return sum(int(tensor.nbytes) for tensor in kept) / BYTES_PER_MB

    @torch.inference_mode()
    def describe(self, rgb: Image, mask: Bool) -> tuple[Float, Bool]:
        """Return the normalised descriptions (N, 384) of the cells on the mask, and the mask of these cells (S/4, S/4)."""
        cells = mask[::STRIDE_PX, ::STRIDE_PX]
        window = Window.around(mask, len(cells))
        described = self.networks.describe(window_pixels(window, rgb, self.settings.border, self.device))[0].cpu().numpy()
        inside = cells[window.top : window.top + window.height, window.left : window.left + window.width]
        return np.ascontiguousarray(described[:, inside].T), cells


@dataclass(frozen=True)
class FeatureBank:
    """Scores an image by the distance of its descriptions from those of good parts."""

    describer: Describer
    bank: MemoryBank

    @classmethod
    def fit(cls, describer: Describer, parts: Sequence[Prepared], share: float) -> FeatureBank:
        """Build the bank from good parts."""
        described = (describer.describe(part.rgb, part.mask)[0] for part in tracked(parts, "feature bank"))
        return cls(describer, MemoryBank.of(described, len(parts), share, describer.device))

    @property
    def size_mb(self) -> float:
        """Return the size in MB of bank and teacher, which have to be kept."""
        return self.bank.size_mb + self.describer.size_mb

    def map_of(self, part: Prepared) -> Float:
        """Return the distance to the nearest entry at each pixel (S, S), enlarged and blurred like a colour map."""
        described, cells = self.describer.describe(part.rgb, part.mask)
        found = np.zeros(cells.shape, np.float32)
        found[cells] = self.bank.distances(described)
        heat = enlarge(found)
        heat[~part.mask] = 0
        return blurred(heat, BLUR_PX)
