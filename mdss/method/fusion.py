"""From two maps to one score, one map and the places on the part that are not as they should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mdss.method.calibration import Calibration
from mdss.method.grid import Grid
from mdss.method.heat import blurred

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Pixels = tuple[NDArray[np.intp], ...]  # rows and columns

NEAR_PEAK = 0.5  # of the highest value: what is outlined where no pixel alone is above the level


@dataclass(frozen=True)
class Fused:
    """One part as both branches see it; maps in deviations of good parts from their mean."""

    score: float
    map: Float  # (S, S)
    rgb: Float
    sdf: Float


@dataclass(frozen=True)
class Region:
    """One connected place, in pixels of the frame as recorded and in millimetres of the camera."""

    area_px: int
    area_mm2: float | None
    bbox_px: tuple[int, int, int, int]  # left, top, width, height
    centroid_px: tuple[float, float]  # x, y
    centroid_mm: tuple[float, float, float] | None
    peak: float
    branch: Literal["rgb", "sdf", "both"]


def fuse(rgb_map: Float, sdf_map: Float, calibration: Calibration) -> Fused:
    """Return the score and the map.

    With a floor, the map is the aligned colour map plus what the aligned shape map has above the floor; without one it is
    the maximum of the two (paper, 3.3). The paper aligns the colour map to the shape map, mean to mean and deviation to
    deviation; here both are aligned to mean 0 and deviation 1, which is the same picture in another unit, and one in which
    a level can be named.
    """
    rules = calibration.fusion
    rgb, sdf = calibration.rgb.aligned(rgb_map), calibration.sdf.aligned(sdf_map)
    if rules.clip_aligned:
        rgb = np.maximum(rgb, np.float32(-calibration.sdf.mean / calibration.sdf.std))
    heat = np.maximum(rgb, sdf) if rules.map_floor is None else rgb + np.maximum(sdf - np.float32(rules.map_floor), 0)
    score = fused_score(colour_score(rgb_map, sdf_map, calibration), float(sdf_map.max()), calibration)
    return Fused(score, blurred(heat, rules.blur_px), rgb, sdf)


def colour_score(rgb_map: Float, sdf_map: Float, calibration: Calibration) -> float:
    """Return colour's half of a part's score: the maximum of its map, to which a share of the shape map is added place by place.

    The share is `score_agreement`: so many deviations of colour for one deviation of shape, from the mean of good parts, up and down.
    """
    agreement = calibration.fusion.score_agreement
    if not agreement:
        return float(rgb_map.max())
    return float((rgb_map + np.float32(agreement * calibration.rgb.std) * calibration.sdf.aligned(sdf_map)).max())


def fused_score(colour: float, shape: float, calibration: Calibration) -> float:
    """Return the score of a part from colour's half (`colour_score`) and the shape map's maximum.

    product: of the two (paper, 3.3); the shape's counts as no less than what good parts rarely exceed. larger: of the two, each as a
    multiple of what good parts rarely exceed; the shape's counts from 1 on. Below that, shape's ups and downs say nothing of a part.
    """
    if calibration.fusion.score == "product":
        return colour * max(shape, calibration.score_floor)
    colour, shape = colour / calibration.colour_limit, shape / calibration.score_floor
    return colour if shape <= 1 else float(np.maximum(colour, shape))  # which is no number where one of them is none


def regions(fused: Fused, xyz: Float, grid: Grid, calibration: Calibration) -> tuple[Region, ...]:
    """Return the connected components of the map above the calibrated level, strongest first.

    xyz (S, S, 3) mm, NaN without a point. Where the score is too high and no pixel is above the level, the surroundings of the highest
    pixel are returned: a part that is not OK always has a place to look at.
    """
    level = outlined_from(fused.map, calibration.map_level)
    count, found, statistics, _ = cv2.connectedComponentsWithStats((fused.map > level).astype(np.uint8), connectivity=8)
    labels = np.asarray(found, np.int32)
    kept = [n for n in range(1, count) if statistics[n, cv2.CC_STAT_AREA] >= calibration.fusion.min_region_px]
    if not kept and count > 1:
        kept = [int(labels[np.unravel_index(int(fused.map.argmax()), labels.shape)])]
    in_frame = grid.in_frame
    places = [_region(_pixels(labels, number, statistics[number], in_frame), fused, xyz, grid) for number in kept]
    return tuple(sorted(places, key=lambda region: region.peak, reverse=True))


def outlined_from(heat: Float, level: float) -> float:
    """Return above what a map (S, S) shows a region: the calibrated level, or near its peak where no pixel is above that."""
    peak = float(heat.max())
    return level if peak > level else NEAR_PEAK * peak


def _pixels(labels: NDArray[np.int32], number: int, statistics: NDArray[np.int32], in_frame: Bool) -> Pixels:
    """Return a component's pixels without those in the letterbox, into which a mask reaches a few; all of one that lies nowhere else."""
    left, top, width, height = statistics[: cv2.CC_STAT_AREA]
    box = slice(top, top + height), slice(left, left + width)
    inside = labels[box] == number
    shown = inside & in_frame[box]
    rows, columns = np.nonzero(shown if shown.any() else inside)
    return rows + top, columns + left


