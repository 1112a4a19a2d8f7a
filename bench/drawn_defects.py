"""Good parts with drawn defects or moved pieces: recipes can be chosen by them, so that the test scans are left for a last look.

Their kinds and profiles differ from those that the shape branch learns from (`trainer/damage.py`). Otherwise it would be tested on what
it has learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mdss.method.grid import Grid, all_three
from mdss.method.point_cloud import Prepared
from mdss.method.viewing import away_from_camera
from mdss.method.voids import pixel_steps
from trainer.branch_inputs import BRANCHES, Branch
from trainer.damage import Spot

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
Bool = NDArray[np.bool_]
ShapeKind = Literal["bump", "dent", "ridge", "tilted piece", "hole"]

KINDS: tuple[ShapeKind, ...] = ("bump", "dent", "ridge", "tilted piece", "hole")
COPIES = 3  # of each part with a defect of shape, and as many with one of colour
RADIUS_PX = (3.0, 9.0)
HEIGHT_STEPS = (1.0, 4.0)  # height of bumps, dents, ridges and tilted pieces, in steps from one pixel to the next
RIDGE_PX = ((8.0, 16.0), (1.2, 2.5))  # half the length and half the width
TILT_FROM = -0.3  # of the radius: where the tilt begins on its way across the piece
STAIN_PX = (2.0, 7.0)
STAIN_OPACITY = (0.15, 0.5)
PIECE_PX = (4.0, 9.0)
PIECE_TURN_DEG = (30.0, 330.0)
RIM = 0.15  # of the radius, to both sides: there a stain or a piece fades


@dataclass(frozen=True)
class Defective:
    """A copy of a good part with one defect."""

    part: Prepared
    truth: Bool  # (S, S)
    shows_in: tuple[Branch, ...]


def with_drawn_defects(part: Prepared, random: np.random.Generator) -> Iterator[Defective]:
    """Yield copies of a part with one defect each, as frames of the grid's own size."""
    whole = replace(part, grid=Grid.filled(len(part.mask)))
    for _ in range(COPIES):
        xyz, truth = with_shape_defect(part.xyz, KINDS[random.integers(len(KINDS))], random)
        yield Defective(replace(whole, xyz=xyz), truth, ("sdf",))
        rgb, truth = with_stain(part.rgb, part.mask, random)
        yield Defective(replace(whole, rgb=rgb), truth, ("rgb",))


def with_moved_pieces(part: Prepared, random: np.random.Generator) -> Iterator[Defective]:
    """Yield copies of a part, each with one piece of its image in another place, as frames of the grid's own size."""
    whole = replace(part, grid=Grid.filled(len(part.mask)))
    for _ in range(COPIES):
        rgb, truth = with_moved_piece(part.rgb, part.mask, random)
        yield Defective(replace(whole, rgb=rgb), truth, ("rgb",))


def with_pieces_moved_in_both(part: Prepared, random: np.random.Generator) -> Iterator[Defective]:
    """Yield copies of a part, each with one piece of image and cloud in another place, as frames of the grid's own size."""
    whole = replace(part, grid=Grid.filled(len(part.mask)))
    for _ in range(COPIES):
        move = PieceMove.on(all_three(np.isfinite(part.xyz)), random)
        moved = replace(whole, rgb=move.in_image(part.rgb), xyz=move.in_cloud(part.xyz))
        yield Defective(moved, move.covered(len(part.mask)) & part.mask, BRANCHES)


def with_shape_defect(xyz: Float, kind: ShapeKind, random: np.random.Generator) -> tuple[Float, Bool]:
    """Return an organised cloud (S, S, 3) mm with one defect, and the mask of its points."""
    measured = all_three(np.isfinite(xyz))
    place, radius_px = place_on(measured, random), random.uniform(*RADIUS_PX)
    sizes_px = [random.uniform(*limits) for limits in RIDGE_PX] if kind == "ridge" else [radius_px, radius_px]
    along, across = Spot(*place, *sizes_px).axes(len(xyz))
    reach = np.maximum(np.abs(along), np.abs(across)) if kind == "ridge" else np.hypot(along, across)
    inside = reach < 1
    if kind == "hole":
        return np.where(inside[..., None], np.float32(np.nan), xyz), inside & measured
    pitch_mm = float(np.mean([np.linalg.norm(step) for step in pixel_steps(xyz)]))
    height_mm = pitch_mm * random.uniform(*HEIGHT_STEPS)
    if kind == "tilted piece":
        sunk = height_mm * np.clip(along - TILT_FROM, 0, None) * inside
    else:
        sunk = height_mm * np.clip(1 - reach**2, 0, None) * (1 if kind == "dent" else -1)
    return np.asarray(xyz + sunk[..., None] * away_from_camera(xyz), np.float32), inside & measured


