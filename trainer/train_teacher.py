"""Make a teacher: distil one from a backbone and photographs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mdss.method.description_network import CENTRE_PX, CHANNELS, STRIDE_PX, PatchDescriptionNetwork
from trainer.backbone import COARSE_CHANNELS, FINE_CHANNELS, MobileNetV2Features
from trainer.progress import Meter, tracked

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
CROP_PX = 128  # what the description network sees; the backbone sees the same crop at twice the size


@dataclass(frozen=True)
class Distillation:
    """How a teacher is distilled."""

    photographs: Path
    backbone: Path
    steps: int = 3000
    batch: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    greyscale_share: float = 0.1
    seed: int = 0


class Photographs:
    """A folder of photographs in memory, and random crops of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS)
        if not paths:
            raise ValueError(f"{folder}: no photographs found, expected files ending in {', '.join(IMAGE_ENDINGS)}")
        self._images = [read_photograph(p) for p in tracked(paths, "reading photographs", len(paths))]
        self._random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self._images)

    def crops(self, count: int, greyscale_share: float) -> Tensor:
        """Return `count` random crops (count, 3, 256, 256) in 0..1, some grey, light and contrast varied."""
        chosen = self._random.integers(len(self._images), size=count)
        return torch.from_numpy(np.stack([self._crop(self._images[i], greyscale_share) for i in chosen]))

    def _crop(self, image: np.ndarray, greyscale_share: float) -> np.ndarray:
        shortest = min(image.shape[:2])
        side = int(shortest * self._random.uniform(0.4, 1.0))
        top, left = (int(self._random.integers(0, n - side + 1)) for n in image.shape[:2])
        crop = cv2.resize(image[top : top + side, left : left + side], (2 * CROP_PX, 2 * CROP_PX), interpolation=cv2.INTER_LINEAR)
        values = crop.astype(np.float32) / 255
        if self._random.random() < 0.5:
            values = values[:, ::-1]
        if self._random.random() < greyscale_share:
            values = np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
        gain, gamma = self._random.uniform(0.6, 1.1), self._random.uniform(0.8, 1.25)
        return np.ascontiguousarray(np.clip(gain * values**gamma, 0, 1).transpose(2, 0, 1), dtype=np.float32)


