"""Distils a teacher from a backbone: it learns to say of photographs what the backbone says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mdss.method.description_network import PatchDescriptionNetwork
from mdss.method.store_files import DIGEST_LENGTH
from mdss.method.teacher import load_teacher
from mdss.method.torch_device import device_of, learning_precision
from trainer.backbone import MobileNetV2Features
from trainer.backbone_target import BackboneTarget
from trainer.checkpoint import digest
from trainer.photographs import CROP_PX, Photographs
from trainer.prefetch import prefetched
from trainer.training import Schedule, Training, channels_last


@dataclass(frozen=True)
class Distillation:
    """The settings of a distillation."""

    photographs: Path
    backbone: Path
    start: str | None = None  # name or path of a teacher to start from; None: random weights
    steps: int = 3000
    batch: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    greyscale_share: float = 0.1
    statistics_batches: int = 60
    seed: int = 0
    device: str = "auto"

    def described(self, photographs: int, device: str) -> dict[str, Any]:
        """Return the settings for the card. A resumed run must share them; the device, too, because the target depends on its precision."""
        return {
            "backbone": self.backbone.name,
            "start": self.start or "random",
            "photographs": photographs,
            "steps": self.steps,
            "batch": self.batch,
            "crop_px": CROP_PX,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "device": device.partition(":")[0],
        }


def distil(settings: Distillation, checkpoint: Path, *, anew: bool = False) -> tuple[PatchDescriptionNetwork, dict[str, Any]]:
    """Return a teacher that imitates the backbone, and the details for its card.

    It continues from `checkpoint` if that exists; with `anew` it begins anew, and overwrites it once there is something to keep.
    """
    torch.manual_seed(settings.seed)
    device = device_of(settings.device)
    backbone = MobileNetV2Features.load(settings.backbone)
    photographs = Photographs(settings.photographs)
    checksums = {"backbone_checksum": digest(backbone.state_dict())[:DIGEST_LENGTH], "photographs_checksum": photographs.digest}
    described, rate = settings.described(len(photographs), device), settings.learning_rate
    network = channels_last(first_weights(settings.start)).to(device)
    schedule = Schedule("distilling", settings.steps, rate, settings.warmup_steps, settings=described | checksums)
    training = Training(network, schedule, checkpoint, anew=anew)  # refuses a checkpoint before the target's statistics take their time
    target = BackboneTarget(backbone, photographs, settings.seed, settings.statistics_batches, device)

    def crops_of(step: int) -> Tensor:
        return photographs.crops(settings.batch, settings.greyscale_share, np.random.default_rng((settings.seed, step)))

    def loss_of(crops: Tensor) -> Tensor:
        small = F.avg_pool2d(crops, 2).contiguous(memory_format=torch.channels_last)
        with learning_precision(device):
            said = network(small)
        return F.mse_loss(said.float(), target(crops))

    batches = prefetched(crops_of, range(training.step, settings.steps), device)
    training.run(lambda _: loss_of(next(batches).to(device)))
    figures = {"minutes": training.minutes, "error_of_variance_1": training.error, "variance_kept": round(target.variance_kept, 4)}
    return network.cpu().eval(), described | figures


def first_weights(start: str | None) -> PatchDescriptionNetwork:
    """Return the network to start from: with random weights, or those of an existing teacher."""
    if start is None:
        return PatchDescriptionNetwork()
    network, _ = load_teacher(start)
    return network.train().requires_grad_()
