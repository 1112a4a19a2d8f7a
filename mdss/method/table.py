"""The table that a part lies on: the plane of the image's border, with nothing behind it."""

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

PLANES_AT_ONCE = 16  # what is made of them stays in a core's cache
MIN_STRIP_POINTS, MOST_STRIP_POINTS = 50, 3000
MIN_STRIP_SHARE = 0.1  # of its pixels: fewer were measured, and nothing is known of what borders the image
MIN_INLIER_SHARE = 0.4  # of the strip's points: fewer, and what borders the image is no table
CLEAR_SHARE = 0.8  # likewise; from there on nothing else borders the image that could be taken for it
MOST_BEHIND_SHARE = 0.2  # of the strip's points: more of them behind a plane, and it is a face of the part
MOST_BEHIND_IN_DOUBT = 0.05  # likewise, where no plane has a clear majority
FLAT_SHARE = 0.6  # of what lies near a plane, so much lies four times as near where no plane has a clear majority
EVERY_PX = 8  # so many cells of the cloud tell from where it was seen, and what most of it lies on
STARTS = (0, 0), (0, 1), (1, 0), (1, 1)  # row and column of the first of them: some sensors leave every second, fourth or eighth out
TELLS_MORE = 1.1  # times as many points, and those from another start are taken
DEVIATIONS_PER_MEDIAN = 1.4826  # of absolute residuals, were they normal
MIN_INLIER_MM = 0.5  # so that a table without noise keeps its points
REMOVAL_DEVIATIONS = 6.0
REMOVAL_LIMITS_MM = (1.0, 5.0)


@dataclass(frozen=True)
class Plane:
    """The table: normal . point + offset = 0 in millimetres, and how far its points lie from it."""

    normal: NDArray[np.float64]
    offset: float
    deviation_mm: float

    def distance(self, points: Real) -> Real:
        """Return |normal . point + offset| of points (..., 3), millimetres, in the precision of the points."""
        return np.abs(points @ self.normal.astype(points.dtype) + points.dtype.type(self.offset))

    def share_of(self, points: Real, reach_mm: float) -> float:
        """Return the share of points (N, 3) nearer to the plane than that."""
        return float(np.mean(self.distance(points) < reach_mm))


def find_table(xyz_mm: Cloud, settings: PointCloudSettings) -> Plane | None:
    """Return the plane most of the image's border strip lies on (seeded RANSAC, then least squares), or None.

    A table has nothing behind it. Where none has a clear majority of the strip, it is flat as well, and most of the whole image lies on it:
    beside a part that covers more of the strip than the table does, a face of it would win otherwise, or a plane from the table on one
    side of the image to the part on the other, in some scans and not in others. Beside a low part, such a plane has even a clear majority,
    but not of points close to it: then another one wins that has nothing close behind it and more of the image closer still.
    """
    random, reach_mm = np.random.default_rng(settings.seed), settings.plane_inlier_mm
    points = strip_of(xyz_mm, settings.border_px, random)
    normals, offsets = hypotheses(points, settings.hypotheses, random)
    sparse = cache(lambda: sparse_of(xyz_mm))
    away = cache(lambda: away_from_viewer(sparse()))

    def best_of(some: Points, most_behind: float, behind_mm: float) -> Plane | None:
        supported = support(normals, offsets, some.astype(np.float32), reach_mm / 4)
        planes = (Plane(normals[number], float(offsets[number]), 0.0) for number in np.argsort(-supported, kind="stable"))
        return next((plane for plane in planes if not hides(plane, points, behind_mm, most_behind, away)), None)

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


def strip_of(xyz_mm: Cloud, width: int, random: np.random.Generator) -> Points:
    """Return points of the image's border strip, some of them where there are many; none where too few were measured."""
    sides = (xyz_mm[:width], xyz_mm[-width:], xyz_mm[width:-width, :width], xyz_mm[width:-width, -width:])
    strip = np.concatenate([side.reshape(-1, 3) for side in sides])
    points = strip[is_measured(strip)].astype(np.float64)
    if len(points) < max(MIN_STRIP_POINTS, MIN_STRIP_SHARE * len(strip)):
        return points[:0]
    return points[random.choice(len(points), min(len(points), MOST_STRIP_POINTS), replace=False)]


def sparse_of(xyz_mm: Cloud) -> Float:
    """Return one in so many cells of the cloud in rows and columns, (h, w, 3), from the first or where clearly more were measured."""
    found = [xyz_mm[row::EVERY_PX, column::EVERY_PX] for row, column in STARTS]
    counts = [np.count_nonzero(is_measured(each)) for each in found]
    most = int(np.argmax(counts))
    return found[most if counts[most] > TELLS_MORE * counts[0] else 0]


def hypotheses(points: Points, count: int, random: np.random.Generator) -> tuple[Points, NDArray[np.float64]]:
    """Return normals (H, 3) and offsets (H,) of planes through three of the points each."""
    if not len(points):
        return np.empty((0, 3)), np.empty(0)
    corners = points[random.integers(len(points), size=(count, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    usable = lengths > 1e-9
    normals = normals[usable] / lengths[usable, None]
    return normals, -np.einsum("ij,ij->i", normals, corners[usable, 0])


def hides(plane: Plane, points: Points, reach_mm: float, most: float, away: Callable[[], Points]) -> bool:
    """Return whether more than this share of points lie farther than that behind the plane, for who looks in the direction of `away()`."""
    off_plane = points @ plane.normal + plane.offset
    if np.count_nonzero(np.abs(off_plane) > reach_mm) <= most * len(points):
        return False
    return bool(np.count_nonzero(off_plane * np.sign(plane.normal @ away()) > reach_mm) > most * len(points))


def away_from_viewer(cloud: Float) -> NDArray[np.float64]:
    """Return the direction (3,) in which a cloud was seen; (0, 0, 0) where its axes and the order of its pixels do not agree on it.

    They do for the coordinates of a camera that stands at (0, 0, 0); of others nothing is known.
    """
    cloud = np.where(is_measured(cloud)[..., None], cloud, np.float32(np.nan))
    direction = viewing_direction(cloud)
    return direction if np.nansum(cloud.reshape(-1, 3) @ direction) > 0 else np.zeros(3)


def support(normals: Real, offsets: Real, points: Real, reach_mm: float) -> Real:
    """Return how many points (N, 3) lie near each plane (H, 3) and (H,); the nearer count more, or one slanted through the part may win.

    In the precision of the points: half of the planes' own takes half of the memory, and has digits enough to compare them.
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
    """Return the least-squares plane of the inliers, refitted until it rests, with its robust deviation."""
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
    """Return up to which distance points belong to the table: the setting, or six deviations of its own points within 1 to 5 mm."""
    return settings.plane_removal_mm or float(np.clip(REMOVAL_DEVIATIONS * plane.deviation_mm, *REMOVAL_LIMITS_MM))
