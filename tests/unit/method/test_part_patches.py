"""What is asked about a part: points in patches that hold them, missing points in patches that reach them, in the frames of these."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mdss.method.part_patches import PartPatches, Queries
from mdss.method.recipe import ShapeSettings
from mdss.method.viewing import OPTICAL_AXIS

RANDOM = np.random.default_rng(0)
POINTS = (RANDOM.uniform(-1, 1, (600, 3)) * RANDOM.choice([3, 30], (600, 1))).astype(
    np.float32
)  # dense in the middle: patches differ in size
PATCHES = PartPatches.cut(POINTS, OPTICAL_AXIS, ShapeSettings(points_per_patch=40, density=3), "cpu")
CENTRES = POINTS[PATCHES.members[:, 0]]


def asked(queries: Queries) -> set[tuple[int, int]]:
    """Return the pairs of a place and a patch; each is asked about once, in the frame of its patch."""
    pairs = list(zip(queries.pairs.places.tolist(), queries.pairs.patches.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) == len(queries.points)
    return set(pairs)


def nearest(places: NDArray[np.float32], pairs: set[tuple[int, int]], most: int) -> set[tuple[int, int]]:
    """Return of some pairs those with the `most` nearest centres of each place."""
    away = {(place, patch): float(np.linalg.norm(places[place] - CENTRES[patch])) for place, patch in pairs}
    ranked = [sorted((pair for pair in pairs if pair[0] == place), key=away.__getitem__) for place in range(len(places))]
    return {pair for some in ranked for pair in some[:most]}


@pytest.mark.parametrize("most", [1, 2, None])
def test_a_chosen_point_is_asked_about_in_the_nearest_patches_that_hold_it(most: int | None) -> None:
    chosen = torch.arange(len(POINTS)) % 3 == 0
    holding = {(int(point), patch) for patch, members in enumerate(PATCHES.members) for point in members if chosen[point]}
    queries = PATCHES.ask_points(chosen, most)
    assert asked(queries) == (nearest(POINTS, holding, most) if most else holding)
    in_frames = PATCHES.frames.to_patch(torch.from_numpy(POINTS).expand(len(CENTRES), -1, -1))
    torch.testing.assert_close(queries.points, in_frames[queries.pairs.patches, queries.pairs.places])


@pytest.mark.parametrize("most", [1, 2, None])
def test_a_missing_point_is_asked_about_in_the_nearest_patches_whose_farthest_point_is_no_nearer(most: int | None) -> None:
    places = np.random.default_rng(1).uniform(-60, 60, (300, 3)).astype(np.float32)
    radii = np.linalg.norm(POINTS[PATCHES.members] - CENTRES[:, None], axis=2).max(axis=1)
    away = np.linalg.norm(places[:, None] - CENTRES, axis=2)
    reached = {(int(place), int(patch)) for place, patch in np.argwhere(away <= radii)}
    queries = PATCHES.ask_voids(places, most)
    assert asked(queries) == (nearest(places, reached, most) if most else reached)
    assert 0 < len({place for place, _ in reached}) < len(places)
    in_frames = PATCHES.frames.to_patch(torch.from_numpy(places).expand(len(CENTRES), -1, -1))
    torch.testing.assert_close(queries.points, in_frames[queries.pairs.patches, queries.pairs.places])
