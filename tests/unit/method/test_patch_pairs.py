"""Pairs of places and patches: those with the nearest centres, and no place without one."""

from __future__ import annotations

import numpy as np
import torch

from mdss.method.patch_pairs import PatchPairs
from mdss.method.patches import cut_patches, distances_from_centre


def test_of_all_patches_that_hold_a_place_those_with_the_nearest_centres_are_chosen() -> None:
    away = torch.tensor([9.0, 3, 1, 2, 5, 5, 7])
    pairs = PatchPairs(torch.tensor([0, 1, 1, 1, 2, 2, 2]), torch.tensor([0, 0, 1, 2, 0, 1, 2]), away, 3)
    assert pairs.nearest(1).tolist() == [True, False, True, False, True, True, False]  # as far away as each other: both
    assert pairs.nearest(2).tolist() == [True, False, True, True, True, True, True]
    assert pairs.nearest(3).all() and pairs.nearest(None).all()


def test_no_places_are_no_pairs() -> None:
    nothing = torch.empty(0).long()
    pairs = PatchPairs.of_places(nothing, nothing, torch.empty(0, 3), torch.zeros(2, 3))
    assert pairs.nearest(2).shape == pairs.nearest(None).shape == (0,)


def test_places_inside_patches_become_pairs_with_their_distances() -> None:
    places, centres = torch.tensor([[0.0, 0, 0], [3, 4, 0]]), torch.tensor([[0.0, 0, 0], [9, 9, 9], [3, 4, 2]])
    pairs = PatchPairs.of_places(torch.tensor([0, 0, 2]), torch.tensor([0, 1, 1]), places, centres)
    assert (pairs.places.tolist(), pairs.patches.tolist(), pairs.centre_distances.tolist()) == ([0, 1, 1], [0, 0, 2], [0, 5, 2])


def test_every_point_of_a_cloud_keeps_its_nearest_patches() -> None:
    points = np.random.default_rng(0).uniform(0, 30, (900, 3)).astype(np.float32)
    members = cut_patches(points, 50, 3.0)
    pairs = PatchPairs.of_members(torch.from_numpy(members), distances_from_centre(torch.from_numpy(points[members])), len(points))
    kept = pairs.select(pairs.nearest(2))
    in_all, in_kept = (np.bincount(each.places, minlength=900) for each in (pairs, kept))
    assert np.array_equal(in_kept, np.minimum(in_all, 2))
    for place in (0, 123, 899):
        distances = np.sort(np.linalg.norm(points[members[:, 0]][pairs.patches[pairs.places == place]] - points[place], axis=1))
        assert np.allclose(np.sort(kept.centre_distances[kept.places == place]), distances[:2], rtol=1e-5)
