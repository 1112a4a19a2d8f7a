"""Draws the data of one step of the shape branch: patches, queries and places near them, and what a good part has there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.method.patch_frame import PatchFrames, patch_lengths
from mdss.method.recipe import Recipe, ShapeSettings
from trainer.distributed import own_rows
from trainer.symmetries import SYMMETRIES, symmetry_matrix
from trainer.training_cloud import PatchBall, TrainingCloud

Float = NDArray[np.float32]

GOOD_SHARE = 0.4  # of the patches come from the part as it is, the others from a damaged copy
OFF_SURFACE = 0.05  # in patch lengths: a void's place is only a guess, so presence has to hold a little above and below it, too


@dataclass(frozen=True)
class Batch:
    """Questions and answers of one step; lengths are in patch lengths."""

    patches: Tensor  # (B, K, 3)
    queries: Tensor  # (B, Q, 3)
    nearest: Tensor  # (B, Q, 3) the good part's point nearest to each query
    distances: Tensor  # (B, Q) signed, to the plane of the surface there
    places: Tensor  # (B, V, 3) points and voids, whose presence is learned
    is_point: Tensor  # (B, V) 1 for points
    weights: Tensor  # (B, V) by how frequent points and voids are in the patch


@dataclass(frozen=True)
class Example:
    """One patch of a batch, in millimetres of the camera."""

    patch: Float
    queries: Float
    nearest: Float
    distances: Float
    places: Float
    is_point: Float
    weights: Float
    view_direction: NDArray[np.float64]

    def under_symmetry(self, which: int) -> Example:
        """Return the example as if the part had been recorded under this symmetry."""
        by = symmetry_matrix(which)
        points = {name: np.asarray(getattr(self, name) @ by, np.float32) for name in ("patch", "queries", "nearest", "places")}
        return replace(self, **points, view_direction=self.view_direction @ by)


def draw(clouds: Sequence[TrainingCloud], recipe: Recipe, step: int) -> Batch:
    """Return the batch of a step: patches of random parts, each with its own queries and places."""
    random = np.random.default_rng((recipe.seed, step))
    examples = own_rows([example_of(clouds[number], recipe.sdf, random) for number in random.integers(len(clouds), size=recipe.sdf.batch)])
    patches, queries, nearest, distances, places, is_point, weights, view_directions = (
        np.stack([getattr(example, name) for example in examples]) for name in Example.__dataclass_fields__
    )
    frames = PatchFrames.of(torch.from_numpy(patches), view_directions, recipe.sdf)
    inside = [frames.to_patch(torch.from_numpy(points)) for points in (patches, queries, nearest, places)]
    off, *facts = (torch.from_numpy(each.astype(np.float32)) for each in (distances, is_point, weights))
    return Batch(inside[0], inside[1], inside[2], off / frames.lengths[:, None], inside[3], facts[0], facts[1])


def example_of(cloud: TrainingCloud, settings: ShapeSettings, random: np.random.Generator) -> Example:
    """Return a random patch of a random copy of the part, with its queries, places and their answers."""
    is_good = len(cloud.copies) == 1 or random.random() < GOOD_SHARE
    copy = cloud.copies[0 if is_good else random.integers(1, len(cloud.copies))]
    ball = copy.ball(int(random.integers(len(copy.members))))
    length_mm = float(patch_lengths(torch.from_numpy(ball.patch[None]), settings))
    queries = np.asarray(_around(cloud, ball, settings, random) + _jitter(settings, random) * length_mm, np.float32)
    distances, nearest = cloud.distances(queries)
    places, is_point, weights = _places(cloud, ball, settings, random)
    off_mm = random.uniform(-OFF_SURFACE, OFF_SURFACE, (len(places), 1)) * length_mm
    places = np.asarray(places + cloud.view_direction * off_mm, np.float32)
    example = Example(ball.patch, queries, nearest, distances, places, is_point, weights, cloud.view_direction)
    return example.under_symmetry(int(random.integers(SYMMETRIES))) if settings.turned else example


def _around(cloud: TrainingCloud, ball: PatchBall, settings: ShapeSettings, random: np.random.Generator) -> Float:
    """Return points (Q, 3) mm: half of them from the patch, half from the good part's surface there."""
    half = settings.queries // 2
    own = ball.patch[random.integers(len(ball.patch), size=settings.queries - half)]
    return np.concatenate([own, cloud.points[random.choice(ball.surface, half)]])


def _jitter(settings: ShapeSettings, random: np.random.Generator) -> Float:
    """Return offsets (Q, 3) in patch lengths, in all directions; most are short, because the length is a uniform number squared."""
    directions = random.standard_normal((settings.queries, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(directions * settings.noise * random.random((settings.queries, 1)) ** 2, np.float32)


def _places(cloud: TrainingCloud, ball: PatchBall, settings: ShapeSettings, random: np.random.Generator) -> tuple[Float, Float, Float]:
    """Return as many places (V, 3) mm as queries, whether the good part has a point at each, and weights with mean 1.

    Half of the places are voids, if the patch has any.
    """
    empty = settings.queries // 2 if len(ball.voids) else 0
    filled = settings.queries - empty
    held = cloud.points[random.choice(ball.surface, filled)]
    bare = cloud.void_places[random.choice(ball.voids, empty)] if empty else np.empty((0, 3), np.float32)
    is_point = np.repeat([1.0, 0.0], [filled, empty]).astype(np.float32)
    weights = np.where(is_point > 0, len(ball.surface) / filled, len(ball.voids) / max(empty, 1))
    return np.concatenate([held, bare]), is_point, np.asarray(weights / weights.mean(), np.float32)