def read_photograph(path: Path) -> np.ndarray:
    """Return an image file as (H, W, 3) uint8 RGB; ValueError names a file that is none or too small."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"{path}: not a readable image")
    if min(image.shape[:2]) < CROP_PX:
        raise ValueError(f"{path}: {image.shape[1]}x{image.shape[0]} px, expected at least {CROP_PX} on each side")
    scale = min(1.0, 3 * CROP_PX / min(image.shape[:2]))
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image


class BackboneTarget:
    """What the teacher learns to say: backbone features at its own positions, whitened to its own channels.

    Two layers (stride 8 and 16), 3 x 3 averaged, sampled at the centre of each teacher position, each channel
    normalised, projected on their leading principal components and rotated at random, so that all outputs weigh the same.
    """

    def __init__(self, backbone: MobileNetV2Features, photographs: Photographs, seed: int, batches: int = 60) -> None:
        self._backbone = backbone.eval().to(memory_format=torch.channels_last)
        rows = [self._features(photographs.crops(16, 0.1)) for _ in tracked(range(batches), "backbone statistics", batches)]
        rows = [r.permute(0, 2, 3, 1).reshape(-1, FINE_CHANNELS + COARSE_CHANNELS)[::3] for r in rows]
        features = torch.cat(rows).double()
        self._mean, self._std = features.mean(0), features.std(0).clamp_min(1e-6)
        normal = (features - self._mean) / self._std
        values, vectors = torch.linalg.eigh(normal.T @ normal / len(normal))
        kept = slice(len(values) - CHANNELS, None)
        self.explained = float(values[kept].sum() / values.sum())
        generator = torch.Generator().manual_seed(seed)
        rotation = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, generator=generator, dtype=torch.float64))[0]
        mix = vectors[:, kept] @ rotation  # (768, 384)
        mix = mix / (normal @ mix).std(0)
        self._weight = (mix / self._std[:, None]).T.float()[:, :, None, None]
        self._bias = -(self._mean / self._std @ mix).float()

    @torch.no_grad()
    def __call__(self, crops: Tensor) -> Tensor:
        """Return the target (B, 384, h, w), each channel of mean 0 and deviation 1, of crops (B, 3, 2S, 2S)."""
        return F.conv2d(self._features(crops), self._weight, self._bias)

    @torch.no_grad()
    def _features(self, crops: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            fine, coarse = self._backbone(crops.contiguous(memory_format=torch.channels_last))
        side = crops.shape[-1] // 2
        return torch.cat([sample_layer(fine.float(), 8, side), sample_layer(coarse.float(), 16, side)], 1)


def sample_layer(layer: Tensor, stride: int, side_px: int) -> Tensor:
    """Return a backbone layer of the doubled crop, averaged 3 x 3, at the centres of the PDN's positions.

    Cell k is centred on pixel stride * k + stride - 1 of the doubled crop, which is (that + 0.5) / 2 - 0.5 of the crop.
    """
    layer = F.avg_pool2d(layer, 3, 1, padding=1, count_include_pad=False)
    outputs = ((side_px - 3) // 2 - 3) // 2 - 5
    pixels = torch.arange(outputs) * STRIDE_PX + CENTRE_PX
    cells = ((pixels + 0.5) * 2 - 0.5 - (stride - 1)) / stride
    grid = (2 * cells + 1) / layer.shape[-1] - 1  # align_corners=False
    rows, columns = torch.meshgrid(grid, grid, indexing="ij")
    at = torch.stack([columns, rows], -1).expand(len(layer), -1, -1, -1)
    return F.grid_sample(layer, at, mode="bilinear", padding_mode="border", align_corners=False)


def distil(settings: Distillation, checkpoint: Path) -> tuple[PatchDescriptionNetwork, dict[str, object]]:
    """Return a teacher that imitates the backbone, and its card; continues from `checkpoint` where it exists."""
    torch.manual_seed(settings.seed)
    started = time.monotonic()
    photographs = Photographs(settings.photographs, settings.seed)
    target = BackboneTarget(MobileNetV2Features.load(settings.backbone), photographs, settings.seed)
    network = PatchDescriptionNetwork().to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate)
    errors = list(_steps(settings, photographs, target, network, optimiser, checkpoint))
    tail = errors[-100:]
    return network.eval(), {
        "kind": "distilled",
        "backbone": settings.backbone.name,
        "photographs": len(photographs),
        "steps": settings.steps,
        "batch": settings.batch,
        "crop_px": CROP_PX,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "error_of_variance_1": round(sum(tail) / max(1, len(tail)), 4),
        "variance_kept": round(target.explained, 4),
    }


def _steps(
    settings: Distillation,
    photographs: Photographs,
    target: BackboneTarget,
    network: PatchDescriptionNetwork,
    optimiser: torch.optim.Optimizer,
    checkpoint: Path,
) -> Iterator[float]:
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    with Meter("distilling", settings.steps, first) as meter:
        for step in range(first, settings.steps):
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * warm_cosine(step, settings.steps, settings.warmup_steps)
            crops = photographs.crops(settings.batch, settings.greyscale_share)
            wanted = target(crops)
            small = F.avg_pool2d(crops, 2).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                said = network(small)
            loss = F.mse_loss(said.float(), wanted)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            value = float(loss.detach())
            yield value
            meter.step(f"error {value:.3f}")
            if step % 50 == 49:
                save_checkpoint(checkpoint, {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1})


def warm_cosine(step: int, steps: int, warmup: int) -> float:
    """Return the learning-rate factor: linear to 1 over `warmup` steps, then half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def save_checkpoint(path: Path, state: dict[str, object]) -> None:
    """Write a checkpoint so that a power cut leaves the old or the new one, never half of one."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
