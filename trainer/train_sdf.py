"""Trains the shape branch: patches of good parts, points near their surfaces, and how far those are from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from mdss.method.patches import cut_patches, normalise
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import Recipe, ShapeSettings
from mdss.method.signed_distance import PartPoints, SignedDistanceNetwork
from mdss.method.torch_device import learning_precision
from trainer.progress import tracked
from trainer.training import Schedule, Training

Float = NDArray[np.float32]

NORMAL_NEIGHBOURS = 16
TINY = 1e-8
OPTICAL_AXIS = np.array([0.0, 0.0, 1.0])  # where no two neighbours of the grid were measured


@dataclass(frozen=True)
class TrainingCloud:
    """One part's points with the normals of its surface, and its patches."""

    points: Float  # (N, 3) mm
    normals: Float  # (N, 3), unit length, all on one side of the surface
    members: NDArray[np.intp]  # (P, K)


@dataclass(frozen=True)
class Batch:
    """Patches, points near them, and how far those points are; lengths in patch scales."""

    patches: Tensor  # (B, K, 3)
    queries: Tensor  # (B, Q, 3)
    nearest: Tensor  # (B, Q, 3) the patch's own point next to each query
    distances: Tensor  # (B, Q) signed, to the plane of the surface there


def train_shape(parts: Sequence[Prepared], recipe: Recipe, device: str, checkpoint: Path) -> tuple[SignedDistanceNetwork, Training]:
    """Return the trained network and its training; continues from the checkpoint where it exists."""
    torch.manual_seed(recipe.seed)
    settings = recipe.sdf
    network = SignedDistanceNetwork(settings).to(device)
    training = Training(
        network, Schedule("shape branch", settings.steps, settings.learning_rate, settings.warmup_steps, settings.schedule), checkpoint
    )
    chosen = parts[: settings.training_scans]
    clouds = [training_cloud(part.xyz, settings) for part in tracked(chosen, "patches", len(chosen))]
    loss = pull_loss if settings.loss == "pull" else regression_loss
    training.run(lambda step: loss(network, draw(clouds, recipe, step), device))
    return network.eval(), training


def training_cloud(xyz: Float, settings: ShapeSettings) -> TrainingCloud:
    """Return points, normals and patches of an organised cloud (S, S, 3)."""
    points = PartPoints.of(xyz).points
    return TrainingCloud(points, normals_of(points, xyz), cut_patches(points, settings.points_per_patch, settings.training_density).members)


def normals_of(points: Float, xyz: Float) -> Float:
    """Return the unit normals (N, 3): of the plane through each point's nearest neighbours, all on one side of the surface.

    The side is that of the mean normal of the grid's own cells, so the sign needs no knowledge of where the camera stands.
    """
    neighbours = points[cKDTree(points).query(points, k=min(NORMAL_NEIGHBOURS, len(points)))[1]]
    spread = (neighbours - neighbours.mean(axis=1, keepdims=True)).astype(np.float64)
    normals = np.linalg.eigh(np.einsum("nki,nkj->nij", spread, spread))[1][:, :, 0]
    cells = np.cross(np.diff(xyz, axis=1)[:-1].reshape(-1, 3), np.diff(xyz, axis=0)[:, :-1].reshape(-1, 3))
    known = cells[np.isfinite(cells).all(axis=1)]
    viewer = known.mean(axis=0) if len(known) else OPTICAL_AXIS
    return np.where((normals @ viewer < 0)[:, None], -normals, normals).astype(np.float32)


def draw(clouds: Sequence[TrainingCloud], recipe: Recipe, step: int) -> Batch:
    """Return the batch of a step: patches of random parts, each with queries around random points of its own."""
    settings, random = recipe.sdf, np.random.default_rng((recipe.seed, step))
    chosen = [clouds[number] for number in random.integers(len(clouds), size=settings.batch)]
    members = [cloud.members[random.integers(len(cloud.members))] for cloud in chosen]
    patches, _ = normalise(
        np.stack([cloud.points[each] for cloud, each in zip(chosen, members, strict=True)]), settings.scale, settings.fixed_scale_mm
    )
    normals = np.stack([cloud.normals[each] for cloud, each in zip(chosen, members, strict=True)])
    near = random.integers(patches.shape[1], size=(settings.batch, settings.queries))
    queries = np.take_along_axis(patches, near[..., None], axis=1) + noise(random, near.shape, settings.noise)
    return target(torch.from_numpy(patches), torch.from_numpy(normals), torch.from_numpy(queries))


def noise(random: np.random.Generator, shape: tuple[int, ...], largest: float) -> Float:
    """Return offsets (..., 3) in all directions, most of them short: the largest length times a uniform number squared."""
    directions = random.standard_normal((*shape, 3))
    lengths = largest * random.random(shape) ** 2
    return np.asarray(directions / np.linalg.norm(directions, axis=-1, keepdims=True) * lengths[..., None], np.float32)


def target(patches: Tensor, normals: Tensor, queries: Tensor) -> Batch:
    """Return the batch with the signed distance of each query to the plane at the patch's nearest point."""
    at = torch.cdist(queries, patches).argmin(dim=2)[..., None].expand(-1, -1, 3)
    nearest, normal = patches.gather(1, at), normals.gather(1, at)
    return Batch(patches, queries, nearest, ((queries - nearest) * normal).sum(dim=2))


def regression_loss(network: SignedDistanceNetwork, batch: Batch, device: str) -> Tensor:
    """Return the mean absolute error of the distances: the surface is seen from one side, so their sign is known."""
    with learning_precision(device):
        said: Tensor = network(batch.patches.to(device), batch.queries.to(device))
    return (said - batch.distances.to(device)).abs().mean()


def pull_loss(network: SignedDistanceNetwork, batch: Batch, device: str) -> Tensor:
    """Return how far queries land from the surface when pulled along the gradient by their distance (Neural-Pull)."""
    queries = batch.queries.to(device).requires_grad_()
    distances: Tensor = network(batch.patches.to(device), queries)
    (gradient,) = torch.autograd.grad(distances.sum(), queries, create_graph=True)
    steps = distances[..., None] * gradient / (gradient.square().sum(dim=2, keepdim=True) + TINY).sqrt()
    missed: Tensor = queries - steps - batch.nearest.to(device)
    return missed.square().sum(dim=2).add(TINY).sqrt().mean()
