"""The dynamic loss: the student learns only from the elements that it gets most wrong (paper, eq. 1)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def dynamic_factor(progress: float, first: float, last: float) -> float:
    """Return d of the paper's eq. 1 at `progress` (0 to 1): it goes from `first` to `last` along half a cosine."""
    return last + 0.5 * (first - last) * (1 + math.cos(math.pi * progress))


def dynamic_loss(distances: Tensor, factor: float, domain: str = "batch", zeros: int = 0) -> Tensor:
    """Return the mean of the elements strictly above the d-quantile (paper, eq. 1), over the batch or image by image.

    distances: D (x) M (B, C, h, w). The background's zeros belong to it; `zeros` says how many per image were left out and are counted
    all the same. If nothing lies above the quantile, the loss is 0. Unlike torch.quantile, this has no limit on the number of elements.
    """
    if domain == "image":
        return torch.stack([dynamic_loss(each[None], factor, zeros=zeros) for each in distances]).mean()
    threshold = quantile(distances.detach().flatten(), factor, zeros * len(distances))
    is_easy = distances <= threshold  # NaN is not easy, so it stays in the sum and the loss becomes NaN
    return torch.where(is_easy, 0, distances).sum() / is_easy.logical_not().sum().clamp_min(1)


def quantile(values: Tensor, factor: float, zeros: int) -> Tensor:
    """Return the quantile `factor` of values (N,), none negative, and `zeros` more zeros; interpolated linearly, as torch.quantile does."""
    count = len(values) + zeros
    position = factor * (count - 1)
    below = math.floor(position)
    above = count - 1 - below
    top = F.pad(top_ascending(values, above + 1), (max(0, above + 1 - len(values)), 0))
    return torch.lerp(top[0], top[1], position - below) if above else top[0]


def top_ascending(values: Tensor, most: int) -> Tensor:
    """Return the `most` highest of values (N,) in rising order; all of them if there are fewer."""
    most = min(most, len(values))
    if values.is_cuda:
        return values.topk(most).values.flip(0)
    return torch.from_numpy(np.sort(values.numpy())[len(values) - most :])  # sorting all takes a tenth of the time of torch's `topk`
