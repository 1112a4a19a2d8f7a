"""The frame that a patch is described in: its own centre, its own length, and, if asked for, upright on its own plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdss.method.grid import all_three
from mdss.method.recipe import ShapeSettings

Float = NDArray[np.float32]

OPTICAL_AXIS = np.array([0.0, 0.0, 1.0])  # where no two neighbours of the grid were measured
SMALLEST_MM = 1e-6


def viewing_direction(xyz: Float) -> NDArray[np.float64]:
    """Return the mean unit normal (3,) of the grid's own cells, so that no sign needs to know where the camera stands.

    xyz (S, S, 3) mm, NaN without a point.
    """
    cells = np.cross(np.diff(xyz, axis=1)[:-1].reshape(-1, 3), np.diff(xyz, axis=0)[:, :-1].reshape(-1, 3))
    known = cells[all_three(np.isfinite(cells))]
    mean = known.mean(axis=0, dtype=np.float64) if len(known) else OPTICAL_AXIS
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length > 0 else OPTICAL_AXIS, np.float64)


def away_from_camera(xyz: Float) -> NDArray[np.float64]:
    """Return the viewing direction (3,) of a cloud in the camera's coordinates, on the side on which the camera, at (0, 0, 0), is not."""
    direction = viewing_direction(xyz)
    return direction * np.copysign(1.0, np.nanmean(xyz.reshape(-1, 3), axis=0, dtype=np.float64) @ direction)


@dataclass(frozen=True)
class PatchFrames:
    """Where each patch's frame stands: what turns millimetres of the camera into patch lengths."""

    centres: Float  # (P, 3) mm
    lengths: Float  # (P,) mm
    turns: Float  # (P, 3, 3), from the camera's axes to the patch's

    @classmethod
    def of(cls, patches: Float, towards: NDArray[np.float64], settings: ShapeSettings) -> PatchFrames:
        """Return the frames of patches (P, K, 3) mm that were seen along `towards`, (3,) or one for each patch.

        Centred on the mean and divided by its length; with the camera's axes, or turned so that the normal of the patch's
        plane is z ('upright').
        """
        centres = along_points(patches).mean(axis=2)
        turns = np.broadcast_to(np.eye(3), (len(patches), 3, 3))
        if settings.frame == "upright":
            turns = upright(patches - centres[:, None], towards)
        return cls(centres, patch_lengths(patches, settings), turns.astype(np.float32))

    def of_each(self, chosen: NDArray[np.intp]) -> PatchFrames:
        """Return the frames of these patches (M,), as often as they are named."""
        return PatchFrames(self.centres[chosen], self.lengths[chosen], self.turns[chosen])

    def into(self, points: Float) -> Float:
        """Return points (P, Q, 3) mm in their patches' frames, in patch lengths."""
        centred = (points - self.centres[:, None]) / self.lengths[:, None, None]
        return np.asarray(centred @ self.turns.transpose(0, 2, 1), np.float32)


def patch_lengths(patches: Float, settings: ShapeSettings) -> Float:
    """Return the lengths (P,) in mm of patches (P, K, 3): the largest side of the box ('extent'), or one for all ('fixed')."""
    if settings.scale == "fixed":
        return np.full(len(patches), settings.fixed_scale_mm, np.float32)
    return np.asarray(np.ptp(along_points(patches), axis=2).max(axis=1).clip(SMALLEST_MM), np.float32)


def along_points(patches: Float) -> Float:
    """Return patches (P, K, 3) as (P, 3, K): numpy reduces a long last axis ten times as fast as one before an axis of three."""
    return np.ascontiguousarray(patches.transpose(0, 2, 1))


def upright(centred: Float, towards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotations (P, 3, 3) whose z is the normal of each patch's plane, on the side of the viewing direction.

    centred (P, K, 3) have mean 0. x is the camera's x as far as the plane allows, or its y where that stands upright.
    """
    points = centred.astype(np.float64)
    z = np.linalg.eigh(points.transpose(0, 2, 1) @ points)[1][:, :, 0]
    z = np.where((z * towards).sum(axis=1, keepdims=True) < 0, -z, z)
    axis = np.where(np.abs(z[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    x = axis - z * (axis * z).sum(axis=1, keepdims=True)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=1)
