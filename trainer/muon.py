"""An optimiser whose steps are as large in every direction that a layer's weights have (Muon: Jordan et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mdss.errors import MdssError

MOMENTUM = 0.95
SIZE = 0.2  # of an element of a step, for a rate of 1: as with Adam, whose rates are taken for it (Liu et al. 2025)
NOISE = 1e-7  # of the largest square; directions below it are float32's rounding
RAISED = 1e-12  # of the largest element
FAINT = 1e-9  # of the largest element: where outputs no longer learn, momentum fades to what processors need ten times as long for
LENGTHENING, SETTLING = (3.4445, -4.7750, 2.0315), (1.875, -1.25, 0.375)  # of a length l: a l + b l^3 + c l^5
TIMES_LENGTHENED, TIMES_SETTLED = 9, 4  # from a hundred-thousandth of the whole to between 0.7 and 1.2, and from there to 1


class Muon(torch.optim.Optimizer):
    """Steps along the nearest orthogonal matrix to the momentum, which Nesterov looks ahead of.

    torch's own takes nothing but matrices and works in bfloat16; here a convolution is the matrix of its filters (C', C h w), a bias one
    of a single column, and the orthogonal matrix is exact: from the eigenvectors of the smaller side, or by iteration on a GPU, which is
    slow at these (decision 35).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": rate, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss is computed anew
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            ahead = [self._ahead(parameter) for parameter in moved]
            for parameter, step in zip(moved, orthogonal_all(ahead), strict=True):
                size = SIZE * math.sqrt(max(step.shape))
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(step.view(parameter.shape), alpha=-group["lr"] * size)

    def _ahead(self, parameter: Tensor) -> Tensor:
        """Return where the momentum is heading, as a matrix."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM).reshape(len(parameter), -1)


def orthogonal_all(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return `orthogonal` of each; on a GPU by iteration, all at once, as launching takes longer than multiplying."""
    if not matrices or not matrices[0].is_cuda:
        return [orthogonal(matrix) for matrix in matrices]
    return iterated(matrices)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return U V' of a matrix U S V' (m, n), from eigenvectors: all directions that it has, each with the length 1."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    smallest = torch.finfo(matrix.dtype).tiny
    scaled = matrix / matrix.abs().max().clamp_min(smallest)  # so that no square is too small for float32
    scaled[scaled.abs() < FAINT] = 0
    squares, directions = eigen(scaled @ scaled.T)
    least = squares[-1] * NOISE + smallest
    lengthened: Tensor = (directions * squares.clamp_min(least).rsqrt()) @ (directions.T @ scaled)
    return lengthened


def iterated(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return U V' of matrices U S V', by multiplications alone (Newton and Schulz); directions without a length stay without.

    First by the polynomial that lengthens short directions most (Jordan et al. 2024), then by the one that comes to rest at 1. All are
    one batch, filled up with zeros, which stay zeros.
    """
    lying = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    rows, columns = (max(matrix.shape[axis] for matrix in lying) for axis in (0, 1))
    found = lying[0].new_zeros(len(lying), rows, columns)
    for place, matrix in zip(found, lying, strict=True):
        place[: matrix.shape[0], : matrix.shape[1]] = matrix
    smallest = torch.finfo(found.dtype).tiny
    found = found / found.abs().amax(dim=(1, 2), keepdim=True).clamp_min(smallest)  # so that no square is too small for float32
    found = found / torch.linalg.vector_norm(found, dim=(1, 2), keepdim=True).clamp_min(smallest)
    for a, b, c in [LENGTHENING] * TIMES_LENGTHENED + [SETTLING] * TIMES_SETTLED:
        squares = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(squares, squares, squares, beta=b, alpha=c), found, beta=a)
    shaped = [each[: matrix.shape[0], : matrix.shape[1]] for each, matrix in zip(found, lying, strict=True)]
    return [each if matrix.shape[0] <= matrix.shape[1] else each.T for each, matrix in zip(shaped, matrices, strict=True)]


def eigen(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues (n,) in their order and eigenvectors (n, n) of a symmetric matrix (n, n).

    Where outputs no longer learn, their momentum fades to zeros and to numbers too small for float32. Of those it may leave some
    eigenvalues unfound, with an error or with NaN in their place. In double precision they are found, if need be of a matrix whose
    diagonal was raised by what counts for nothing.
    """
    for given in ever_surer(symmetric):
        try:
            values, vectors = torch.linalg.eigh(given)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # torch's stub lacks it
            continue
        if values.isfinite().all() and vectors.isfinite().all():
            return values.to(symmetric.dtype), vectors.to(symmetric.dtype)
    raise MdssError(f"Muon: found no eigenvectors of {len(symmetric)} outputs, expected some; a lower learning rate may help")


def ever_surer(symmetric: Tensor) -> Iterator[Tensor]:
    """Yield a symmetric matrix (n, n) in forms that eigenvectors are found of with ever more certainty, each made when it is asked for."""
    yield symmetric
    exact = symmetric.double()
    yield exact
    yield exact + RAISED * exact.abs().max() * torch.eye(len(exact), dtype=exact.dtype)
