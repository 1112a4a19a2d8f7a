"""The rectifier and the maximum behind it, as quick as a processor can be where nothing is learned.

The bits of a negative number are those of a negative whole number, and the bits of the others have the numbers' own order: a processor
compares whole numbers of 16 bits in a quarter of the time of bfloat16, those of 32 in two thirds of the time of float32's maximum.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WHOLE_NUMBERS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}


def rectify(values: Tensor) -> Tensor:
    """Return what is not negative of the values and 0 for the others, written over them."""
    if values.dtype is torch.bfloat16 and can_be_compared_as_bits(values):
        values.view(torch.int16).clamp_min_(0)
        return values
    return F.relu(values, inplace=True)


def highest(features: Tensor) -> Tensor:
    """Return the maximum (P, C) over the points of patches (P, K, C), of which none is negative, in the way that the device is quick at."""
    if can_be_compared_as_bits(features):
        return features.view(WHOLE_NUMBERS[features.dtype]).amax(dim=1).view(features.dtype)
    if features.is_cuda:
        return features.amax(dim=1)  # a pooling took a third of a GPU's time for a part
    return F.adaptive_max_pool1d(features.transpose(1, 2), 1).squeeze(2)  # goes backwards in a tenth of the time of `amax`


def can_be_compared_as_bits(values: Tensor) -> bool:
    """Whether a processor has these and learns nothing from them: whole numbers have no gradient."""
    return values.dtype in WHOLE_NUMBERS and values.device.type == "cpu" and not torch.is_grad_enabled()
