"""Pairs of a place and a patch that holds it, and which of them have the nearest patches of their place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PatchPairs:
    """Places (points or voids) and patches that hold them. A place is in several pairs where patches overlap."""

    places: Tensor  # (M,) number of the place
    patches: Tensor  # (M,) number of the patch
    centre_distances: Tensor  # (M,) mm from the place to the patch's centre
    count: int  # of all places

    @classmethod
    def of_members(cls, members: Tensor, centre_distances: Tensor, count: int) -> PatchPairs:
        """Return the pairs of all patches with their members (P, K), out of `count` points; `centre_distances` (P, K)."""
        patches = torch.arange(len(members), device=members.device).repeat_interleave(members.shape[1])
        return cls(members.flatten(), patches, centre_distances.flatten(), count)

    @classmethod
    def of_places(cls, patches: Tensor, inside: Tensor, places: Tensor, centres: Tensor) -> PatchPairs:
        """Return the pairs of patches (M,) and the places (M,) inside them, out of all places (V, 3); centres (P, 3) are the patches'."""
        return cls(inside, patches, torch.linalg.vector_norm(places[inside] - centres[patches], dim=1), len(places))

    def select(self, chosen: Tensor) -> PatchPairs:
        """Return some of the pairs, chosen by a mask (M,) or by their numbers."""
        return PatchPairs(self.places[chosen], self.patches[chosen], self.centre_distances[chosen], self.count)

    def nearest(self, most: int | None) -> Tensor:
        """Return a mask (M,) of the pairs with the `most` nearest centres of each place; all pairs for None.

        Centres at exactly the same distance count as one, so a place may keep more pairs than that.
        """
        if most is None:
            return torch.ones_like(self.places, dtype=torch.bool)
        left, chosen = self.centre_distances.clone(), torch.zeros_like(self.places, dtype=torch.bool)
        for _ in range(most):
            least = left.new_full((self.count,), torch.inf).scatter_reduce_(0, self.places, left, "amin")
            now = (left == least[self.places]) & left.isfinite()
            if not now.any():
                break
            chosen |= now
            left.masked_fill_(now, torch.inf)
        return chosen
