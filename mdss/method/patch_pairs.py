"""Which points and voids are asked about in which patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """Places and patches that hold them, patch by patch; a place is in several pairs where patches overlap."""

    places: Tensor  # (M,)
    patches: Tensor  # (M,)
    away: Tensor  # (M,) mm from the place to the patch's centre
    count: int  # of all places

    @classmethod
    def of_members(cls, members: Tensor, away: Tensor, count: int) -> Pairs:
        """Return the pairs of patches with these of so many points (P, K), so far from their centres (P, K)."""
        patches = torch.arange(len(members), device=members.device).repeat_interleave(members.shape[1])
        return cls(members.flatten(), patches, away.flatten(), count)

    @classmethod
    def of_places(cls, patches: Tensor, inside: Tensor, places: Tensor, centres: Tensor) -> Pairs:
        """Return the pairs of patches (M,) with these centres (P, 3) and the places (V, 3) inside them (M,)."""
        return cls(inside, patches, torch.linalg.vector_norm(places[inside] - centres[patches], dim=1), len(places))

    def some(self, chosen: Tensor) -> Pairs:
        """Return some of the pairs: a mask (M,), or their numbers."""
        return Pairs(self.places[chosen], self.patches[chosen], self.away[chosen], self.count)

    def nearest(self, most: int | None) -> Tensor:
        """Return which pairs (M,) are those of each place with the `most` nearest centres; None: all.

        Centres that are equally far away count as one, so a place may have more.
        """
        if most is None:
            return torch.ones_like(self.places, dtype=torch.bool)
        left, chosen = self.away.clone(), torch.zeros_like(self.places, dtype=torch.bool)
        for _ in range(most):
            least = left.new_full((self.count,), torch.inf).scatter_reduce_(0, self.places, left, "amin")
            now = (left == least[self.places]) & left.isfinite()
            if not now.any():
                break
            chosen |= now
            left.masked_fill_(now, torch.inf)
        return chosen
