"""A memory bank of FPFH descriptions of the cloud: the half of BTF (Horwitz and Hoshen, 2023) that looks at shape.

BTF averages over cells of 8 pixels and leaves the sign of normals to chance. Here each pixel is described by itself, and normals face one
way: both were measured to be more accurate, and a peer should be as good as it can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bench.memory_bank import BYTES_PER_MB, MemoryBank
from mdss.errors import BadInput
from mdss.method.grid import is_measured
from mdss.method.heat import blurred
from mdss.method.point_cloud import Prepared
from mdss.method.viewing import viewing_direction
from trainer.progress import tracked

Float = NDArray[np.float32]

# BTF's radii of 100 and 250 mm, in pixels of its grid: so wide that the limits on neighbours decide.
NORMAL_RADIUS_PX, NORMAL_NEIGHBOURS = 200.0, 30
FEATURE_RADIUS_PX, FEATURE_NEIGHBOURS = 500.0, 100
BLUR_PX = 4.0


def require_open3d() -> None:
    """Raise BadInput, which says how to install it, if open3d is missing."""
    try:
        import open3d  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise BadInput(
            f"FPFH needs open3d: {error}; expected it to be installed by `pip install -e '.[peers]'`, or leave FPFH out with --without-fpfh"
        ) from error


def describe(xyz: Float, pitch_mm: float) -> Float:
    """Return FPFH (N, 33) of the measured points of a cloud (S, S, 3), in the order of its pixels."""
    import open3d

    def near(radius_px: float, most: int) -> object:
        return open3d.geometry.KDTreeSearchParamHybrid(radius=radius_px * pitch_mm, max_nn=most)

    points = xyz[is_measured(xyz)].astype(np.float64)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cloud.estimate_normals(near(NORMAL_RADIUS_PX, NORMAL_NEIGHBOURS))
    cloud.orient_normals_to_align_with_direction(viewing_direction(xyz))
    found = open3d.pipelines.registration.compute_fpfh_feature(cloud, near(FEATURE_RADIUS_PX, FEATURE_NEIGHBOURS))
    return np.asarray(found.data.T, np.float32)


def pitch_of(parts: Sequence[Prepared]) -> float:
    """Return the median distance in mm between neighbours in a row of the grid."""
    steps = [np.linalg.norm(np.diff(part.xyz, axis=1), axis=2) for part in parts]
    return float(np.median(np.concatenate([step[np.isfinite(step)] for step in steps])))


@dataclass(frozen=True)
class FpfhBank:
    """Scores a cloud by the distance of its descriptions from those of good parts."""

    entries: cKDTree  # twice as fast as all distances: FPFH fills few of its dimensions
    pitch_mm: float

    @classmethod
    def fit(cls, parts: Sequence[Prepared], share: float) -> FpfhBank:
        """Build the bank from good parts."""
        pitch_mm = pitch_of(parts)
        described = (describe(part.xyz, pitch_mm) for part in tracked(parts, "FPFH bank"))
        return cls(cKDTree(MemoryBank.of(described, len(parts), share).entries.numpy()), pitch_mm)

    @property
    def size_mb(self) -> float:
        """Return the size in MB of the entries in float32, which have to be kept; the tree is built from them."""
        return float(self.entries.data.astype(np.float32).nbytes / BYTES_PER_MB)

    def map_of(self, part: Prepared) -> Float:
        """Return the distance to the nearest entry at each pixel (S, S) with a point, blurred; 0 elsewhere."""
        heat = np.zeros(part.xyz.shape[:2], np.float32)
        heat[is_measured(part.xyz)] = self.entries.query(describe(part.xyz, self.pitch_mm))[0]
        return blurred(heat, BLUR_PX)
