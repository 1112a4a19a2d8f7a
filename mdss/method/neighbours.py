"""Nearest neighbours in a cloud: a CPU searches a tree, a GPU computes all distances at once."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

Float = NDArray[np.float32]
Index = NDArray[np.intp]

TREE_OPTIONS: dict[str, Any] = {"leafsize": 64, "balanced_tree": False, "compact_nodes": False}  # builds in half the time; a grid is even
DISTANCES_AT_ONCE = 2**24  # 64 MiB of a GPU's memory; two such blocks exist at a time


class Neighbours(Protocol):
    """The points (N, 3) of one cloud, to be searched."""

    def nearest(self, places: Float, count: int) -> Index:
        """Return the numbers (M, count) of the `count` points nearest to each place (M, 3), the nearest first."""

    def within(self, places: Float, radii: Float) -> tuple[Index, Index]:
        """Return all pairs of a place (M, 3) and a point within its radius (M,): the numbers of both, place by place."""


class Tree:
    """Points in a k-d tree."""

    def __init__(self, points: Float) -> None:
        self._tree = cKDTree(points, **TREE_OPTIONS)

    def nearest(self, places: Float, count: int) -> Index:
        """Return the numbers of the nearest points."""
        return np.asarray(self._tree.query(places, k=count)[1], np.intp).reshape(len(places), count)

    def within(self, places: Float, radii: Float) -> tuple[Index, Index]:
        """Return the pairs within the radii."""
        found = self._tree.query_ball_point(places, radii)
        return np.repeat(np.arange(len(places)), [len(each) for each in found]), np.concatenate([[], *found]).astype(np.intp)


class AllPairs:
    """Points on a device that computes all distances sooner than a CPU searches a tree."""

    def __init__(self, points: Float, device: str) -> None:
        self._points = torch.from_numpy(points).to(device)

    @torch.inference_mode()
    def nearest(self, places: Float, count: int) -> Index:
        """Return the numbers of the nearest points."""
        found = [self._squares(some).topk(count, largest=False).indices for some in self._pieces(places)]
        return np.asarray(torch.cat(found).cpu().numpy(), np.intp)

    @torch.inference_mode()
    def within(self, places: Float, radii: Float) -> tuple[Index, Index]:
        """Return the pairs within the radii."""
        pieces = zip(self._pieces(places), self._pieces(radii), strict=True)
        found = torch.cat([self._squares(some) <= limits[:, None].square() for some, limits in pieces]).nonzero().cpu().numpy()
        return np.asarray(found[:, 0], np.intp), np.asarray(found[:, 1], np.intp)

    def _pieces(self, values: Float) -> tuple[Tensor, ...]:
        at_once = max(1, DISTANCES_AT_ONCE // max(1, len(self._points)))
        return torch.from_numpy(values).to(self._points.device).split(at_once)  # type: ignore[no-any-return, no-untyped-call]  # has no types

    def _squares(self, places: Tensor) -> Tensor:
        """Return the squared distances (M, N), axis by axis: torch's own exact distance took a third of a GPU's time for a part."""
        found = places.new_zeros(len(places), len(self._points))
        for here, there in zip(places.T, self._points.T, strict=True):
            found += (here[:, None] - there).square_()
        return found


def neighbours_of(points: Float, device: str) -> Neighbours:
    """Return the search over points (N, 3) that suits a device."""
    return Tree(points) if device == "cpu" else AllPairs(points, device)
