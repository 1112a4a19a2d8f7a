"""Which points and voids are asked about in which patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Index = NDArray[np.intp]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Places and patches that hold them, patch by patch; a place is in several pairs where patches overlap."""

    places: Index  # (M,)
    patches: Index  # (M,)
    away: Float  # (M,) mm from the place to the patch's centre

    @classmethod
    def of_members(cls, members: Index, away: Float) -> Pairs:
        """Return the pairs of patches with these points (P, K), so far from their centres (P, K)."""
        count, size = members.shape
        return cls(members.ravel(), np.repeat(np.arange(count), size), away.ravel())

    @classmethod
    def of_lists(cls, held: Sequence[Index], places: Float, centres: Float) -> Pairs:
        """Return the pairs of patches with these centres (P, 3) that each hold a list of the places (V, 3)."""
        inside, patches = np.concatenate(held), np.repeat(np.arange(len(held)), [len(each) for each in held])
        return cls(inside, patches, np.linalg.norm(places[inside] - centres[patches], axis=1))

    def some(self, chosen: Bool | Index) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.places[chosen], self.patches[chosen], self.away[chosen])

    def nearest(self, most: int | None) -> Bool:
        """Return which pairs (M,) are those of each place with the `most` nearest centres; None: all.

        Centres that are equally far away count as one, so a place may have more.
        """
        if most is None:
            return np.ones(len(self.away), np.bool_)
        left, chosen = self.away.copy(), np.zeros(len(self.away), np.bool_)
        for _ in range(most):
            least = np.full(self.places.max(initial=-1) + 1, np.inf, np.float32)
            np.minimum.at(least, self.places, left)
            now = (left == least[self.places]) & np.isfinite(left)
            if not now.any():
                break
            chosen |= now
            left[now] = np.inf
        return chosen
