"""Cuts a cloud into overlapping patches of nearest points, such that every point is in at least one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mdss.method.neighbours import neighbours_of

Float = NDArray[np.float32]
Index = NDArray[np.intp]


def cut_patches(points: Float, points_per_patch: int, density: float, device: str = "cpu") -> Index:
    """Return patches (P, K): the numbers of the K points nearest to each centre, the nearest first; about `density` of them per K points.

    points (N, 3). The centres come from farthest point sampling; more are added among uncovered points until every point is in a patch
    (paper, 4.2). A cloud of fewer than K points gives one patch around its mean, in which points are repeated.
    """
    count = len(points)
    if count <= points_per_patch:
        outwards = ((points - points.mean(axis=0)) ** 2).sum(axis=1).argsort(kind="stable")
        return np.resize(outwards, (1, points_per_patch))
    neighbours = neighbours_of(points, device)
    wanted = max(1, round(density * count / points_per_patch))
    centres = farthest_points(points, wanted)
    members = [neighbours.nearest(points[centres], points_per_patch)]
    uncovered = uncovered_points(members[0], count)
    while len(uncovered):
        more = uncovered[farthest_points(points[uncovered], 8)]
        members.append(neighbours.nearest(points[more], points_per_patch))
        for patch in np.flatnonzero((members[-1] != more[:, None]).all(axis=1)):  # where K others in the same place keep a centre out
            beside = uncovered[(points[uncovered] == points[more[patch]]).all(axis=1)][:points_per_patch]
            members[-1][patch, : len(beside)] = beside
            uncovered = np.setdiff1d(uncovered, beside)
        uncovered = np.setdiff1d(uncovered, members[-1])
    return np.concatenate(members)


def farthest_points(points: Float, count: int) -> Index:
    """Return the indices of `count` points, each the farthest from those before it. The first is the farthest from the mean."""
    count = min(count, len(points))
    chosen = np.empty(count, np.intp)
    axes = np.ascontiguousarray(points.T, np.float32)
    away, nearest = np.empty_like(axes), np.full(len(points), np.inf, np.float32)
    chosen[0] = int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmax())
    for i in range(1, count):
        np.square(np.subtract(axes, axes[:, chosen[i - 1], None], out=away), out=away)
        np.minimum(nearest, np.add(np.add(away[0], away[1], out=away[0]), away[2], out=away[0]), out=nearest)
        chosen[i] = int(nearest.argmax())
    return chosen


def uncovered_points(members: Index, count: int) -> Index:
    """Return the numbers below `count` of the points that are in none of the patches."""
    covered = np.zeros(count, bool)
    covered[members.ravel()] = True
    return np.flatnonzero(~covered)


def distances_from_centre(patches: Tensor) -> Tensor:
    """Return the distance (P, K) of each point of patches (P, K, 3) from the first of its patch."""
    return (patches - patches[:, :1]).square().sum(dim=2).sqrt()
