"""Finds the table that a part lies on: the plane of the image's border strip, with next to nothing behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mdss.method.grid import Cloud, is_measured
from mdss.method.recipe import PointCloudSettings
from mdss.method.viewing import viewing_direction

Float = NDArray[np.float32]
Points = NDArray[np.float64]  # (N, 3) mm
Real = NDArray[np.floating]

PLANES_AT_ONCE = 16  # their distances then fit into a core's cache
MIN_STRIP_POINTS, MOST_STRIP_POINTS = 50, 3000
MIN_STRIP_SHARE = 0.1  # of the strip's pixels: with fewer measured, nothing is known of what lies at the border
MIN_INLIER_SHARE = 0.4  # of the strip's points: with fewer on the plane, it is no table
CLEAR_SHARE = 0.8  # of the strip's points: with this many on a plane, nothing else at the border can be taken for the table
MOST_BEHIND_SHARE = 0.2  # of the strip's points: with more of them behind a plane, it is a face of the part
MOST_BEHIND_IN_DOUBT = 0.05  # the same, where no plane has a clear majority close to it
FLAT_SHARE = 0.6  # where no plane has a clear majority: of the points near it, this share has to lie four times as near
EVERY_PX = 8  # every 8th row and column is enough to tell the viewing direction and what most of the cloud lies on
STARTS = (0, 0), (0, 1), (1, 0), (1, 1)  # (row, column) where they begin: some sensors leave out every second, fourth or eighth
START_GAIN = 1.1  # another start is taken if it has this many times the points of the first
DEVIATIONS_PER_MEDIAN = 1.4826  # of absolute residuals, if they are normal
MIN_INLIER_MM = 0.5  # keeps the points of a table without noise
REMOVAL_DEVIATIONS = 6.0
REMOVAL_LIMITS_MM = (1.0, 5.0)


@dataclass(frozen=True)
class Plane:
    """The table: normal . point + offset = 0 in millimetres, with the deviation of its points from it."""

    normal: NDArray[np.float64]
    offset: float
    deviation_mm: float

    def distance(self, points: Real) -> Real:
        """Return |normal . point + offset| in millimetres for points (..., 3), in their precision."""
        return np.abs(points @ self.normal.astype(points.dtype) + points.dtype.type(self.offset))

    def share_of(self, points: Real, reach_mm: float) -> float:
        """Return the share of points (N, 3) that lie within `reach_mm` of the plane."""
        return float(np.mean(self.distance(points) < reach_mm))


def find_table(xyz_mm: Cloud, settings: PointCloudSettings) -> Plane | None:
    """Return the plane that most of the image's border strip lies on (seeded RANSAC, then least squares), or None.

    A table has next to nothing behind it. If the best plane has a clear majority of the strip close to it, it is the table. If it has
    one, but not close, it may be slanted through the table and a low part; a plane with nothing close behind it and more of the image
    closer still replaces it. If no plane has a majority, a part covers much of the strip. A face of it, or a plane from the table on one
    side to the part on the other, would win in some scans and not in others. Then the table is the plane that most of the whole image
    lies on, and it has to be flat.
    """
    random, reach_mm = np.random.default_rng(settings.seed), settings.plane_inlier_mm
    points = border_points(xyz_mm, settings.border_px, random)
    normals, offsets = hypotheses(points, settings.hypotheses, random)
    sparse = cache(lambda: subsampled(xyz_mm))
    away = cache(lambda: away_from_viewer(sparse()))

    def best_of(some: Points, most_behind: float, behind_mm: float) -> Plane | None:
        supported = support(normals, offsets, some.astype(np.float32), reach_mm / 4)
        planes = (Plane(normals[number], float(offsets[number]), 0.0) for number in np.argsort(-supported, kind="stable"))
        return next((plane for plane in planes if not has_points_behind(plane, points, behind_mm, most_behind, away)), None)

    best = best_of(points, MOST_BEHIND_SHARE, reach_mm)
    if best is not None and best.share_of(points, reach_mm / 4) < CLEAR_SHARE:
        some = sparse()[is_measured(sparse())].astype(np.float64)
        if best.share_of(points, reach_mm) >= CLEAR_SHARE:
            other = best_of(some, MOST_BEHIND_IN_DOUBT, reach_mm / 4) or best
            return refine(max(best, other, key=lambda plane: plane.share_of(some, reach_mm / 16)), points, reach_mm)
        best = best_of(some, MOST_BEHIND_IN_DOUBT, reach_mm)
        near = 0.0 if best is None else best.share_of(points, reach_mm)
        if best is None or near < MIN_INLIER_SHARE or best.share_of(points, reach_mm / 4) < FLAT_SHARE * near:
            return None
    return None if best is None else refine(best, points, reach_mm)


def border_points(xyz_mm: Cloud, width: int, random: np.random.Generator) -> Points:
    """Return points (N, 3) of the image's border strip, a random choice if there are many; none if too few were measured."""
    strip = border_strip(xyz_mm, width)
    points = strip[is_measured(strip)].astype(np.float64)
    if len(points) < max(MIN_STRIP_POINTS, MIN_STRIP_SHARE * len(strip)):
        return points[:0]
    return points[random.choice(len(points), min(len(points), MOST_STRIP_POINTS), replace=False)]


