"""Where a part has no point: places beside measured points that a surface could go on to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from mdss.method.grid import all_three
from mdss.method.neighbours import Tree

Float = NDArray[np.float32]
Index = NDArray[np.intp]
Bool = NDArray[np.bool_]

REACH_PX = 8  # from the nearest point; farther away nothing can be said of where a surface would be


@dataclass(frozen=True)
class Voids:
    """Pixels without a point, and the places in space that the nearest point's surface goes on to there."""

    places: Float  # (V, 3) mm
    pixels: Index  # (V,) flat index into the cloud that they are of

    @classmethod
    def of(cls, xyz: Float) -> Voids:
        """Return the voids of an organised cloud (h, w, 3) mm, NaN without a point.

        A place is the nearest pixel's point, moved on by the grid's usual step from one pixel to the next.
        """
        measured = all_three(np.isfinite(xyz))
        away, nearest = distance_transform_edt(~measured, return_indices=True)
        inside = ~measured & (away <= REACH_PX)
        rows, columns = np.nonzero(inside)
        from_rows, from_columns = nearest[0][inside], nearest[1][inside]
        down, right = pixel_steps(xyz)
        moved = (rows - from_rows)[:, None] * down + (columns - from_columns)[:, None] * right
        places = xyz[from_rows, from_columns] + moved
        return cls(places.astype(np.float32), rows * xyz.shape[1] + columns)

    @classmethod
    def nowhere(cls) -> Voids:
        """Return no voids at all."""
        return cls(np.empty((0, 3), np.float32), np.empty(0, np.intp))

    def some(self, chosen: Bool) -> Voids:
        """Return some of the voids."""
        return Voids(self.places[chosen], self.pixels[chosen])

    def within(self, centres: Float, radii: Float) -> list[Index]:
        """Return, for each ball around a centre (P, 3) with its radius (P,), which voids lie inside."""
        holders, held = Tree(self.places).within(centres, radii)
        return np.split(held, np.cumsum(np.bincount(holders, minlength=len(centres)))[:-1])


def pixel_steps(xyz: Float) -> tuple[Float, Float]:
    """Return the median step (3,) in mm from a pixel's point to that of the row below, and of the column to the right."""
    return _median_step(np.diff(xyz, axis=0)), _median_step(np.diff(xyz, axis=1))


def _median_step(steps: Float) -> Float:
    known = steps.reshape(-1, 3)
    known = known[all_three(np.isfinite(known))]
    return np.asarray(np.median(known, axis=0) if len(known) else np.zeros(3), np.float32)
