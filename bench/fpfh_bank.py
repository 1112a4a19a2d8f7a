"""A memory bank of FPFH descriptions of the cloud: the half of BTF (Horwitz and Hoshen, 2023) that looks at shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.memory_bank import MemoryBank
from mdss.errors import BadInput
from mdss.method.heat import blurred
from mdss.method.patch_frame import viewing_direction
from mdss.method.point_cloud import Prepared
from trainer.progress import tracked

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

# BTF: radii of 2 and 5 voxels with at most 30 and 100 neighbours. Its voxel of 50 mm reaches over the whole part, so that the counts
# decide; here a voxel is two pixels, in which the counts decide on an even surface, and nothing across a step counts as near.
VOXEL_PX = 2.0
NORMAL_VOXELS, NORMAL_NEIGHBOURS = 2.0, 30
FEATURE_VOXELS, FEATURE_NEIGHBOURS = 5.0, 100
CELL_PX = 4
BLUR_PX = 4.0
CHANNELS = 33


def require_open3d() -> None:
    """Raise BadInput with the way to install it where open3d is missing."""
    try:
        import open3d  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise BadInput(
            f"FPFH needs open3d: {error}; expected it to be installed by `pip install -e '.[peers]'`, or leave FPFH out with --without-fpfh"
        ) from error


def describe(xyz: Float, pitch_mm: float) -> Float:
    """Return FPFH (N, 33) of the points of a cloud (S, S, 3), NaN without one, in the order of its pixels."""
    import open3d

    def near(voxels: float, most: int) -> object:
        return open3d.geometry.KDTreeSearchParamHybrid(radius=voxels * VOXEL_PX * pitch_mm, max_nn=most)

    points = xyz[np.isfinite(xyz).all(axis=2)].astype(np.float64)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cloud.estimate_normals(near(NORMAL_VOXELS, NORMAL_NEIGHBOURS))
    cloud.orient_normals_to_align_with_direction(viewing_direction(xyz))
    found = open3d.pipelines.registration.compute_fpfh_feature(cloud, near(FEATURE_VOXELS, FEATURE_NEIGHBOURS))
    return np.asarray(found.data.T, np.float32)


def pitch_of(parts: Sequence[Prepared]) -> float:
    """Return the median distance between neighbours in a row of the grid, millimetres."""
    steps = [np.linalg.norm(np.diff(part.xyz, axis=1), axis=2) for part in parts]
    return float(np.median(np.concatenate([step[np.isfinite(step)] for step in steps])))


def cells_of(described: Float, has_point: Bool) -> tuple[Float, Bool]:
    """Return the mean description (M, 33) of the points in each cell that has any, and which cells (S/4, S/4) these are."""
    side = len(has_point) // CELL_PX
    rows, columns = np.nonzero(has_point)
    cell = (rows // CELL_PX) * side + columns // CELL_PX
    counts = np.bincount(cell, minlength=side * side)
    sums = np.stack([np.bincount(cell, channel, side * side) for channel in described.T], axis=1)
    held = counts > 0
    return (sums[held] / counts[held, None]).astype(np.float32), held.reshape(side, side)


@dataclass(frozen=True)
class FpfhBank:
    """Scores a cloud by how far its descriptions are from all that good parts showed."""

    bank: MemoryBank
    pitch_mm: float

    @classmethod
    def fit(cls, parts: Sequence[Prepared], share: float, device: str) -> FpfhBank:
        """Remember good parts."""
        pitch_mm = pitch_of(parts)
        described = (_described(part.xyz, pitch_mm)[0] for part in tracked(parts, "FPFH bank", len(parts)))
        return cls(MemoryBank.of(described, len(parts), share, device), pitch_mm)

    @property
    def size_mb(self) -> float:
        """Return how much has to be kept."""
        return self.bank.size_mb

    def score_map(self, xyz: Float) -> Float:
        """Return the distance to the nearest entry at each pixel (S, S) with a point, blurred; 0 elsewhere."""
        described, cells = _described(xyz, self.pitch_mm)
        found = np.zeros(cells.shape, np.float32)
        found[cells] = self.bank.distances(described)
        heat = np.asarray(cv2.resize(found, xyz.shape[:2], interpolation=cv2.INTER_LINEAR), np.float32)
        heat[~np.isfinite(xyz).all(axis=2)] = 0
        return blurred(heat, BLUR_PX)


def _described(xyz: Float, pitch_mm: float) -> tuple[Float, Bool]:
    return cells_of(describe(xyz, pitch_mm), np.isfinite(xyz).all(axis=2))
