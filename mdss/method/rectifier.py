"""The rectifier and the maximum over points, as fast as a processor can be where nothing is learned.

Floats are compared as whole numbers with the same bits: negative floats are negative whole numbers, and the others keep their order. A
processor compares 16-bit whole numbers in a quarter of the time of bfloat16, and takes the maximum of 32-bit ones in two thirds of the
time of float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WHOLE_NUMBERS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}


def rectify(values: Tensor) -> Tensor:
    """Set negative values to 0, in place, and return the tensor."""
    if values.dtype is torch.bfloat16 and can_be_compared_as_bits(values):
        values.view(torch.int16).clamp_min_(0)
        return values
    return F.relu(values, inplace=True)


def max_over_points(features: Tensor) -> Tensor:
    """Return the maximum (P, C) over the points of patches (P, K, C), none negative, in the fastest way on this device."""
    if can_be_compared_as_bits(features):
        return features.view(WHOLE_NUMBERS[features.dtype]).amax(dim=1).view(features.dtype)
    if features.is_cuda:
        return features.amax(dim=1)  # pooling took a third of a GPU's time for a part
    return F.adaptive_max_pool1d(features.transpose(1, 2), 1).squeeze(2)  # its gradient takes a tenth of the time of that of `amax`


def can_be_compared_as_bits(values: Tensor) -> bool:
    """Whether the values are on a CPU and need no gradient, which whole numbers do not have."""
    return values.dtype in WHOLE_NUMBERS and values.device.type == "cpu" and not torch.is_grad_enabled()