def border_strip(xyz_mm: Cloud, width: int) -> Real:
    """Return all pixels (N, 3) of the image's border strip, measured or not."""
    sides = (xyz_mm[:width], xyz_mm[-width:], xyz_mm[width:-width, :width], xyz_mm[width:-width, -width:])
    return np.concatenate([side.reshape(-1, 3) for side in sides])


def subsampled(xyz_mm: Cloud) -> Float:
    """Return every 8th row and column of the cloud (h, w, 3), from the first, or from another start if clearly more was measured there."""
    found = [xyz_mm[row::EVERY_PX, column::EVERY_PX] for row, column in STARTS]
    counts = [np.count_nonzero(is_measured(each)) for each in found]
    most = int(np.argmax(counts))
    return found[most if counts[most] > START_GAIN * counts[0] else 0]


def hypotheses(points: Points, count: int, random: np.random.Generator) -> tuple[Points, NDArray[np.float64]]:
    """Return normals (H, 3) and offsets (H,) of planes through three random points each."""
    if not len(points):
        return np.empty((0, 3)), np.empty(0)
    corners = points[random.integers(len(points), size=(count, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    usable = lengths > 1e-9
    normals = normals[usable] / lengths[usable, None]
    return normals, -np.einsum("ij,ij->i", normals, corners[usable, 0])


def has_points_behind(plane: Plane, points: Points, reach_mm: float, most: float, view_direction: Callable[[], Points]) -> bool:
    """Return whether more than a share `most` of the points lie farther than `reach_mm` behind the plane.

    Behind means farther along the viewing direction, which `view_direction()` returns; if that is unknown (0, 0, 0), nothing is behind.
    """
    off_plane = points @ plane.normal + plane.offset
    if np.count_nonzero(np.abs(off_plane) > reach_mm) <= most * len(points):
        return False
    return bool(np.count_nonzero(off_plane * np.sign(plane.normal @ view_direction()) > reach_mm) > most * len(points))


def away_from_viewer(cloud: Float) -> NDArray[np.float64]:
    """Return the direction (3,) in which the cloud was seen; (0, 0, 0) where its axes and the order of its pixels contradict each other.

    They agree in the coordinates of a camera at (0, 0, 0). Nothing is known of other coordinates.
    """
    cloud = np.where(is_measured(cloud)[..., None], cloud, np.float32(np.nan))
    direction = viewing_direction(cloud)
    return direction if np.nansum(cloud.reshape(-1, 3) @ direction) > 0 else np.zeros(3)


def support(normals: Real, offsets: Real, points: Real, reach_mm: float) -> Real:
    """Return how well points (N, 3) support each plane (H, 3), (H,): near points count, and nearer ones count more.

    Counted alike, a plane slanted through the part may win. The planes are reduced to the points' precision, which takes half of the
    memory and has digits enough to compare them.
    """
    normals, offsets = normals.astype(points.dtype), offsets.astype(points.dtype)
    found = np.empty(len(normals), points.dtype)
    for start in range(0, len(normals), PLANES_AT_ONCE):
        here = slice(start, start + PLANES_AT_ONCE)
        distances = normals[here] @ points.T
        distances += offsets[here, None]
        np.subtract(reach_mm, np.abs(distances, out=distances), out=distances)
        found[here] = np.maximum(distances, 0, out=distances).sum(axis=1)
    return found


def refine(plane: Plane, points: NDArray[np.float64], inlier_mm: float) -> Plane:
    """Return the least-squares plane of the inliers, refitted until they rest (five times at most), with its robust deviation."""
    before = np.zeros(len(points), np.bool_)
    for _ in range(5):
        distance = plane.distance(points)
        reach_mm = 4 * DEVIATIONS_PER_MEDIAN * float(np.median(distance[distance < inlier_mm]))
        chosen = distance < np.clip(reach_mm, MIN_INLIER_MM, inlier_mm)
        if np.array_equal(chosen, before):
            break
        before, inliers = chosen, points.compress(chosen, axis=0)
        centre = inliers.mean(axis=0)
        inliers -= centre
        normal = np.linalg.eigh(inliers.T @ inliers)[1][:, 0]
        residual = np.abs(inliers @ normal)
        plane = Plane(normal, -float(centre @ normal), DEVIATIONS_PER_MEDIAN * float(np.median(residual)))
    return plane


def removal_mm(plane: Plane, settings: PointCloudSettings) -> float:
    """Return the distance up to which points belong to the table: the setting, or six deviations of its own points, within 1 to 5 mm."""
    return settings.plane_removal_mm or float(np.clip(REMOVAL_DEVIATIONS * plane.deviation_mm, *REMOVAL_LIMITS_MM))
