"""An optimiser whose steps are as large in every direction that a layer's weights have (Muon: Jordan et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
SIZE = 0.2  # of an element of a step, for a rate of 1: as with Adam, whose rates are taken for it (Liu et al. 2025)
NOISE = 1e-7  # of the largest square; directions below it are float32's rounding


class Muon(torch.optim.Optimizer):
    """Steps along the nearest orthogonal matrix to the momentum, which Nesterov looks ahead of.

    torch's own takes nothing but matrices and works in bfloat16; here a convolution is the matrix of its filters (C', C h w), a bias one
    of a single column, and the orthogonal matrix is exact, from the eigenvectors of the smaller side.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": rate, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss is computed anew
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group["lr"], group["weight_decay"])

    def _move(self, parameter: nn.Parameter, gradient: Tensor, rate: float, weight_decay: float) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(state["momentum"], MOMENTUM).reshape(len(parameter), -1)
        step = orthogonal(ahead).view(parameter.shape)
        parameter.mul_(1 - rate * weight_decay).add_(step, alpha=-rate * SIZE * math.sqrt(max(ahead.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """Return U V' of a matrix U S V' (m, n): all directions that it has, each with the length 1."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    smallest = torch.finfo(matrix.dtype).tiny
    scaled = matrix / matrix.abs().max().clamp_min(smallest)  # so that no square is too small for float32
    squares, directions = eigen(scaled @ scaled.T)
    least = squares[-1] * NOISE + smallest
    lengthened: Tensor = (directions * squares.clamp_min(least).rsqrt()) @ (directions.T @ scaled)
    return lengthened


def eigen(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues (n,) in their order and eigenvectors (n, n) of a symmetric matrix (n, n).

    Where outputs no longer learn, their momentum fades to zeros and to numbers too small for float32. Of those it may leave some
    eigenvalues unfound, with an error or with NaN in their place; in double precision they are found.
    """
    try:
        values, vectors = torch.linalg.eigh(symmetric)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # torch's stub lacks it
        is_found = False
    else:
        is_found = bool(values.isfinite().all() and vectors.isfinite().all())
    if not is_found:
        values, vectors = torch.linalg.eigh(symmetric.double())
    return values.to(symmetric.dtype), vectors.to(symmetric.dtype)
