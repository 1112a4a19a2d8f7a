"""Fusion: from the maps of both branches to one score, one map, and the regions to look at."""

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

NEAR_PEAK = 0.5  # of the peak: outlined from here if no pixel is above the level; also how near both branches are where both saw a region


@dataclass(frozen=True)
class Fused:
    """One part as both branches see it; the maps are in deviations from the mean of good parts."""

    score: float
    map: Float  # (S, S)
    rgb: Float
    sdf: Float


@dataclass(frozen=True)
class Region:
    """One connected region, in pixels of the frame as recorded and in millimetres of the camera."""

    area_px: int
    area_mm2: float | None
    bbox_px: tuple[int, int, int, int]  # left, top, width, height
    centroid_px: tuple[float, float]  # x, y
    centroid_mm: tuple[float, float, float] | None
    peak: float
    branch: Literal["rgb", "sdf", "both"]


def fuse(rgb_map: Float, sdf_map: Float, calibration: Calibration) -> Fused:
    """Return the part's score, the fused map and both aligned maps.

    With a map floor, the fused map is the aligned colour map plus what the aligned shape map has above the floor. Without one it is the
    maximum of both (paper, 3.3). The paper brings the colour map to the mean and deviation of the shape map. Here both maps get mean 0
    and deviation 1, which ranks the same, in a unit in which a level can be named.
    """
    rules = calibration.fusion
    rgb, sdf = calibration.rgb.aligned(rgb_map), calibration.sdf.aligned(sdf_map)
    if rules.clip_aligned:
        rgb = np.maximum(rgb, np.float32(-calibration.sdf.mean / calibration.sdf.std))
    heat = np.maximum(rgb, sdf) if rules.map_floor is None else rgb + np.maximum(sdf - np.float32(rules.map_floor), 0)
    score = fused_score(colour_score(rgb_map, sdf_map, calibration), float(sdf_map.max()), calibration)
    return Fused(score, blurred(heat, rules.blur_px), rgb, sdf)


def colour_score(rgb_map: Float, sdf_map: Float, calibration: Calibration) -> float:
    """Return colour's half of the score: the maximum of the colour map after a share of the shape map was added to it place by place.

    The share is `score_agreement`: one deviation of shape from the mean of good parts, up or down, counts as so many deviations of
    colour.
    """
    agreement = calibration.fusion.score_agreement
    if not agreement:
        return float(rgb_map.max())
    return float((rgb_map + np.float32(agreement * calibration.rgb.std) * calibration.sdf.aligned(sdf_map)).max())


def fused_score(colour: float, shape: float, calibration: Calibration) -> float:
    """Return a part's score from colour's half (`colour_score`) and the maximum of the shape map.

    product: of the two (paper, 3.3); shape counts as no less than its limit, which good parts rarely exceed. larger: the larger of the
    two, each as a multiple of its limit; shape counts only above 1, because below its limit its ups and downs say nothing about a part.
    """
    if calibration.fusion.score == "product":
        return colour * max(shape, calibration.score_floor)
    colour, shape = colour / calibration.colour_limit, shape / calibration.score_floor
    return colour if shape <= 1 else float(np.maximum(colour, shape))  # np.maximum: NaN if either is NaN


def regions(fused: Fused, xyz: Float, grid: Grid, calibration: Calibration) -> tuple[Region, ...]:
    """Return the connected regions of the fused map above the calibrated level, the one with the highest peak first.

    xyz (S, S, 3) mm, NaN without a point. If no pixel is above the level, the surroundings of the highest pixel are returned: a part that
    is not OK always has a place to look at.
    """
    level = outline_level(fused.map, calibration.map_level)
    count, found, statistics, _ = cv2.connectedComponentsWithStats((fused.map > level).astype(np.uint8), connectivity=8)
    labels = np.asarray(found, np.int32)
    kept = [n for n in range(1, count) if statistics[n, cv2.CC_STAT_AREA] >= calibration.fusion.min_region_px]
    if not kept and count > 1:
        kept = [int(labels[np.unravel_index(int(fused.map.argmax()), labels.shape)])]
    in_frame = grid.in_frame
    places = [_region(_pixels(labels, number, statistics[number], in_frame), fused, xyz, grid) for number in kept]
    return tuple(sorted(places, key=lambda region: region.peak, reverse=True))


def outline_level(heat: Float, level: float) -> float:
    """Return the level above which a map (S, S) is outlined: the calibrated one, or near its peak if no pixel is above that."""
    peak = float(heat.max())
    just_below = float(np.nextafter(heat.max(), np.float32(-np.inf)))  # half of a peak below 0 would lie above it
    return level if peak > level else min(NEAR_PEAK * peak, just_below)


