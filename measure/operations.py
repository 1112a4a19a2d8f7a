"""Counts the multiplications and additions of a branch, in eight bits and otherwise."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from mdss.method.recipe import Scores
from measure.results import Operations

WEIGHTS = 2  # position of the weights among an eight-bit operator's arguments after its input
CONVOLUTION, LINEAR = torch.ops.onednn.qconv_pointwise, torch.ops.onednn.qlinear_pointwise
IN_PLACE = torch.ops.aten.addmm_  # torch counts addmm only if its sum is a new tensor


def operations_of(action: Callable[[], object], scores_in: Scores) -> Operations:
    """Return how many billion multiplications and additions of matrices a branch's action does."""
    not_torchs = {CONVOLUTION: of_convolution, LINEAR: of_linear, IN_PLACE: of_product}
    with FlopCounterMode(display=False, custom_mapping=not_torchs) as counter:
        action()
    counts, total = counter.get_flop_counts()["Global"], counter.get_total_flops()
    int8 = sum(counts.get(operation, 0) for operation in (CONVOLUTION, LINEAR))
    return Operations(total / 1e9) if scores_in == "float" else Operations(0.0, int8 / 1e9, (total - int8) / 1e9)


def of_convolution(given: torch.Size, *others: Any, out_shape: torch.Size, **_: Any) -> int:
    """Return the operations of a convolution with an input of this shape."""
    return conv_flop_count(list(given), list(others[WEIGHTS]), list(out_shape))


def of_linear(given: torch.Size, *_: Any, out_shape: torch.Size, **__: Any) -> int:
    """Return the operations of a linear layer with an input of this shape."""
    return 2 * prod(given) * out_shape[-1]


def of_product(_: torch.Size, left: torch.Size, right: torch.Size, **__: Any) -> int:
    """Return the operations of multiplying two matrices and adding the result."""
    return 2 * prod(left) * right[-1]
