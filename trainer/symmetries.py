"""The eight symmetries of a square: a patch is learned from as if its part had come mirrored, or turned by quarters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SYMMETRIES = 8  # four quarter turns, each mirrored or not; the first leaves everything as it is


def symmetry_matrix(which: int) -> NDArray[np.float64]:
    """Return a symmetry as a matrix (3, 3); points (N, 3) with the camera's x and y are multiplied by it from the right.

    From 4 on x is mirrored first; then both are turned by `which` quarters.
    """
    mirrored = np.diag([-1.0 if which >= SYMMETRIES // 2 else 1.0, 1.0, 1.0])
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(mirrored @ np.linalg.matrix_power(quarter, which % 4), np.float64)
