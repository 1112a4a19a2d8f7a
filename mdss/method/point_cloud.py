"""From an organised cloud to the part on it: valid points, table removal, foreground, mask, all on one square grid."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdss.errors import BadPart, written_out
from mdss.method.grid import Cloud, Grid, all_three, is_measured
from mdss.method.recipe import PointCloudSettings
from mdss.method.table import Plane, find_table, removal_mm
from mdss.settings_types import LARGEST_SIDE_PX, SMALLEST_SIDE_PX

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

ROWS_AT_ONCE = 4  # the first few rows usually hold two different points already
MIN_PART_POINTS = 64
MOST_REPEATED = 64  # pixels with the same point, some of them neighbours: more of them, and it is a sensor's mark for a missing point
ONE_NUMBER = np.sqrt((1.0, 2.0, 3.0))  # times a point: a number that no other point has, in a tenth of the time of sorting rows
PLAUSIBLE_MM = (1.0, 5000.0)  # extent of the scene in front of an inspection camera
TABLE_SHARE_INSIDE = 0.1  # least share of pixels with a measured table in an opening of the part
TABLE_SHARE_AROUND = 0.25  # likewise around the part
EXTENT_PERCENTILES = (1.0, 99.0)  # of each coordinate: stray points far away say nothing about the unit
POINTS_FOR_EXTENT = 4096  # this many points give the extent to within a hundredth


@dataclass(frozen=True)
class Prepared:
    """A part ready for both branches; everything is on the square grid."""

    rgb: NDArray[np.uint8]  # (S, S, 3)
    xyz: Float  # (S, S, 3) millimetres, NaN where there is no foreground point
    mask: Bool  # (S, S) the foreground, dilated
    grid: Grid
    invalid_point_ratio: float  # share of the part's pixels without a measured point; gaps belong to the part
    has_table: bool


def prepare(rgb: NDArray[np.uint8], xyz_mm: Cloud, settings: PointCloudSettings) -> Prepared:
    """Return the part of one scan on the square grid. Raises BadPart if the scan holds no part.

    rgb (H, W, 3) uint8, xyz_mm (H, W, 3) in millimetres with NaN where nothing was measured; H and W from 64 to 2000. The mask is that of
    the paper's 4.2: every grid pixel that still has a point after table removal, dilated with a square; and, where the recipe asks for
    it, the gaps that the part encloses.
    """
    check_scan(rgb, xyz_mm)
    grid = Grid(xyz_mm.shape[0], xyz_mm.shape[1], settings.size_px)
    with ThreadPoolExecutor(1) as beside:  # a large image takes as long as its cloud, and neither needs the other
        colour = beside.submit(grid.image, rgb)
        cloud, measured = grid_cloud(xyz_mm, grid, settings)
        plane = find_table(xyz_mm, settings) if settings.table == "auto" else None
        off_table = remove_table(cloud, measured, plane, settings)
        foreground = drop_specks(off_table, settings.min_component_px)
        check_part(foreground, off_table, plane, settings)
        mask, filled = mask_of(foreground, measured & ~off_table, grid.in_frame, settings)
    return Prepared(
        rgb=blackened(colour.result(), mask) if settings.blacken_background else colour.result(),
        xyz=np.asarray(cv2.copyTo(cloud, foreground.view(np.uint8), np.full_like(cloud, np.nan)), np.float32),
        mask=mask,
        grid=grid,
        invalid_point_ratio=float(1 - np.count_nonzero(measured & filled) / np.count_nonzero(filled)),
        has_table=plane is not None,
    )


def grid_cloud(xyz_mm: Cloud, grid: Grid, settings: PointCloudSettings) -> tuple[Float, Bool]:
    """Return the grid's points (S, S, 3) and which of them were measured (S, S); BadPart where they cannot be those of a scan.

    Points are checked before a smaller scan is enlarged, which repeats points by itself.
    """
    if grid.side >= grid.size:
        cloud = grid.points(xyz_mm)
        measured = is_measured(cloud)
        check_points(cloud, measured)
        return cloud, measured
    whole = xyz_mm[:]  # read whole: each point is used several times
    check_points(whole, is_measured(whole))
    cloud = grid.interpolated_points(whole) if settings.enlarged_by == "interpolating" else grid.points(whole)
    return cloud, is_measured(cloud)


def blackened(image: NDArray[np.uint8], mask: Bool) -> NDArray[np.uint8]:
    """Return an image (S, S, 3) that is black where the mask (S, S) is false."""
    return np.asarray(cv2.bitwise_and(image, image, mask=mask.view(np.uint8)), np.uint8)


def check_scan(rgb: NDArray[np.uint8], xyz_mm: Cloud) -> None:
    """Raise BadPart if shapes, types or points cannot be those of a scan."""
    if len(xyz_mm.shape) != 3 or xyz_mm.shape[2] != 3 or rgb.shape != xyz_mm.shape or rgb.dtype != np.uint8:
        raise BadPart(f"image {rgb.shape} {rgb.dtype} and cloud {xyz_mm.shape}: expected both (H, W, 3), the image uint8")
    height, width = xyz_mm.shape[:2]
    if min(height, width) < SMALLEST_SIDE_PX or max(height, width) > LARGEST_SIDE_PX:
        raise BadPart(f"scan of {height}x{width}: expected {SMALLEST_SIDE_PX} to {LARGEST_SIDE_PX} on each side")
    if not holds_two_points(xyz_mm):
        count = np.count_nonzero(is_measured(xyz_mm[:]))
        same = f"the cloud is constant: all {count} points are the same"
        raise BadPart(same if count else "the cloud is empty: no pixel has a measured point")


def holds_two_points(cloud: Cloud) -> bool:
    """Return whether two measured points differ. The first few rows usually settle it, and the others are not read."""
    first = None
    for start in range(0, cloud.shape[0], ROWS_AT_ONCE):
        rows = cloud[start : start + ROWS_AT_ONCE]
        points = rows[is_measured(rows)]
        if len(points):
            first = points[0] if first is None else first
            if (points != first).any():
                return True
    return False


def check_points(cloud: Float, measured: Bool) -> None:
    """Raise BadPart if the points are in another unit, or if missing points are not marked as missing."""
    repeated = cloud[:, 1:][all_three(cloud[:, 1:] == cloud[:, :-1]) & measured[:, 1:]]
    if len(repeated):
        _, firsts, counts = np.unique(repeated @ ONE_NUMBER, return_index=True, return_counts=True)
        mark = repeated[firsts[counts.argmax()]]
        holding = np.count_nonzero((cloud == mark).all(axis=2))
        if holding > MOST_REPEATED:
            sentence = f"{holding} pixels hold the same point ({', '.join(written_out(value, 6) for value in mark)})"
            raise BadPart(f"{sentence}; expected that of a pixel that was not measured to be marked as missing")
    points = cloud.reshape(-1, 3).take(np.flatnonzero(measured), axis=0)  # takes a third of the time of a mask
    if len(points) >= MIN_PART_POINTS and not is_plausible(extent := scene_extent(points)):
        expected = f"expected {PLAUSIBLE_MM[0]:g} mm to {PLAUSIBLE_MM[1] / 1000:g} m"
        raise BadPart(f"the scene measures {written_out(extent)} mm, {expected}: another unit?")


def scene_extent(points: NDArray[np.floating]) -> float:
    """Return the longest side of the box around points (N, 3) without a few strays; around all points if that is 0."""
    some = points[:: (len(points) // POINTS_FOR_EXTENT) | 1]  # an odd step, because an even one may always hit the same columns
    low, high = np.percentile(some, EXTENT_PERCENTILES, axis=0)
    return float((high - low).max()) or float(np.ptp(points, axis=0).max())


def is_plausible(extent_mm: float) -> bool:
    """Return whether a scene can have this extent."""
    return PLAUSIBLE_MM[0] <= extent_mm <= PLAUSIBLE_MM[1]


def remove_table(cloud: Float, measured: Bool, plane: Plane | None, settings: PointCloudSettings) -> Bool:
    """Return which grid pixels (S, S) hold a point off the table; cloud (S, S, 3), `measured` (S, S)."""
    if plane is None:
        return measured
    with np.errstate(over="ignore", invalid="ignore"):  # a mark for missing points may be the largest float, or infinite
        return measured & (plane.distance(cloud) >= removal_mm(plane, settings))


def check_part(foreground: Bool, off_table: Bool, plane: Plane | None, settings: PointCloudSettings) -> None:
    """Raise BadPart if the foreground (S, S) has too few points; off_table (S, S) also holds the specks that were dropped."""
    points = np.count_nonzero(foreground)
    if points >= MIN_PART_POINTS:
        return
    limit = f"{written_out(removal_mm(plane, settings), 2)} mm (point_cloud.plane_removal_mm)" if plane else ""
    where = f"at least {limit} off the table" if plane else "in clusters large enough"
    scattered = np.count_nonzero(off_table) - points
    specks = f", beside {scattered} in specks of fewer than {settings.min_component_px} (point_cloud.min_component_px)" if scattered else ""
    raise BadPart(f"no part in view: {points} points {where}{specks}, expected {MIN_PART_POINTS} or more")


def mask_of(foreground: Bool, table: Bool, in_frame: Bool, settings: PointCloudSettings) -> tuple[Bool, Bool]:
    """Return the mask (S, S), and the part (S, S) that it is the dilation of: the foreground with its gaps closed (`enclosed_gaps`)."""
    square = np.ones((settings.dilation_px, settings.dilation_px), np.uint8)
    mask = dilated(foreground, settings.dilation_px)
    part = cv2.erode(mask.view(np.uint8), square, anchor=((settings.dilation_px - 1) // 2,) * 2).view(bool)  # undoes the dilation
    if settings.enclosed_gaps == "part" and (gaps := enclosed_gaps(part, table, in_frame)).any():
        part = part | gaps
        mask = dilated(part, settings.dilation_px)
    return mask, part


def dilated(mask: Bool, by_px: int) -> Bool:
    """Return a mask (S, S) dilated with a square of `by_px` pixels."""
    return cv2.dilate(mask.view(np.uint8), np.ones((by_px, by_px), np.uint8)).view(bool)


def enclosed_gaps(part: Bool, table: Bool, in_frame: Bool) -> Bool:
    """Return the pixels (S, S) of gaps that the part (S, S) encloses and whose points the sensor lost.

    Through an opening of the part the sensor sees the table. So a gap counts as lost if no table was measured in it, while it was
    measured around the part, or nothing lies around it. table (S, S): where it was measured; specks off it are left of the part. in_frame
    (S, S): the grid without the letterbox border.
    """
    contours, hierarchy = cv2.findContours(part.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    gaps = np.zeros(part.shape, bool)
    for hole in (contour for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True) if parent >= 0):
        left, top, width, height = cv2.boundingRect(hole)
        box = np.s_[top : top + height, left : left + width]
        within = cv2.drawContours(np.zeros((height, width), np.uint8), [hole], 0, 1, cv2.FILLED, offset=(-left, -top)).astype(bool)
        opening = within & ~part[box]
        gaps[box] |= opening & (np.count_nonzero(table[box] & opening) < TABLE_SHARE_INSIDE * np.count_nonzero(opening))
    around = in_frame & ~(part | gaps)
    is_seen_around = np.count_nonzero(table & around) >= TABLE_SHARE_AROUND * np.count_nonzero(around)
    return gaps & is_seen_around


def drop_specks(foreground: Bool, min_component_px: int) -> Bool:
    """Return the foreground without components below this size: noise goes, a detached foreign body stays."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(foreground.astype(np.uint8), connectivity=8)
    large = statistics[:, cv2.CC_STAT_AREA] >= min_component_px
    large[0] = False
    return np.asarray(large.take(np.asarray(labels, np.int32)), bool)
