"""Standard damage: the same dent and the same stain on any good part, so that a gate can test a model before any defect is confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from mdss.method.point_cloud import Prepared
from mdss.method.viewing import away_from_camera

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
DamageKind = Literal["stain", "dent"]

DAMAGES: tuple[DamageKind, ...] = ("stain", "dent")
RADIUS_SHARE = 0.06  # of the root of the part's area: a part of 50 mm gets a spot 6 mm across
FEWEST_PX = 2.5  # of the model's grid: no model sees a smaller spot
DEPTH_SHARE = 0.5  # of the radius, in the middle of the dent
OPACITY = 0.75
SOFT_RIM = 0.3  # of the radius, over which a stain fades
OIL, CHALK = (41.0, 28.0, 18.0), (235.0, 230.0, 214.0)
LIGHT_PART = 90.0  # brighter places get oil, darker ones chalk
INNER_SHARE = 0.75  # damage lies in the quarter of the part's pixels that is farthest from its rim


@dataclass(frozen=True)
class DamageSpot:
    """Place and size of the damage on a scan."""

    row: int
    column: int
    radius_px: float  # in pixels of the scan as recorded


def spot_on(part: Prepared, random: np.random.Generator) -> DamageSpot:
    """Return a random place well inside the part, with the standard size for a part of this area."""
    measured = np.isfinite(part.xyz).all(axis=2)
    inside = np.pad(measured, 1)
    depth = distance_transform_edt(inside)[1:-1, 1:-1]
    candidates = np.argwhere(depth >= np.quantile(depth[measured], INNER_SHARE))
    row, column = part.grid.pixel(*(int(each) for each in candidates[random.integers(len(candidates))]))
    radius_px = max(RADIUS_SHARE * float(np.sqrt(np.count_nonzero(measured))), FEWEST_PX)
    return DamageSpot(row, column, radius_px * part.grid.side / part.grid.size)


def damaged_scan(kind: DamageKind, scan: tuple[Image, Float], spot: DamageSpot) -> tuple[Image, Float]:
    """Return image (H, W, 3) and cloud (H, W, 3) mm of a scan with one stain or one dent at this spot."""
    rgb, xyz_mm = scan
    rows, columns = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    reach = np.hypot(rows - spot.row, columns - spot.column) / spot.radius_px
    return (with_stain(rgb, reach), xyz_mm) if kind == "stain" else (rgb, with_dent(xyz_mm, reach))


def with_stain(rgb: Image, reach: NDArray[np.float64]) -> Image:
    """Return the image with a stain where reach (H, W) is below 1: oil on light parts, chalk on dark ones."""
    share = OPACITY * np.clip((1 - reach) / SOFT_RIM, 0, 1)[..., None]
    ink = np.array(OIL if float(rgb[reach < 1].mean()) > LIGHT_PART else CHALK)
    return np.asarray(np.rint(rgb * (1 - share) + ink * share), np.uint8)


def with_dent(xyz_mm: Float, reach: NDArray[np.float64]) -> Float:
    """Return the cloud with a dent where reach (H, W) is below 1, away from the camera: deepest in the middle, level at the rim."""
    around = xyz_mm[reach < 1]
    around, away = around[np.isfinite(around).all(axis=1)].astype(np.float64), away_from_camera(xyz_mm)
    sideways = around - (around @ away)[:, None] * away
    radius_mm = 2 * float(np.median(np.linalg.norm(sideways - np.median(sideways, axis=0), axis=1))) / np.sqrt(2)
    depth_mm = DEPTH_SHARE * radius_mm * np.clip(1 - reach**2, 0, None)
    return np.asarray(xyz_mm + depth_mm[..., None] * away, np.float32)
