"""Which points of a cloud are near a place: asked of a tree by a processor, of all points at once by a GPU."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

Float = NDArray[np.float32]
Index = NDArray[np.intp]

QUICKLY: dict[str, Any] = {"leafsize": 64, "balanced_tree": False, "compact_nodes": False}  # built in half the time; a grid is even
DISTANCES_AT_ONCE = 2**24  # 64 MiB of a GPU's memory, and two of these at a time


class Neighbours(Protocol):
    """The points of one cloud."""

    def nearest(self, places: Float, count: int) -> Index:
        """Return the numbers of so many points, those nearest each of the places (M, 3), nearest first: (M, count)."""

    def within(self, places: Float, radii: Float) -> tuple[Index, Index]:
        """Return all pairs of one of the places (M, 3) and a point within its radius (M,): both their numbers, place by place."""


class Tree:
    """Points in a tree."""

    def __init__(self, points: Float) -> None:
        self._tree = cKDTree(points, **QUICKLY)

    def nearest(self, places: Float, count: int) -> Index:
        """Return the numbers of the nearest points."""
        return np.asarray(self._tree.query(places, k=count)[1], np.intp).reshape(len(places), count)

    def within(self, places: Float, radii: Float) -> tuple[Index, Index]:
        """Return the pairs within the radii."""
        found = self._tree.query_ball_point(places, radii)
        return np.repeat(np.arange(len(places)), [len(each) for each in found]), np.concatenate([[], *found]).astype(np.intp)


class AllPairs:
    """Points on a device that measures all distances sooner than a processor finds its way down a tree."""

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
        """Return the squared distances (M, N), axis by axis: torch's own, with every digit, took a third of a GPU's time for a part."""
        found = places.new_zeros(len(places), len(self._points))
        for here, there in zip(places.T, self._points.T, strict=True):
            found += (here[:, None] - there).square_()
        return found


def neighbours_of(points: Float, device: str) -> Neighbours:
    """Return what a device asks of these points (N, 3)."""
    return Tree(points) if device == "cpu" else AllPairs(points, device)
