"""Patches: no point is left out, neighbours are the nearest, and scale is what the recipe says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdss.method.patches import cut_patches, farthest_points, uncovered_points

Float = NDArray[np.float32]


def sheet(count: int, seed: int = 0) -> Float:
    """Return points on a wavy sheet of 60 mm."""
    random = np.random.default_rng(seed)
    x, y = random.uniform(-30, 30, (2, count))
    return np.stack([x, y, 500 + 3 * np.sin(x / 8)], axis=1).astype(np.float32)


def clusters(count: int, seed: int) -> Float:
    """Return points in clumps of very different density, with a few far from all others."""
    random = np.random.default_rng(seed)
    middles = random.uniform(-100, 100, (5, 3))
    spread = random.choice([0.01, 1, 20], (count, 1))
    return np.asarray(middles[random.integers(5, size=count)] + random.normal(0, 1, (count, 3)) * spread, np.float32)


@settings(max_examples=60)
@given(
    count=st.integers(1, 3000),
    points_per_patch=st.integers(4, 500),
    density=st.floats(0.2, 5),
    seed=st.integers(0, 1000),
    clumped=st.booleans(),
)
def test_every_point_is_in_a_patch(count: int, points_per_patch: int, density: float, seed: int, clumped: bool) -> None:
    points = clusters(count, seed) if clumped else sheet(count, seed)
    patches = cut_patches(points, points_per_patch, density)
    assert patches.shape == (len(patches), points_per_patch)
    assert set(patches.ravel()) == set(range(count))


@pytest.mark.parametrize("points_per_patch", [2, 50, 99])
def test_points_that_lie_on_each_other_are_all_in_a_patch_and_do_not_need_one_each(points_per_patch: int) -> None:
    lattice = np.indices((4, 5, 1)).reshape(3, -1).T.astype(np.float32)
    piled = [np.repeat(each, 100, axis=0) for each in (sheet(20), lattice)]
    for points in (*piled, np.concatenate([sheet(1000), np.repeat(sheet(1), 1000, axis=0)])):
        patches = cut_patches(points, points_per_patch, 1.0)
        assert len(uncovered_points(patches, len(points))) == 0
        away = np.linalg.norm(points - points[patches[:, :1]], axis=2)  # (P, N)
        assert (np.take_along_axis(away, patches, axis=1).max(axis=1) <= np.sort(away)[:, points_per_patch - 1] * (1 + 1e-6)).all()
        assert len(patches) <= 3 * len(points) / points_per_patch


def test_a_cloud_smaller_than_a_patch_is_one_patch_that_repeats_its_points() -> None:
    (patch,) = cut_patches(sheet(7), 20, 3.0)
    assert sorted(patch[:7]) == list(range(7))
    np.testing.assert_array_equal(patch, np.resize(patch[:7], 20))


@pytest.mark.parametrize("count", [1, 80, 250])
def test_one_patch_has_the_points_nearest_its_middle_first(count: int) -> None:
    points = sheet(count)
    patch = cut_patches(points, 250, 3.0)[0]
    assert sorted(patch[:count]) == list(range(count))
    away = np.linalg.norm(points[patch[:count]] - points.mean(axis=0), axis=1)
    assert (np.diff(away) >= -1e-3).all()


def test_a_patch_holds_the_nearest_points_of_its_centre() -> None:
    points = sheet(2000)
    members = cut_patches(points, 50, 3.0)
    own = {int(patch[0]) for patch in members}
    assert len(own) == len(members)
    assert own >= set(farthest_points(points, 120).tolist())
    for patch in members:
        distances = np.linalg.norm(points - points[patch[0]], axis=1)
        assert distances[patch].max() <= np.sort(distances)[49] * (1 + 1e-6)
        assert len(set(patch)) == 50


def test_there_are_about_as_many_patches_as_the_density_asks_for() -> None:
    assert 120 <= len(cut_patches(sheet(2000), 50, 3.0)) <= 130
    assert len(cut_patches(sheet(2000), 50, 0.01)) < 120


def test_a_point_far_from_all_centres_gets_a_patch_of_its_own() -> None:
    points = np.concatenate([sheet(1000), np.full((1, 3), 400, np.float32), np.full((1, 3), -400, np.float32)])
    members = cut_patches(points, 100, 0.1)
    assert 1000 in members and 1001 in members


def test_the_same_cloud_gives_the_same_patches() -> None:
    points = sheet(1500)
    np.testing.assert_array_equal(cut_patches(points, 60, 2.0), cut_patches(points, 60, 2.0))


def test_the_next_point_is_the_farthest_from_all_before() -> None:
    points = sheet(400)
    chosen = farthest_points(points, 40)
    for i in range(1, 40):
        to_chosen = np.linalg.norm(points[:, None] - points[chosen[:i]][None], axis=2).min(axis=1)
        assert to_chosen[chosen[i]] == pytest.approx(to_chosen.max(), rel=1e-5)
    assert len(set(chosen)) == 40


def test_the_first_point_is_the_farthest_from_the_mean() -> None:
    points = np.array([[100, -50, 500], [101, -50, 500], [100, -41, 500], [100, -50, 501]], np.float32)
    assert farthest_points(points, 1).tolist() == [2]


def test_no_more_points_are_chosen_than_there_are() -> None:
    assert sorted(farthest_points(sheet(5), 12)) == [0, 1, 2, 3, 4]
