"""The nearest points of a place, by a tree and by all distances: the same ones."""

from __future__ import annotations

import numpy as np
import pytest

from mdss.method import neighbours
from mdss.method.neighbours import AllPairs, Tree


@pytest.mark.parametrize("at_once", [1, 1000, 2**24])
def test_all_distances_find_the_points_that_a_tree_finds(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(neighbours, "DISTANCES_AT_ONCE", at_once)
    points = np.random.default_rng(0).normal(size=(700, 3)).astype(np.float32) + np.float32(500)
    places = points[::100]
    by_tree, by_distance = Tree(points).nearest(places, 40), AllPairs(points, "cpu").nearest(places, 40)
    assert by_tree.shape == by_distance.shape == (7, 40)
    assert by_tree.dtype == by_distance.dtype == np.intp
    assert np.array_equal(by_tree[:, 0], by_distance[:, 0])
    assert [set(row) for row in by_tree.tolist()] == [set(row) for row in by_distance.tolist()]


@pytest.mark.parametrize("at_once", [1, 1000, 2**24])
def test_both_find_the_same_points_within_a_radius_place_by_place(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(neighbours, "DISTANCES_AT_ONCE", at_once)
    points = np.random.default_rng(0).normal(size=(700, 3)).astype(np.float32) + np.float32(500)
    places, radii = points[::100], np.array([0, 0.5, 1, 2, 0.5, 9, 0.1], np.float32)
    by_tree, by_distance = (each.within(places, radii) for each in (Tree(points), AllPairs(points, "cpu")))
    assert set(zip(*by_tree, strict=True)) == set(zip(*by_distance, strict=True))
    assert len(by_tree[0]) > 700
    assert np.all(np.diff(by_tree[0]) >= 0) and np.all(np.diff(by_distance[0]) >= 0)


@pytest.mark.parametrize("of", [Tree, lambda points: AllPairs(points, "cpu")], ids=["tree", "all distances"])
def test_no_points_are_near_nothing(of: type[Tree]) -> None:
    numbers, near = of(np.empty((0, 3), np.float32)).within(np.zeros((2, 3), np.float32), np.ones(2, np.float32))
    assert numbers.shape == near.shape == (0,)
    assert numbers.dtype.kind == near.dtype.kind == "i"


@pytest.mark.parametrize("of", [Tree, lambda points: AllPairs(points, "cpu")], ids=["tree", "all distances"])
def test_the_nearest_point_alone_has_a_row_of_its_own(of: type[Tree]) -> None:
    points = np.array([[0, 0, 0], [5, 0, 0], [9, 0, 0]], np.float32)
    assert of(points).nearest(points[1:] + np.float32(0.1), 1).tolist() == [[1], [2]]
