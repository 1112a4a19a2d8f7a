"""The patches of one part, and the queries about its points and voids: each is asked about in the frames of patches that hold it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.method.neighbours import neighbours_of
from mdss.method.patch_frame import PatchFrames
from mdss.method.patch_pairs import PatchPairs
from mdss.method.patches import cut_patches, distances_from_centre
from mdss.method.recipe import ShapeSettings

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Queries:
    """Places that are asked about: one query for each pair of a place and a patch."""

    pairs: PatchPairs
    points: Tensor  # (M, 3) the places of the pairs, each in the frame of its patch


@dataclass(frozen=True)
class PartPatches:
    """The patches that a part's points are cut into."""

    members: Tensor  # (P, K) the numbers of each patch's points, the one in its centre first
    points: Tensor  # (P, K, 3) mm
    frames: PatchFrames
    count: int  # of the part's points

    @classmethod
    def cut(cls, points: Float, view_direction: NDArray[np.float64], settings: ShapeSettings, device: str) -> PartPatches:
        """Return the patches of a part's points (N, 3) mm, seen in this direction (3,), as tensors of a device."""
        members = torch.from_numpy(cut_patches(points, settings.points_per_patch, settings.density, device)).to(device)
        patches = torch.from_numpy(points).to(device)[members]
        return cls(members, patches, PatchFrames.of(patches, view_direction, settings), len(points))

    @cached_property
    def in_frames(self) -> Tensor:
        """The points (P, K, 3) in the frames of their patches."""
        return self.frames.to_patch(self.points)

    @cached_property
    def centre_distances(self) -> Tensor:
        """The distance (P, K) in mm of each point from the centre of its patch."""
        return distances_from_centre(self.points)

    def ask_points(self, chosen: Tensor, most: int | None) -> Queries:
        """Return the queries about the chosen points (a mask, (N,)), each in the `most` nearest of its patches; None is all of them."""
        pairs = PatchPairs.of_members(self.members, self.centre_distances, self.count)
        asked = torch.nonzero(chosen[pairs.places]).flatten()
        asked = asked[pairs.select(asked).nearest(most)]
        return Queries(pairs.select(asked), self.in_frames.flatten(0, 1)[asked])

    def ask_voids(self, places: Float, most: int | None) -> Queries:
        """Return the queries about voids at these places (V, 3) mm, each in the `most` nearest of the patches that reach it."""
        centres, device = self.points[:, 0], self.points.device
        radii = self.centre_distances.amax(dim=1)
        within = neighbours_of(places, str(device)).within(centres.cpu().numpy(), radii.cpu().numpy())
        holders, held, voids = (torch.from_numpy(each).to(device) for each in (*within, places))
        pairs = PatchPairs.of_places(holders, held, voids, centres)
        pairs = pairs.select(pairs.nearest(most))
        return Queries(pairs, self.frames.select(pairs.patches).to_patch(voids[pairs.places][:, None])[:, 0])
