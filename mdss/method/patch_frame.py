"""The frame that a patch is described in: its own centre as origin, its own length as unit, and its own plane level, where asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.method.recipe import ShapeSettings

SMALLEST_MM = 1e-6


@dataclass(frozen=True)
class PatchFrames:
    """The frames of patches: they turn millimetres of the camera into patch lengths."""

    centres: Tensor  # (P, 3) mm
    lengths: Tensor  # (P,) mm
    rotations: Tensor  # (P, 3, 3) rotation from the camera's axes to the patch's

    @classmethod
    def of(cls, patches: Tensor, view_direction: NDArray[np.float64], settings: ShapeSettings) -> PatchFrames:
        """Return the frames of patches (P, K, 3) mm; `view_direction` is (3,), or one for each patch.

        A frame is centred on the patch's mean and divided by its length. It keeps the camera's axes, or with 'upright' its z is the
        normal of the patch's own plane.
        """
        centres = along_points(patches).mean(dim=2)
        turns = torch.eye(3, device=patches.device).expand(len(patches), 3, 3)
        if settings.frame == "upright":
            turns = plane_rotations(patches - centres[:, None], torch.from_numpy(view_direction).to(patches.device)).float()
        return cls(centres, patch_lengths(patches, settings), turns)

    def select(self, chosen: Tensor) -> PatchFrames:
        """Return the frames of the patches with these numbers (M,), which may repeat."""
        return PatchFrames(self.centres[chosen], self.lengths[chosen], self.rotations[chosen])

    def to_patch(self, points: Tensor) -> Tensor:
        """Return points (P, Q, 3) mm in the frames of their patches, in patch lengths."""
        return ((points - self.centres[:, None]) / self.lengths[:, None, None]) @ self.rotations.transpose(1, 2)


def patch_lengths(patches: Tensor, settings: ShapeSettings) -> Tensor:
    """Return the lengths (P,) in mm of patches (P, K, 3): the largest side of the bounding box ('extent'), or one for all ('fixed')."""
    if settings.scale == "fixed":
        return torch.full((len(patches),), settings.fixed_scale_mm, device=patches.device)
    least, most = along_points(patches).aminmax(dim=2)
    return (most - least).amax(dim=1).clamp_min(SMALLEST_MM)


def along_points(patches: Tensor) -> Tensor:
    """Return patches (P, K, 3) as contiguous (P, 3, K): reducing over a long last axis is many times as fast."""
    return patches.transpose(1, 2).contiguous()


def plane_rotations(centred: Tensor, view_direction: Tensor) -> Tensor:
    """Return rotations (P, 3, 3) in float64 whose z axis is the normal of each patch's plane, on the side of the viewing direction.

    centred (P, K, 3): patches with mean 0. The x axis is the camera's x projected into the plane; the camera's y where its x is nearly
    normal to the plane.
    """
    points = centred.double()
    z = torch.linalg.eigh(points.transpose(1, 2) @ points)[1][:, :, 0]
    z = torch.where((z * view_direction).sum(dim=1, keepdim=True) < 0, -z, z)
    first, second, _ = torch.eye(3, dtype=z.dtype, device=z.device)
    axis = torch.where(z[:, :1].abs() < 0.9, first, second)
    x = torch.nn.functional.normalize(axis - z * (axis * z).sum(dim=1, keepdim=True))
    return torch.stack([x, torch.linalg.cross(z, x), z], dim=1)
