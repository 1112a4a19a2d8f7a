"""Makes a teacher from generated pictures alone: it learns to recognise each place and to tell it from every other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mdss.method.description_network import CHANNELS, PatchDescriptionNetwork, positions
from mdss.method.torch_device import learning_precision
from trainer.procedural_views import CROP_PX, pairs
from trainer.progress import tracked_stream
from trainer.training import Schedule, Training, channels_last

TEMPERATURE = 0.1
TOO_NEAR = 2  # in positions: patches of 33 px closer than this are almost the same and need not be told apart
DECORRELATION = 1.0  # weight of the channels' independence beside the contrast
STATISTICS_PICTURES, STATISTICS_CROPS = 16, 2  # of each batch: many pictures say more than many positions of a few


@dataclass(frozen=True)
class Procedure:
    """The settings of a procedural teacher."""

    steps: int = 800
    pictures: int = 4
    crops: int = 16  # of each picture: then colours alone do not tell places apart
    places: int = 12  # of each crop's 64 positions, in each step
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    statistics_batches: int = 16
    seed: int = 0


def make_procedural(settings: Procedure, checkpoint: Path, *, anew: bool = False) -> tuple[PatchDescriptionNetwork, dict[str, Any]]:
    """Return a teacher that has seen no photograph, and details for its card.

    It continues from `checkpoint` if that exists; with `anew` it begins anew, and overwrites it once there is something to keep.
    """
    torch.manual_seed(settings.seed)
    network = channels_last(PatchDescriptionNetwork())
    rate, described = settings.learning_rate, asdict(settings)
    schedule = Schedule("procedural teacher", settings.steps, rate, settings.warmup_steps, settings=described)
    training = Training(network, schedule, checkpoint, anew=anew)
    training.run(lambda step: loss_of(network, settings, np.random.default_rng((settings.seed, step))))
    network.eval()
    standardise(network, tracked_stream(_statistics(settings), "channel statistics", settings.statistics_batches))
    figures = {"crop_px": CROP_PX, "minutes": training.minutes, "loss": training.error}
    return network, described | figures


def loss_of(network: PatchDescriptionNetwork, settings: Procedure, random: np.random.Generator) -> Tensor:
    """Return a step's loss: how badly places are recognised, and how much channels repeat each other."""
    first, second = describe(network, pairs(settings.pictures, settings.crops, random))  # (N, P, 384) each
    chosen = torch.from_numpy(np.stack([random.permutation(first.shape[1])[: settings.places] for _ in first]))
    own = chosen[..., None].expand(-1, -1, CHANNELS)
    contrast = contrast_of(first.gather(1, own).flatten(0, 1), second.gather(1, own).flatten(0, 1), pairs_too_near(chosen))
    return contrast + DECORRELATION * redundancy(first.flatten(0, 1), second.flatten(0, 1))


def describe(network: PatchDescriptionNetwork, views: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features (N, P, 384) of both views at their P positions, each channel with mean 0 and deviation 1 over all of them."""
    images = views.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    with learning_precision("cpu"):
        features = network(images)
    features = features.float().flatten(2).transpose(1, 2)  # (2 N, P, 384)
    normal = (features - features.mean((0, 1))) / (features.std((0, 1)) + 1e-4)
    first, second = normal.chunk(2)
    return first, second


def contrast_of(first: Tensor, second: Tensor, ignored: Tensor) -> Tensor:
    """Return the cross-entropy of finding each place (M, 384) among all places of the other view, in both directions, over ln M."""
    likeness = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / TEMPERATURE  # (M, M)
    likeness = likeness.masked_fill(ignored, -math.inf)
    own = torch.arange(len(likeness))
    return (F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / (2 * math.log(len(likeness)))


def pairs_too_near(chosen: Tensor) -> Tensor:
    """Return which pairs (M, M) of chosen positions (N, K) are two places of one crop, too near to be told apart."""
    side = positions(CROP_PX)
    crop = torch.arange(len(chosen)).repeat_interleave(chosen.shape[1])
    row, column = chosen.flatten() // side, chosen.flatten() % side
    steps = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    return (crop[:, None] == crop) & (steps < TOO_NEAR) & (steps > 0)


def redundancy(first: Tensor, second: Tensor) -> Tensor:
    """Return the root mean square of the correlations between different channels of two views (N, 384)."""
    correlation = first.T @ second / len(first)
    others = correlation - torch.diag(torch.diag(correlation))
    return (others.square().sum() / (CHANNELS * (CHANNELS - 1)) + 1e-8).sqrt()


@torch.no_grad()
def standardise(network: PatchDescriptionNetwork, batches: Iterable[Tensor]) -> None:
    """Scale the last layer so that each channel has mean 0 and deviation 1 over all images (B, 3, H, W) of the batches."""
    seen = []
    for images in batches:
        with learning_precision("cpu"):
            features = network(images.contiguous(memory_format=torch.channels_last))
        seen.append(features.permute(0, 2, 3, 1).flatten(0, 2).double())
    mean, deviation = torch.cat(seen).mean(0), torch.cat(seen).std(0).clamp_min(1e-6)
    state = network.state_dict()
    state["conv4.weight"] = state["conv4.weight"] / deviation[:, None, None, None].float()
    state["conv4.bias"] = ((state["conv4.bias"] - mean) / deviation).float()
    network.load_state_dict(state)


def _statistics(settings: Procedure) -> Iterator[Tensor]:
    for batch in range(settings.statistics_batches):
        random = np.random.default_rng((settings.seed, settings.steps, 1 + batch))  # no training step has drawn these
        yield pairs(STATISTICS_PICTURES, STATISTICS_CROPS, random)[0]
