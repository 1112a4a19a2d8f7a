"""What speaks against the table that was found in a scan, or against there being none: a model would learn from either."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdss.method.grid import is_measured
from mdss.method.point_cloud import MIN_PART_POINTS, scene_extent
from mdss.method.recipe import PointCloudSettings
from mdss.method.table import (
    REMOVAL_DEVIATIONS,
    REMOVAL_LIMITS_MM,
    Plane,
    away_from_viewer,
    border_points,
    border_strip,
    find_table,
    removal_mm,
    subsampled,
)
from mdss.settings_types import SMALLEST_SIDE_PX

Float = NDArray[np.float32]
Points = NDArray[np.float64]
Kind = Literal["rough", "behind", "sparse", "border", "axis"]

BEHIND_SHARE = 0.5  # of the points off the table: a few echoes lie behind every table
NEAREST = 0.25  # of the scene's extent: a camera that is nearer to it would have to see more than 120 degrees
FIELD_OF_VIEW = 0.5  # of what is measured in the whole window, along its border: a disc in its square has a third
STRAY_SHARE = 0.01  # of a row or column: with no more points they are strays
WIDER = (2, 4)  # times the strip's width: margins that a sensor loses are narrow
FILLED = "if the part fills the image, set point_cloud.table=none"
AXIS = "if z grows towards the camera, negate it: expected z to grow away from the camera"


class TableDoubt(NamedTuple):
    """Why the table that was found, or that there is none, may be wrong."""

    kind: Kind
    sentence: str


def table_doubt(plane: Plane | None, xyz_mm: Float, settings: PointCloudSettings) -> TableDoubt | None:
    """Return the first doubt on the table found in a cloud (H, W, 3), or on none being there; None if nothing speaks against it."""
    return next((doubt for doubt in _doubts(plane, xyz_mm, settings) if doubt.sentence), None)


def _doubts(plane: Plane | None, xyz_mm: Float, settings: PointCloudSettings) -> Iterator[TableDoubt]:
    if plane is not None:
        yield TableDoubt("rough", rough_table_sentence(plane, settings))
        yield TableDoubt("behind", part_behind_sentence(plane, xyz_mm, settings))
        yield TableDoubt("sparse", sparse_border_sentence(xyz_mm, settings))
    elif settings.table != "none":
        yield TableDoubt("border", unmeasured_border_sentence(xyz_mm, settings))
        yield TableDoubt("axis", negated_z_sentence(xyz_mm, settings))


def rough_table_sentence(plane: Plane, settings: PointCloudSettings) -> str:
    """Say that a table is rougher than what is dropped of it allows for; "" if it is not, or if a setting says how much is dropped."""
    if settings.plane_removal_mm is not None or REMOVAL_DEVIATIONS * plane.deviation_mm <= REMOVAL_LIMITS_MM[1]:
        return ""
    found = f"what counts as table is rough, or the sensor noisy: points deviate from a plane by {plane.deviation_mm:.2g} mm"
    return f"{found}; {FILLED}"


def part_behind_sentence(plane: Plane, xyz_mm: Float, settings: PointCloudSettings) -> str:
    """Say that most of what is off the table lies behind it; "" if it lies before it, or nobody knows from where it was seen."""
    points, away = _seen(xyz_mm)
    off = (points @ plane.normal + plane.offset) * np.sign(plane.normal @ away)
    is_off = np.abs(off) >= removal_mm(plane, settings)
    if not is_before_camera(points, away) or np.count_nonzero(off[is_off] > 0) <= BEHIND_SHARE * np.count_nonzero(is_off):
        return ""
    return f"most of what counts as the part lies behind what counts as table; {FILLED}"


def unmeasured_border_sentence(xyz_mm: Float, settings: PointCloudSettings) -> str:
    """Say that a table shows where a sensor measured nothing along the border; "" if none does, or if the strip itself was measured.

    Where it was measured and holds no table, a wider one only finds a face of the part. A wide margin is told from a part without a table
    by whether what was measured is a sensor's field of view.
    """
    if len(border_points(xyz_mm, settings.border_px, np.random.default_rng(settings.seed))):
        return ""
    unmeasured = f"next to nothing was measured within {settings.border_px} px of the image's border, a table"
    for times in WIDER:
        wider = msgspec.structs.replace(settings, border_px=times * settings.border_px)
        if holds_part_on_table(xyz_mm, wider):
            advice = f"set point_cloud.border_px={wider.border_px}, or crop the scans"
            return f"{unmeasured} within {wider.border_px} px; if the part lies on a table, {advice}"
    window = measured_window(xyz_mm)
    height, width = window.shape[:2]
    if min(height, width) < SMALLEST_SIDE_PX or not is_field_of_view(window, settings) or not holds_part_on_table(window, settings):
        return ""
    return f"{unmeasured} farther inside; if the part lies on a table, crop the scans to the {width} x {height} px that were measured"


def sparse_border_sentence(xyz_mm: Float, settings: PointCloudSettings) -> str:
    """Say that a table was found where most of the border is empty: a part that touches the border may be taken for it; "" otherwise."""
    if is_field_of_view(measured_window(xyz_mm), settings):
        return ""
    found = "most of the border of what was measured is empty, and what is there counts as table"
    return f"{found}; if that is the part, set point_cloud.table=none"


def is_field_of_view(window: Float, settings: PointCloudSettings) -> bool:
    """Return whether what was measured fills its window (h, w, 3), as a sensor's field of view does and a part as a rule does not."""
    return bool(np.mean(is_measured(border_strip(window, settings.border_px))) >= FIELD_OF_VIEW * np.mean(is_measured(window)))


def holds_part_on_table(xyz_mm: Float, settings: PointCloudSettings) -> bool:
    """Return whether a table is found in a cloud (H, W, 3), and enough points off it for a part."""
    plane, points = find_table(xyz_mm, settings), xyz_mm[is_measured(xyz_mm)]
    return plane is not None and bool(np.count_nonzero(plane.distance(points) >= removal_mm(plane, settings)) >= MIN_PART_POINTS)


def measured_window(xyz_mm: Float) -> Float:
    """Return the smallest window (h, w, 3) of a cloud that holds every measured point but strays; all of it where next to none was."""
    measured = is_measured(xyz_mm)
    rows, columns = (np.flatnonzero(measured.sum(axis=axis) > STRAY_SHARE * measured.shape[axis]) for axis in (1, 0))
    return xyz_mm[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) and len(columns) else xyz_mm


def negated_z_sentence(xyz_mm: Float, settings: PointCloudSettings) -> str:
    """Say that a table would be found if z grew the other way, where no camera at (0, 0, 0) can have seen the scene; otherwise ""."""
    if is_before_camera(*_seen(xyz_mm)) or find_table(xyz_mm * np.array([1, 1, -1], np.float32), settings) is None:
        return ""
    return f"no table was found, but one where z is negated; {AXIS}"


def is_before_camera(points: Points, away: Points) -> bool:
    """Return whether a camera at (0, 0, 0) can have seen these points (N, 3), away from it (3,): heights are too small for distances."""
    return len(points) > 0 and bool(np.mean(points @ away) >= NEAREST * scene_extent(points))


def _seen(xyz_mm: Float) -> tuple[Points, Points]:
    """Return some of a cloud's measured points (N, 3), and the direction (3,) away from whoever saw them."""
    some = subsampled(xyz_mm)
    return some[is_measured(some)].astype(np.float64), away_from_viewer(some)
