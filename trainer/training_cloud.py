"""What the shape branch learns from: a good part's surface, and patches of the part itself and of damaged copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mdss.method.patch_frame import patch_lengths
from mdss.method.patches import cut_patches, distances_from_centre
from mdss.method.recipe import ShapeSettings
from mdss.method.signed_distance import PartPoints
from mdss.method.viewing import viewing_direction
from mdss.method.voids import Voids
from trainer.damage import damaged_copy

Float = NDArray[np.float32]
Index = NDArray[np.intp]

NORMAL_NEIGHBOURS = 16


@dataclass(frozen=True)
class PatchBall:
    """One patch, and what of the good part lies in the ball around it."""

    patch: Float  # (K, 3) mm
    surface: Index  # numbers of the good part's points; those nearest to the patch if none is inside
    voids: Index  # numbers of the good part's voids


@dataclass(frozen=True)
class CloudCopy:
    """A part as it is, or a damaged copy of it, cut into patches."""

    points: Float  # (N, 3) mm
    members: Index  # (P, K)
    surface: list[Index]
    voids: list[Index]

    def ball(self, number: int) -> PatchBall:
        """Return one patch with its surroundings."""
        return PatchBall(self.points[self.members[number]], self.surface[number], self.voids[number])


@dataclass(frozen=True)
class TrainingCloud:
    """One good part: its surface, its voids, and its copies, of which the first is the part itself."""

    points: Float  # (N, 3) mm
    normals: Float  # (N, 3), unit length, all on the same side of the surface
    tree: cKDTree
    void_places: Float  # (V, 3) mm
    view_direction: NDArray[np.float64]  # (3,) the viewing direction
    copies: list[CloudCopy]
    lengths_mm: Float  # (P,) of the part's own patches

    @classmethod
    def of(cls, xyz: Float, settings: ShapeSettings, random: np.random.Generator) -> TrainingCloud:
        """Return surface, voids and copies of an organised cloud (S, S, 3)."""
        points, view_direction = PartPoints.of(xyz).points, viewing_direction(xyz)
        tree, voids = cKDTree(points), Voids.of(xyz)
        clouds = [xyz, *(damaged_copy(xyz, random) for _ in range(settings.damaged_copies))]
        copies = [_copy(PartPoints.of(cloud).points, tree, voids, settings) for cloud in clouds]
        lengths_mm = patch_lengths(torch.from_numpy(points[copies[0].members]), settings).numpy()
        return cls(points, normals_of(points, tree, view_direction), tree, voids.places, view_direction, copies, lengths_mm)

    def distances(self, queries: Float) -> tuple[Float, Float]:
        """Return each query's signed distance (Q,) in mm to the plane at the good part's nearest point, and that point (Q, 3)."""
        at = self.tree.query(queries)[1]
        nearest = self.points[at]
        return ((queries - nearest) * self.normals[at]).sum(axis=1), nearest


def _copy(points: Float, tree: cKDTree, voids: Voids, settings: ShapeSettings) -> CloudCopy:
    members = cut_patches(points, settings.points_per_patch, settings.training_density)
    centres, radii = points[members[:, 0]], distances_from_centre(torch.from_numpy(points[members])).amax(dim=1).numpy()
    surface = [
        np.asarray(found or tree.query(points[patch])[1], np.intp)
        for found, patch in zip(tree.query_ball_point(centres, radii), members, strict=True)
    ]
    return CloudCopy(points, members, surface, voids.within(centres, radii))


def normals_of(points: Float, tree: cKDTree, view_direction: NDArray[np.float64]) -> Float:
    """Return the unit normals (N, 3) of the planes through each point's nearest neighbours, all on the side of `view_direction`."""
    neighbours = points[tree.query(points, k=min(NORMAL_NEIGHBOURS, len(points)))[1]]
    spread = (neighbours - neighbours.mean(axis=1, keepdims=True)).astype(np.float64)
    normals = np.linalg.eigh(np.einsum("nki,nkj->nij", spread, spread))[1][:, :, 0]
    return np.where((normals @ view_direction < 0)[:, None], -normals, normals).astype(np.float32)
