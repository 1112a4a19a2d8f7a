"""The eight symmetries of a square: a part that may come at any angle is learned from as if it had come at others, too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SYMMETRIES = 8  # four quarter turns, each mirrored or not; the first leaves everything as it is


def apply_symmetry(pixels: NDArray[Any], which: int) -> NDArray[Any]:
    """Return a view of an image (..., S, S) under a symmetry: mirrored from 4 on, then turned by `which` quarters."""
    return np.rot90(pixels[..., ::-1] if which >= SYMMETRIES // 2 else pixels, which, axes=(-2, -1))


def symmetry_matrix(which: int) -> NDArray[np.float64]:
    """Return the same symmetry as a matrix (3, 3); points (N, 3) with the camera's x and y are multiplied by it from the right."""
    mirrored = np.diag([-1.0 if which >= SYMMETRIES // 2 else 1.0, 1.0, 1.0])
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(mirrored @ np.linalg.matrix_power(quarter, which % 4), np.float64)