def with_stain(rgb: Image, mask: Bool, random: np.random.Generator) -> tuple[Image, Bool]:
    """Return an image (S, S, 3) with one translucent stain of any colour, and the mask of it on the part."""
    reach = Spot(*place_on(mask, random), random.uniform(*STAIN_PX), random.uniform(*STAIN_PX)).reach(len(rgb))
    opacity, colour = random.uniform(*STAIN_OPACITY), random.uniform(0, 255, 3)
    return blend_over(rgb, colour, opacity, reach), (reach < 1) & mask


def with_moved_piece(rgb: Image, mask: Bool, random: np.random.Generator) -> tuple[Image, Bool]:
    """Return an image (S, S, 3) in which one round piece of the part covers another place, turned, and the mask of that place on the part.

    Everything in it is of a good part, only not there: what is wrong is as plain as a cut or a thread, and as rich in detail (CutPaste).
    """
    move = PieceMove.on(mask, random)
    return move.in_image(rgb), move.covered(len(rgb)) & mask


@dataclass(frozen=True)
class PieceMove:
    """Which round piece of a part is put where, and how far it is turned."""

    row: float
    column: float
    from_row: float
    from_column: float
    turn_deg: float
    radius_px: float

    @classmethod
    def on(cls, inside: Bool, random: np.random.Generator) -> PieceMove:
        """Return a random move from one place on the mask to another."""
        (row, column, _), (from_row, from_column, _) = place_on(inside, random), place_on(inside, random)
        turn_deg = random.uniform(*PIECE_TURN_DEG)
        return cls(row, column, from_row, from_column, turn_deg, random.uniform(*PIECE_PX))

    def covered(self, size: int) -> Bool:
        """Return which pixels (size, size) the piece covers, without its faded rim."""
        return np.asarray(self._reach(self.row, self.column, size) < 1)

    def in_image(self, rgb: Image) -> Image:
        """Return the image (S, S, 3) with the piece moved; its rim fades into what was there."""
        moved = cv2.warpAffine(rgb, self._turning, rgb.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return blend_over(rgb, moved, 1.0, self._reach(self.row, self.column, len(rgb)))

    def in_cloud(self, xyz: Float) -> Float:
        """Return the cloud (S, S, 3) mm with the piece moved: its heights above its own plane, on the plane of the place that it covers.

        Points that are missing in the piece are missing there, too.
        """
        away = away_from_camera(xyz)
        piece: Bool = np.asarray(self._reach(self.from_row, self.from_column, len(xyz)) < 1)
        heights = np.asarray((xyz - level_of(xyz, piece)) @ away, np.float32)
        moved = cv2.warpAffine(heights, self._turning, heights.shape[::-1], flags=cv2.INTER_NEAREST, borderValue=(np.nan,))
        covered = self.covered(len(xyz))
        there = level_of(xyz, covered) + np.asarray(moved)[..., None] * away
        return np.where(covered[..., None], there.astype(np.float32), xyz)

    def _reach(self, row: float, column: float, size: int) -> Float:
        return Spot(row, column, 0.0, self.radius_px, self.radius_px).reach(size)

    @property
    def _turning(self) -> NDArray[np.float64]:
        turning = np.asarray(cv2.getRotationMatrix2D((self.from_column, self.from_row), self.turn_deg, 1), np.float64)
        turning[:, 2] += np.array((self.column - self.from_column, self.row - self.from_row))
        return turning


def level_of(xyz: Float, inside: Bool) -> NDArray[np.float64]:
    """Return where the points (S, S, 3) mm would be if the part were flat: the plane of its points inside, at every pixel of the grid."""
    measured = inside & all_three(np.isfinite(xyz))
    places = np.dstack([*np.mgrid[: len(xyz), : len(xyz)], np.ones(inside.shape)])
    return np.asarray(places @ np.linalg.lstsq(places[measured], xyz[measured].astype(np.float64))[0])


def blend_over(rgb: Image, by: NDArray[np.generic], opacity: float, reach: NDArray[np.floating]) -> Image:
    """Return an image (S, S, 3) covered by another one, or by one colour (3,), where `reach` (S, S) is below 1, fading at the rim."""
    share = opacity * np.clip((1 + RIM - reach) / (2 * RIM), 0, 1)[..., None]
    return np.asarray(np.rint(rgb * (1 - share) + by * share), np.uint8)


def place_on(inside: Bool, random: np.random.Generator) -> tuple[float, float, float]:
    """Return row and column of a random pixel of the mask, and a random direction in radians."""
    pixels = np.argwhere(inside)
    row, column = pixels[random.integers(len(pixels))]
    return float(row), float(column), random.uniform(0, np.pi)
