"""The shape branch: a network that knows a patch's surface as good parts have it, and how far the scan's points lie from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mdss.method.heat import blurred
from mdss.method.patches import Patches, cut_patches, normalise
from mdss.method.recipe import Recipe, ShapeSettings
from mdss.method.weights import read_weights

Float = NDArray[np.float32]

WEIGHTS = "sdf.safetensors"
PATCHES_AT_ONCE = 32
MIN_WEIGHT = 0.1  # of the blur's reach: with less of it measured, a pixel has no value
LAST_LAYER_DEVIATION = 0.01  # an open surface starts near distance 0 everywhere, not as a sphere


def exactly(layer: nn.Module, values: Tensor) -> Tensor:
    """Apply a layer in float32, whatever precision surrounds it: coordinates and distances need more than eight bits."""
    with torch.autocast(values.device.type, enabled=False):
        result: Tensor = layer(values.float())
        return result


class Waves(nn.Module):
    """Coordinates and their sines and cosines at doubling frequencies: what lets a small network see sharp edges."""

    frequencies: Tensor

    def __init__(self, octaves: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.pi * 2.0 ** torch.arange(octaves), persistent=False)
        self.width = 3 + 6 * octaves

    def forward(self, points: Tensor) -> Tensor:
        """Return (..., 3 + 6 octaves) features of points (..., 3)."""
        angles = (points[..., None, :] * self.frequencies[:, None]).flatten(-2)
        return torch.cat([points, angles.sin(), angles.cos()], dim=-1)


class PointEncoder(nn.Module):
    """PointNet: one multilayer perceptron for every point, the maximum over all points, one code."""

    def __init__(self, inlet: int, widths: tuple[int, ...], code: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inner, outer) for inner, outer in zip((inlet, *widths[:-1]), widths, strict=True))
        self.code = nn.Linear(widths[-1], code)

    def forward(self, points: Tensor) -> Tensor:
        """Return the codes (P, C) of the features of patches (P, K, F)."""
        first, *others = self.layers
        points = F.relu(exactly(first, points))
        for layer in others:
            points = F.relu(layer(points))
        return exactly(self.code, points.amax(dim=1))


class SignedDistanceNetwork(nn.Module):
    """Point encoder and distance network (paper, 3.2): the signed distance of any point to a patch's surface.

    The first layer's half for the code is computed once per patch, the half for the point once per point; together they
    are one layer on both, side by side.
    """

    def __init__(self, settings: ShapeSettings) -> None:
        super().__init__()
        self.waves = Waves(settings.octaves)
        self.encoder = PointEncoder(self.waves.width, settings.encoder, settings.code)
        self.from_code = nn.Linear(settings.code, settings.width)
        self.from_point = nn.Linear(self.waves.width, settings.width, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(settings.width, settings.width) for _ in range(settings.depth - 1))
        self.last = nn.Linear(settings.width, 1)
        nn.init.normal_(self.last.weight, std=LAST_LAYER_DEVIATION)
        nn.init.zeros_(self.last.bias)

    def forward(self, patches: Tensor, queries: Tensor) -> Tensor:
        """Return the signed distances (P, Q) of queries (P, Q, 3) to the surfaces of patches (P, K, 3)."""
        code = self.encoder(self.waves(patches))
        x = F.relu(exactly(self.from_code, code)[:, None] + exactly(self.from_point, self.waves(queries)))
        for layer in self.hidden:
            x = F.relu(layer(x))
        return exactly(self.last, x).squeeze(-1)


@dataclass(frozen=True)
class PartPoints:
    """The points of one part and the pixels they came from."""

    points: Float  # (N, 3) mm
    pixels: NDArray[np.intp]  # (N,) flat index into the (S, S) grid

    @classmethod
    def of(cls, xyz: Float) -> PartPoints:
        """Take every finite point of an organised cloud (S, S, 3)."""
        flat = xyz.reshape(-1, 3)
        pixels = np.flatnonzero(np.isfinite(flat).all(axis=1))
        return cls(np.ascontiguousarray(flat[pixels], np.float32), pixels)


def merge(distances: Float, patches: Patches, count: int, overlap: str) -> Float:
    """Return one distance (N,) for every point of the cloud from those of all patches it is in (P, K)."""
    members, values = patches.members.ravel(), distances.ravel()
    if overlap == "mean":
        return (np.bincount(members, values, count) / np.bincount(members, minlength=count)).astype(np.float32)
    merged = np.full(count, np.inf, np.float32)
    np.minimum.at(merged, members, values)
    return merged


def to_map(values: Float, pixels: NDArray[np.intp], size: int, settings: ShapeSettings) -> Float:
    """Return the points' values on the grid (S, S), blurred; pixels without a point count as 0, or take the mean of those around.

    The highest value may stay as it was before the blur, so that it is the branch's score.
    """
    heat = on_grid(values, pixels, size)
    soft = spread(heat, pixels, settings)
    return np.where(heat == heat.max(), np.maximum(heat, soft), soft) if settings.keep_peak else soft


def spread(heat: Float, pixels: NDArray[np.intp], settings: ShapeSettings) -> Float:
    """Return the blurred map; `pixels` are those with a measured point."""
    if settings.missing == "zero" or not settings.blur_px:
        return blurred(heat, settings.blur_px)
    weight = blurred(on_grid(np.ones(len(pixels), np.float32), pixels, len(heat)), settings.blur_px)
    return np.where(weight > MIN_WEIGHT, blurred(heat, settings.blur_px) / weight.clip(MIN_WEIGHT), 0).astype(np.float32)


def on_grid(values: Float, pixels: NDArray[np.intp], size: int) -> Float:
    """Return values at their pixels (S, S), 0 elsewhere."""
    flat = np.zeros(size * size, np.float32)
    flat[pixels] = values
    return flat.reshape(size, size)


def counted(distances: Tensor, sign: str) -> Float:
    """Return how far points are off the surface: on either side of it, or on one alone."""
    sided = distances.abs() if sign == "both" else (distances if sign == "positive" else -distances).clamp_min(0)
    return np.asarray(sided.cpu().numpy(), np.float32)


class ShapeBranch:
    """A trained signed distance network that scores one prepared cloud at a time."""

    def __init__(self, network: SignedDistanceNetwork, settings: ShapeSettings, device: str) -> None:
        self._network, self._settings, self._device = network.eval().to(device), settings, device

    @classmethod
    def load(cls, folder: Path, recipe: Recipe, device: str) -> ShapeBranch:
        """Return the branch of a model folder; ModelRefused names the file that does not fit."""
        network = SignedDistanceNetwork(recipe.sdf)
        read_weights(network, folder / WEIGHTS)
        return cls(network, recipe.sdf, device)

    def score_map(self, xyz: Float) -> Float:
        """Return how far each pixel's point lies from the surface that good parts would have there, (S, S).

        xyz (S, S, 3) mm, NaN without a point. Every point is queried in every patch it is in (paper, 3.2); lengths are in
        patch scales, or mm where the recipe says so.
        """
        part = PartPoints.of(xyz)
        patches = cut_patches(part.points, self._settings.points_per_patch, self._settings.density)
        distances = self.distances(part.points[patches.members])
        values = merge(distances, patches, len(part.points), self._settings.overlap)
        return to_map(values, part.pixels, xyz.shape[0], self._settings)

    @torch.inference_mode()
    def distances(self, patches: Float) -> Float:
        """Return the distance (P, K), not negative, of the points of patches (P, K, 3) in mm to their own patch's surface."""
        normal, lengths = normalise(patches, self._settings.scale, self._settings.fixed_scale_mm)
        chunks = torch.split(torch.from_numpy(normal), PATCHES_AT_ONCE)
        found = np.concatenate(
            [counted(self._network(chunk, chunk), self._settings.sign) for chunk in (c.to(self._device) for c in chunks)]
        )
        return found * lengths[:, None] if self._settings.score_unit == "mm" else found
