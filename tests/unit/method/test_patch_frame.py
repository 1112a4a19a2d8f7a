"""A patch's frame: centred, scaled, upright, and the same however the camera stands."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.method.patch_frame import PatchFrames
from mdss.method.recipe import ShapeSettings
from mdss.method.viewing import OPTICAL_AXIS, away_from_camera, viewing_direction
from tests.plates import plate

CAMERA = ShapeSettings(frame="camera")
UPRIGHT = ShapeSettings(frame="upright")


def slab(normal: NDArray[np.float64], seed: int = 0) -> Tensor:
    """Return 200 points (1, 200, 3) of a flat patch with that normal."""
    random = np.random.default_rng(seed)
    first = np.cross(normal, [0.3, 0.9, -0.2])
    first /= np.linalg.norm(first)
    across = random.uniform(-5, 5, (200, 2)) @ np.stack([first, np.cross(normal, first)])
    return torch.from_numpy((across + normal * random.normal(0, 0.02, (200, 1)) + [10, 20, 300]).astype(np.float32))[None]


def sides(patches: Tensor) -> Tensor:
    """Return how long patches (P, K, 3) are along each axis, (P, 3)."""
    return patches.amax(dim=1) - patches.amin(dim=1)


def test_a_patch_is_centred_and_its_longest_side_becomes_one() -> None:
    patches = torch.rand((2, 30, 3), generator=torch.manual_seed(0)) * torch.tensor([[[8.0, 2, 1]], [[1, 5, 40]]])
    frames = PatchFrames.of(patches, OPTICAL_AXIS, CAMERA)
    inside = frames.to_patch(patches)
    assert np.allclose(inside.mean(dim=1), 0, atol=1e-5)
    assert np.allclose(sides(inside).amax(dim=1), 1, atol=1e-5)
    assert np.allclose(frames.lengths, sides(patches).amax(dim=1))


def test_a_fixed_scale_is_the_same_for_all_patches() -> None:
    patches = 20 * torch.rand((2, 30, 3), generator=torch.manual_seed(0))
    frames = PatchFrames.of(patches, OPTICAL_AXIS, msgspec.structs.replace(CAMERA, scale="fixed", fixed_scale_mm=4.0))
    assert frames.lengths.tolist() == [4, 4]
    assert np.allclose(sides(frames.to_patch(patches)), sides(patches) / 4, atol=1e-4)


def test_points_in_one_place_have_no_size_and_do_no_harm() -> None:
    frames = PatchFrames.of(torch.full((1, 5, 3), 7.0), OPTICAL_AXIS, UPRIGHT)
    assert frames.to_patch(torch.full((1, 5, 3), 7.0)).isfinite().all()


@pytest.mark.parametrize("normal", [(0, 0, 1), (0.6, 0, 0.8), (1, 0, 0), (0.9, 0.3, 0.31), (0, -0.8, 0.6)])
def test_an_upright_patch_lies_flat_with_its_outside_up(normal: tuple[float, float, float]) -> None:
    axis = np.array(normal) / np.linalg.norm(normal)
    patch = slab(axis)
    frames = PatchFrames.of(patch, axis, UPRIGHT)
    assert np.allclose(frames.rotations[0] @ frames.rotations[0].T, np.eye(3), atol=1e-5)
    assert np.linalg.det(frames.rotations[0]) == pytest.approx(1, abs=1e-4)
    assert sides(frames.to_patch(patch))[0, 2] < 0.05
    assert frames.to_patch(patch + torch.from_numpy(axis).float())[0, :, 2].mean() > 0.05


@pytest.mark.parametrize("normal", [(0.6, 0, 0.8), (0.8, -0.5, 0.33), (-0.8, 0.5, 0.33), (0.95, 0.2, 0.24), (-0.95, 0.2, 0.24)])
def test_an_upright_patch_is_not_turned_about_its_normal(normal: tuple[float, float, float]) -> None:
    axis = np.array(normal) / np.linalg.norm(normal)
    along = np.eye(3)[0 if abs(axis[0]) < 0.9 else 1]  # the camera's x, or its y where x is nearly the normal
    expected = along - axis * (axis @ along)
    assert np.allclose(PatchFrames.of(slab(axis), axis, UPRIGHT).rotations[0, 0], expected / np.linalg.norm(expected), atol=0.01)


def test_the_outside_of_a_patch_is_the_side_of_the_viewing_direction_however_the_patch_lies() -> None:
    axes = np.random.default_rng(0).normal(size=(100, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    for normal, view in zip(axes[:50], axes[50:], strict=True):
        outside = PatchFrames.of(slab(normal), view, UPRIGHT).rotations[0, 2].numpy()
        assert np.allclose(outside, normal * np.sign(normal @ view), atol=0.01) or abs(normal @ view) < 0.01


def test_places_are_turned_with_the_patch_they_belong_to() -> None:
    patches = torch.cat([slab(np.array([0, 0, 1.0])), slab(np.array([0.6, 0, 0.8]), 1)])
    both, second = (PatchFrames.of(each, np.array([0, 0, 1.0]), UPRIGHT) for each in (patches, patches[1:]))
    assert np.allclose(second.to_patch(patches[1:]), both.to_patch(patches)[1:])


def test_the_viewing_direction_is_the_mean_normal_and_the_optical_axis_where_there_is_none() -> None:
    assert np.allclose(viewing_direction(plate(0.5)), np.array([-0.5, 0, 1]) / np.hypot(0.5, 1), atol=1e-5)
    lone = plate()
    lone[::2] = np.nan
    assert np.array_equal(viewing_direction(lone), OPTICAL_AXIS)


@pytest.mark.parametrize("mirrored", [(1, 1, 1), (1, -1, 1), (1, -1, -1)], ids=["y down", "left-handed", "z towards the camera"])
def test_away_from_the_camera_is_where_the_distance_grows_whatever_the_axes(mirrored: tuple[int, int, int]) -> None:
    cloud = plate() * np.array(mirrored, np.float32)
    farther = cloud + 5 * away_from_camera(cloud)
    assert np.nanmin(np.linalg.norm(farther, axis=2) - np.linalg.norm(cloud, axis=2)) > 4
