"""Which pixels are asked about: all, or the squares of one colour on a checkerboard; the others take the mean of their neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdss.method.heat import on_grid
from mdss.method.recipe import AskedAt

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]

NEIGHBOUR_KERNEL = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)


def askable_pixels(first: int, shape: tuple[int, int], how: AskedAt) -> Bool:
    """Return which pixels of a grid may be asked about (h, w): all, or the squares of one colour, that of the pixel `first` (flat)."""
    if how == "every_pixel":
        return np.ones(shape, np.bool_)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((rows + columns + sum(divmod(first, shape[1]))) % 2 == 0)


@dataclass(frozen=True)
class AskedPixels:
    """Which of some pixels are asked about; each of the others has a neighbour that is."""

    pixels: Index  # (N,) flat indices into the grid
    chosen: Bool  # (N,) whether a pixel is asked about
    shape: tuple[int, int]  # of the grid

    @classmethod
    def of(cls, pixels: Index, wanted: Bool) -> AskedPixels:
        """Choose among pixels (N,) those that are wanted (h, w), and those without a wanted neighbour."""
        some = cls(pixels, wanted.ravel()[pixels], (wanted.shape[0], wanted.shape[1]))
        lonely = some._sum_of_neighbours(np.ones(some.chosen.sum(), np.float32)) == 0
        return cls(pixels, some.chosen | lonely, some.shape)

    def interpolated(self, values: Float) -> Float:
        """Return values for all pixels (N,), from those of the chosen ones, in their order."""
        if self.chosen.all():
            return values
        around, count = (self._sum_of_neighbours(each) for each in (values, np.ones(len(values), np.float32)))
        found = np.divide(around, count, where=~self.chosen, out=np.empty(len(self.pixels), np.float32))
        found[self.chosen] = values
        return found

    def _sum_of_neighbours(self, values: Float) -> Float:
        """Return for each pixel (N,) the sum of `values` (of the chosen pixels) over its four neighbours."""
        grid = on_grid(values, self.pixels[self.chosen], self.shape)
        return np.asarray(cv2.filter2D(grid, -1, NEIGHBOUR_KERNEL, borderType=cv2.BORDER_CONSTANT).ravel()[self.pixels], np.float32)
