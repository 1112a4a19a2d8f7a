"""The dynamic loss: a student learns from what it knows least well (paper, eq. 1)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def dynamic_factor(progress: float, first: float, last: float) -> float:
    """Return d of the paper's eq. 1, from `first` to `last` along half a cosine; progress runs from 0 to 1."""
    return last + 0.5 * (first - last) * (1 + math.cos(math.pi * progress))


def dynamic_loss(distances: Tensor, factor: float, domain: str = "batch", zeros: int = 0) -> Tensor:
    """Return the mean of the elements strictly above the d-quantile (paper, eq. 1), over the batch or image by image.

    distances: D (x) M (B, C, h, w), the zeros of the background included, or so many more of them counted for each image. The quantile
    interpolates linearly, as torch.quantile does, but has no limit on the number of elements. Where nothing lies above, the loss is 0.
    """
    if domain == "image":
        return torch.stack([dynamic_loss(each[None], factor, zeros=zeros) for each in distances]).mean()
    threshold = quantile(distances.detach().flatten(), factor, zeros * len(distances))
    is_easy = distances <= threshold  # what is no number is not, and the loss says so
    return torch.where(is_easy, 0, distances).sum() / is_easy.logical_not().sum().clamp_min(1)


def quantile(values: Tensor, factor: float, zeros: int) -> Tensor:
    """Return the quantile of values (N,), none of which is negative, and so many zeros; between two of them on the line."""
    count = len(values) + zeros
    position = factor * (count - 1)
    below = math.floor(position)
    above = count - 1 - below
    top = F.pad(highest_in_order(values, above + 1), (max(0, above + 1 - len(values)), 0))
    return torch.lerp(top[0], top[1], position - below) if above else top[0]


def highest_in_order(values: Tensor, most: int) -> Tensor:
    """Return the highest of values (N,), so many or all, in rising order."""
    most = min(most, len(values))
    if values.is_cuda:
        return values.topk(most).values.flip(0)
    return torch.from_numpy(np.sort(values.numpy())[len(values) - most :])  # sorts all in a tenth of the time of torch's `topk`
