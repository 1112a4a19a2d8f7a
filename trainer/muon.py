"""Muon, an optimiser whose steps are equally large in every direction that a layer's weights have (Jordan et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mdss.errors import MdssError

MOMENTUM = 0.95
SIZE = 0.2  # root mean square of a step at rate 1: that of Adam, so that its rates fit (Liu et al. 2025)
NOISE = 1e-7  # of the largest square: directions below it are rounding errors of float32
RAISED = 1e-12  # of the largest element, added to the diagonal
FAINT = 1e-9  # of the largest element: smaller momentum, of outputs that no longer learn, takes CPUs ten times as long
LENGTHENING, SETTLING = (3.4445, -4.7750, 2.0315), (1.875, -1.25, 0.375)  # coefficients a, b, c of a l + b l^3 + c l^5, for a length l
TIMES_LENGTHENED, TIMES_SETTLED = 9, 4  # from a hundred-thousandth of the whole to 0.7 to 1.2, and from there to 1


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonal matrix nearest to the momentum, with Nesterov's look ahead.

    torch's own Muon takes only matrices, and computes in bfloat16. Here a convolution is the matrix of its filters (C', C h w), and a
    bias a single column. The orthogonal matrix is exact: from the eigenvectors of the smaller side, or by iteration on a GPU, which is
    slow at eigenvectors (decision 35).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": rate, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss is computed again
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            ahead = [self._ahead(parameter) for parameter in moved]
            for parameter, step in zip(moved, orthogonal_all(ahead), strict=True):
                size = SIZE * math.sqrt(max(step.shape))
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(step.view(parameter.shape), alpha=-group["lr"] * size)

    def _ahead(self, parameter: Tensor) -> Tensor:
        """Return the momentum with Nesterov's look ahead, as a matrix."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM).reshape(len(parameter), -1)


def orthogonal_all(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return `orthogonal` of each matrix; on a GPU by iteration, all in one batch, because launching takes longer than multiplying."""
    if not matrices or not matrices[0].is_cuda:
        return [orthogonal(matrix) for matrix in matrices]
    return orthogonal_by_iteration(matrices)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return U V' of a matrix U S V' (m, n), from eigenvectors: all its directions, each with length 1."""
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    smallest = torch.finfo(matrix.dtype).tiny
    scaled = matrix / matrix.abs().max().clamp_min(smallest)  # so that no square underflows float32
    scaled[scaled.abs() < FAINT] = 0
    squares, directions = eigen(scaled @ scaled.T)
    least = squares[-1] * NOISE + smallest
    lengthened: Tensor = (directions * squares.clamp_min(least).rsqrt()) @ (directions.T @ scaled)
    return lengthened


def orthogonal_by_iteration(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return U V' of matrices U S V' by multiplications alone (Newton and Schulz); directions without a length stay without.

    First comes the polynomial that lengthens short directions most (Jordan et al. 2024), then one that converges to 1. All matrices are
    one batch, padded with zeros, which stay zeros.
    """
    lying = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in matrices]
    rows, columns = (max(matrix.shape[axis] for matrix in lying) for axis in (0, 1))
    found = lying[0].new_zeros(len(lying), rows, columns)
    for place, matrix in zip(found, lying, strict=True):
        place[: matrix.shape[0], : matrix.shape[1]] = matrix
    smallest = torch.finfo(found.dtype).tiny
    found = found / found.abs().amax(dim=(1, 2), keepdim=True).clamp_min(smallest)  # so that no square underflows float32
    found = found / torch.linalg.vector_norm(found, dim=(1, 2), keepdim=True).clamp_min(smallest)
    for a, b, c in [LENGTHENING] * TIMES_LENGTHENED + [SETTLING] * TIMES_SETTLED:
        squares = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(squares, squares, squares, beta=b, alpha=c), found, beta=a)
    shaped = [each[: matrix.shape[0], : matrix.shape[1]] for each, matrix in zip(found, lying, strict=True)]
    return [each if matrix.shape[0] <= matrix.shape[1] else each.T for each, matrix in zip(shaped, matrices, strict=True)]


def eigen(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues (n,), rising, and eigenvectors (n, n) of a symmetric matrix (n, n).

    If outputs no longer learn, their momentum fades to zeros and to numbers too small for float32. Then the solver may fail, or return
    NaN for some eigenvalues. In double precision it finds them, if need be after the diagonal was raised by a negligible amount.
    """
    for given in eigen_retries(symmetric):
        try:
            values, vectors = torch.linalg.eigh(given)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # torch's stub lacks it
            continue
        if values.isfinite().all() and vectors.isfinite().all():
            return values.to(symmetric.dtype), vectors.to(symmetric.dtype)
    raise MdssError(f"Muon: found no eigenvectors of {len(symmetric)} outputs, expected some; a lower learning rate may help")


def eigen_retries(symmetric: Tensor) -> Iterator[Tensor]:
    """Yield a symmetric matrix (n, n) in forms for which eigenvectors are found ever more surely; each is made only when asked for."""
    yield symmetric
    exact = symmetric.double()
    yield exact
    yield exact + RAISED * exact.abs().max() * torch.eye(len(exact), dtype=exact.dtype)