def _pixels(labels: NDArray[np.int32], number: int, statistics: NDArray[np.int32], in_frame: Bool) -> Pixels:
    """Return a component's rows and columns without those in the letterbox, where masks reach a little; all if it lies nowhere else."""
    left, top, width, height = statistics[: cv2.CC_STAT_AREA]
    box = slice(top, top + height), slice(left, left + width)
    inside = labels[box] == number
    shown = inside & in_frame[box]
    rows, columns = np.nonzero(shown if shown.any() else inside)
    return rows + top, columns + left


def _region(pixels: Pixels, fused: Fused, xyz: Float, grid: Grid) -> Region:
    rows, columns = pixels
    scale = grid.side / grid.size
    left, right = _frame_span(columns, scale, grid.left, grid.width)
    top, bottom = _frame_span(rows, scale, grid.top, grid.height)
    points, heat = xyz[pixels], fused.map[pixels]
    points = points[np.isfinite(points).all(axis=1)]
    weights = np.maximum(heat, 0) + 1e-9
    return Region(
        area_px=max(1, round(len(rows) * scale**2)),
        area_mm2=_area_mm2(pixels, xyz, grid),
        bbox_px=(left, top, right - left, bottom - top),
        centroid_px=(
            _clip(float(np.average(columns, weights=weights) + 0.5) * scale - 0.5 - grid.left, grid.width),
            _clip(float(np.average(rows, weights=weights) + 0.5) * scale - 0.5 - grid.top, grid.height),
        ),
        centroid_mm=None if len(points) == 0 else tuple(float(value) for value in points.mean(axis=0)),  # type: ignore[arg-type]  # three of them
        peak=float(heat.max()),
        branch=_branch_of(pixels, fused),
    )


def _clip(place: float, length: int) -> float:
    """Return a coordinate clipped to the frame, in pixels: a place in the letterbox moves to the frame's nearest pixel."""
    return min(max(place, 0.0), length - 1.0)


def _frame_span(cells: NDArray[np.intp], scale: float, offset: int, length: int) -> tuple[int, int]:
    """Return the first row (or column) of the frame that these of the grid cover, and the one after the last: at least one pixel."""
    first = int(np.clip(round(float(cells.min()) * scale) - offset, 0, length - 1))
    return first, int(np.clip(round(float(cells.max() + 1) * scale) - offset, first + 1, length))


def _area_mm2(pixels: Pixels, xyz: Float, grid: Grid) -> float | None:
    """Return the area of a region in mm2, from the median size of the frame's pixels there.

    If none of its pixels has measured neighbours, the sizes of the whole part are taken; None if there are none either.
    """
    here = _pixel_sizes(xyz, pixels, grid)
    known = here if len(here) else _pixel_sizes(xyz, np.nonzero(np.isfinite(xyz[..., 0])), grid)
    return float(len(pixels[0]) * (grid.side / grid.size) ** 2 * np.median(known)) if len(known) else None


def _pixel_sizes(xyz: Float, pixels: Pixels, grid: Grid) -> NDArray[np.float64]:
    """Return the mm2 of one frame pixel (N,), at each of these grid pixels whose right and lower neighbours were measured, too.

    Neighbours on the grid are one, two or more pixels of a large frame apart, by turns; the areas between them are divided accordingly.
    """
    rows, columns = pixels
    has_both = (rows + 1 < xyz.shape[0]) & (columns + 1 < xyz.shape[1])
    rows, columns = rows[has_both], columns[has_both]
    here = xyz[rows, columns]
    sizes = np.linalg.norm(np.cross(xyz[rows, columns + 1] - here, xyz[rows + 1, columns] - here), axis=1)
    spanned = grid.steps(grid.rows)[rows] * grid.steps(grid.columns)[columns]
    if grid.side < grid.size and (sizes == 0).any():
        others = (np.diff(grid.rows)[rows] != 0) & (np.diff(grid.columns)[columns] != 0)
        if not (sizes[~others] > 0).any():  # points are repeated: neighbours on the grid that differ are neighbours in the frame
            spanned = np.ones_like(spanned)
    return np.asarray((sizes / spanned)[np.isfinite(sizes) & (sizes > 0)], np.float64)


def _branch_of(pixels: Pixels, fused: Fused) -> Literal["rgb", "sdf", "both"]:
    rgb, sdf = float(fused.rgb[pixels].max()), float(fused.sdf[pixels].max())
    if min(rgb, sdf) > NEAR_PEAK * max(rgb, sdf):
        return "both"
    return "rgb" if rgb > sdf else "sdf"