def _region(pixels: Pixels, fused: Fused, xyz: Float, grid: Grid) -> Region:
    rows, columns = pixels
    scale = grid.side / grid.size
    left, right = _ends(columns, scale, grid.left, grid.width)
    top, bottom = _ends(rows, scale, grid.top, grid.height)
    points, heat = xyz[pixels], fused.map[pixels]
    points = points[np.isfinite(points).all(axis=1)]
    weights = np.maximum(heat, 0) + 1e-9
    return Region(
        area_px=max(1, round(len(rows) * scale**2)),
        area_mm2=_area_mm2(pixels, xyz, grid),
        bbox_px=(left, top, right - left, bottom - top),
        centroid_px=(
            _within(float(np.average(columns, weights=weights) + 0.5) * scale - 0.5 - grid.left, grid.width),
            _within(float(np.average(rows, weights=weights) + 0.5) * scale - 0.5 - grid.top, grid.height),
        ),
        centroid_mm=None if len(points) == 0 else tuple(float(value) for value in points.mean(axis=0)),  # type: ignore[arg-type]  # three of them
        peak=float(heat.max()),
        branch=_seen_by(pixels, fused),
    )


def _within(place: float, length: int) -> float:
    """Return a place in pixels of the frame, or the frame's nearest where it lies in the letterbox."""
    return min(max(place, 0.0), length - 1.0)


def _ends(cells: NDArray[np.intp], scale: float, offset: int, length: int) -> tuple[int, int]:
    """Return where rows or columns of the grid begin and end in the frame: at least one of its pixels."""
    first = int(np.clip(round(float(cells.min()) * scale) - offset, 0, length - 1))
    return first, int(np.clip(round(float(cells.max() + 1) * scale) - offset, first + 1, length))


def _area_mm2(pixels: Pixels, xyz: Float, grid: Grid) -> float | None:
    """Return the surface's area from the size of the frame's own pixels there; None where no neighbours were measured."""
    here = _pixel_sizes(xyz, pixels, grid)
    known = here if len(here) else _pixel_sizes(xyz, np.nonzero(np.isfinite(xyz[..., 0])), grid)
    return float(len(pixels[0]) * (grid.side / grid.size) ** 2 * np.median(known)) if len(known) else None


def _pixel_sizes(xyz: Float, pixels: Pixels, grid: Grid) -> NDArray[np.float64]:
    """Return the mm2 of a pixel of the frame at those of the grid whose neighbours to the right and below were measured, too (N,).

    Neighbours on the grid are one pixel of the frame apart, or two, or more, by turns.
    """
    rows, columns = pixels
    has_both = (rows + 1 < xyz.shape[0]) & (columns + 1 < xyz.shape[1])
    rows, columns = rows[has_both], columns[has_both]
    here = xyz[rows, columns]
    sizes = np.linalg.norm(np.cross(xyz[rows, columns + 1] - here, xyz[rows + 1, columns] - here), axis=1)
    spanned = grid.steps(grid.rows)[rows] * grid.steps(grid.columns)[columns]
    if grid.side < grid.size and (sizes == 0).any():
        others = (np.diff(grid.rows)[rows] != 0) & (np.diff(grid.columns)[columns] != 0)
        if not (sizes[~others] > 0).any():  # points are repeated: where both neighbours are others, they are those of the frame
            spanned = np.ones_like(spanned)
    return np.asarray((sizes / spanned)[np.isfinite(sizes) & (sizes > 0)], np.float64)


def _seen_by(pixels: Pixels, fused: Fused) -> Literal["rgb", "sdf", "both"]:
    rgb, sdf = float(fused.rgb[pixels].max()), float(fused.sdf[pixels].max())
    if min(rgb, sdf) > NEAR_PEAK * max(rgb, sdf):
        return "both"
    return "rgb" if rgb > sdf else "sdf"
