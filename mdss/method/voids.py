"""Voids: pixels without a point near the part, and the places in space where the surface beside them would go on."""

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

REACH_PX = 8  # from the nearest point; farther away nobody can say where a surface would be


@dataclass(frozen=True)
class Voids:
    """Pixels without a point, and for each the place in space to which the nearest point's surface would go on."""

    places: Float  # (V, 3) mm
    pixels: Index  # (V,) flat indices into the cloud

    @classmethod
    def of(cls, xyz: Float) -> Voids:
        """Return the voids of an organised cloud (h, w, 3) mm, NaN without a point.

        A void's place is the nearest measured point, moved by the cloud's median step per pixel.
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
    def empty(cls) -> Voids:
        """Return no voids at all."""
        return cls(np.empty((0, 3), np.float32), np.empty(0, np.intp))

    def select(self, chosen: Bool) -> Voids:
        """Return the voids of a mask (V,)."""
        return Voids(self.places[chosen], self.pixels[chosen])

    def within(self, centres: Float, radii: Float) -> list[Index]:
        """Return for each ball, with its centre (P, 3) and radius (P,), the numbers of the voids inside."""
        holders, held = Tree(self.places).within(centres, radii)
        return np.split(held, np.cumsum(np.bincount(holders, minlength=len(centres)))[:-1])


def pixel_steps(xyz: Float) -> tuple[Float, Float]:
    """Return the median steps (3,) in mm from a pixel's point to the one in the row below, and to the one in the column to the right."""
    return _median_step(np.diff(xyz, axis=0)), _median_step(np.diff(xyz, axis=1))


def _median_step(steps: Float) -> Float:
    known = steps.reshape(-1, 3)
    known = known[all_three(np.isfinite(known))]
    return np.asarray(np.median(known, axis=0) if len(known) else np.zeros(3), np.float32)
