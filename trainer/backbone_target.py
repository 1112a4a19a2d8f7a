"""What a distilled teacher learns: backbone features at its own positions, whitened and projected to its number of channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mdss.method.description_network import CENTRE_PX, CHANNELS, STRIDE_PX, positions
from mdss.method.torch_device import learning_precision
from trainer.backbone import COARSE_STRIDE_PX, FINE_STRIDE_PX, MobileNetV2Features
from trainer.photographs import Photographs
from trainer.progress import tracked
from trainer.training import channels_last

STATISTICS_CROPS = 16
STATISTICS_GREYSCALE_SHARE = 0.1
EVERY_POSITION = 3  # neighbouring positions are nearly the same


class BackboneTarget:
    """Two backbone layers as one target of 384 channels, each with mean 0 and deviation 1.

    The layers of stride 8 and 16 are averaged 3 x 3, sampled at the centres of the teacher's positions, normalised, projected on their
    leading principal components and rotated at random, so that all outputs weigh the same.
    """

    def __init__(self, backbone: MobileNetV2Features, photographs: Photographs, seed: int, batches: int, device: str = "cpu") -> None:
        self._backbone, self._device = channels_last(backbone.eval()).to(device), device
        features = torch.cat(list(self._samples(photographs, seed, batches))).double()  # (N, 768)
        mean, std = features.mean(0), features.std(0).clamp_min(1e-6)
        normal = (features - mean) / std
        values, vectors = torch.linalg.eigh(normal.T @ normal / len(normal))
        self.variance_kept = float(values[-CHANNELS:].sum() / values.sum())
        generator = torch.Generator().manual_seed(seed)
        rotation = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, generator=generator, dtype=torch.float64))[0]
        mix = vectors[:, -CHANNELS:] @ rotation  # (768, 384)
        mix = mix / (normal @ mix).std(0)
        self._weight = (mix / std[:, None]).T.float()[:, :, None, None].to(device)
        self._bias = -(mean / std @ mix).float().to(device)

    @torch.no_grad()
    def __call__(self, crops: Tensor) -> Tensor:
        """Return the target (B, 384, h, w) of crops (B, 3, 2S, 2S) that the teacher sees as (B, 3, S, S)."""
        return F.conv2d(self._features(crops), self._weight, self._bias)

    def _samples(self, photographs: Photographs, seed: int, batches: int) -> Iterator[Tensor]:
        random = np.random.default_rng(seed)
        for _ in tracked(range(batches), "backbone statistics"):
            features = self._features(photographs.crops(STATISTICS_CROPS, STATISTICS_GREYSCALE_SHARE, random))
            yield features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])[::EVERY_POSITION].cpu()

    @torch.no_grad()
    def _features(self, crops: Tensor) -> Tensor:
        with learning_precision(self._device):
            fine, coarse = self._backbone(crops.to(self._device, memory_format=torch.channels_last))
        side_px = crops.shape[-1] // 2
        sampled = sample_layer(fine.float(), FINE_STRIDE_PX, side_px), sample_layer(coarse.float(), COARSE_STRIDE_PX, side_px)
        return torch.cat(sampled, 1)


def sample_layer(layer: Tensor, stride_px: int, side_px: int) -> Tensor:
    """Return a backbone layer of the doubled crop, averaged 3 x 3, at the centres of the teacher's positions.

    Cell k is centred on pixel stride * k + stride - 1 of the doubled crop, which is (that + 0.5) / 2 - 0.5 of the crop. All
    positions lie so far inside that none meets the edge of a layer.
    """
    layer = F.avg_pool2d(layer, 3, 1, padding=1)
    pixels = torch.arange(positions(side_px)) * STRIDE_PX + CENTRE_PX
    cells = ((pixels + 0.5) * 2 - 0.5 - (stride_px - 1)) / stride_px
    grid = (2 * cells + 1) / layer.shape[-1] - 1  # align_corners=False
    rows, columns = torch.meshgrid(grid, grid, indexing="ij")
    at = torch.stack([columns, rows], -1).to(layer.device).expand(len(layer), -1, -1, -1)
    return F.grid_sample(layer, at, mode="bilinear", align_corners=False)
