"""The defects of synthetic parts: each changes the part's colour, its shape or both, and marks where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from trainer.synthetic_outlines import ROOM_MM, along, blob, slab, spot, walk
from trainer.synthetic_surface import Bool, Float, PartCoordinates, Surface, blend, mottle, ramp, waves

Draw = Callable[[Surface, PartCoordinates, np.random.Generator], tuple[Surface, Bool]]

VISIBLE_MM = 0.15  # smaller changes of height are lost in the camera's noise
VISIBLE_SHARE = 0.35  # of another colour: less of it is not marked
MIN_RADIUS_PX = 2.0  # in coarse pictures, defects get larger instead of invisible

STAINS = ((0.16, 0.11, 0.07), (0.42, 0.17, 0.06), (0.20, 0.30, 0.16), (0.92, 0.90, 0.84))  # oil, rust, mould, chalk
INKS = ((0.05, 0.05, 0.07), (0.06, 0.10, 0.42), (0.60, 0.06, 0.06), (0.95, 0.95, 0.92))
BODIES = ((0.66, 0.47, 0.16), (0.62, 0.08, 0.07), (0.06, 0.06, 0.07), (0.12, 0.42, 0.20))  # brass, and plastics


@dataclass(frozen=True)
class DefectKind:
    """One kind of defect: how to draw it, and whether it changes colour and shape."""

    draw: Draw
    colour: bool
    shape: bool


def stain(surface: Surface, place: PartCoordinates, random: np.random.Generator) -> tuple[Surface, Bool]:
    """Discolour a spot of 3 to 6 mm."""
    radius = _radius(place, random.uniform(1.5, 3.0))
    reach = blob(place, random, spot(surface, place, random, radius + ROOM_MM), radius)
    share = ramp(reach, 1.1, 0.7) * np.float32(random.uniform(0.65, 0.85)) * np.clip(1 + 0.08 * mottle(random, place, 0.9), 0, 1.1)
    share = np.asarray(share * surface.inside, np.float32)
    return replace(surface, colour=blend(surface.colour, _pick(STAINS, random), share)), share > VISIBLE_SHARE


def scratch_colour(surface: Surface, place: PartCoordinates, random: np.random.Generator) -> tuple[Surface, Bool]:
    """Draw a line of ink, 6 to 12 mm long where there is room, and 0.6 to 1.1 mm wide."""
    corners = walk(surface, place, random, random.uniform(6, 12))
    reach = along(place, corners, np.full(len(corners) - 1, _radius(place, random.uniform(0.30, 0.55), 0.7)))
    share = np.asarray(0.9 * ramp(reach, 1.4, 0.6) * surface.inside, np.float32)
    return replace(surface, colour=blend(surface.colour, _pick(INKS, random), share)), share > VISIBLE_SHARE


def bump(surface: Surface, place: PartCoordinates, random: np.random.Generator) -> tuple[Surface, Bool]:
    """Raise a spot of 3 to 6 mm by 0.8 to 2 mm; its colour stays."""
    return _swollen(surface, place, random, random.uniform(0.8, 2.0))


def dent(surface: Surface, place: PartCoordinates, random: np.random.Generator) -> tuple[Surface, Bool]:
    """Press a spot of 3 to 6 mm in by 0.8 to 2 mm; its colour stays."""
    return _swollen(surface, place, random, -random.uniform(0.8, 2.0))


def hole(surface: Surface, place: PartCoordinates, random: np.random.Generator) -> tuple[Surface, Bool]:
    """Drill a hole of 2 to 3.6 mm, 3 to 6 mm deep, into which little light falls."""
    radius = _radius(place, random.uniform(1.0, 1.8))
    distance = place.distance_mm(*spot(surface, place, random, radius + ROOM_MM))
    share = ramp(distance, radius + 0.15, radius - 0.15) * surface.inside
    return _sunk(surface, share, random.uniform(3, 6), 0.14), distance < radius


def crack(surface: Surface, place: PartCoordinates, random: np.random.Generator) -> tuple[Surface, Bool]:
    """Open a crack, 7 to 13 mm long where there is room, 0.7 to 1.2 mm wide in its middle and 1.5 to 3 mm deep."""
    corners = walk(surface, place, random, random.uniform(7, 13))
    half_width = _radius(place, random.uniform(0.35, 0.6), 0.7)
    taper = np.sin(np.linspace(0, np.pi, len(corners) + 1)[1:-1]).clip(0.45)
    share = ramp(along(place, corners, half_width * taper), 1.35, 0.55) * surface.inside
    return _sunk(surface, share, random.uniform(1.5, 3), 0.22), share > VISIBLE_SHARE


def foreign_body(surface: Surface, place: PartCoordinates, random: np.random.Generator) -> tuple[Surface, Bool]:
    """Lay a chip of brass or plastic on the part, 3 to 5.5 mm long, 2 to 3.4 mm wide and 1.2 to 2.5 mm high."""
    length, width = _radius(place, random.uniform(1.5, 2.75)), _radius(place, random.uniform(1.0, 1.7))
    reach = slab(place, spot(surface, place, random, length + ROOM_MM), (length, width), random.uniform(0, np.pi))
    body = reach < 1
    under = cv2.GaussianBlur(surface.height_mm, (0, 0), 1.2 / place.pitch_mm)
    top = under + np.float32(random.uniform(1.2, 2.5)) * np.clip(1 - reach, 0, None) ** np.float32(0.3)
    shade = np.float32(random.normal(1, 0.05)) * (1 + 0.05 * mottle(random, place, 0.8))
    changed = replace(
        surface,
        height_mm=np.where(body, np.maximum(surface.height_mm, top), surface.height_mm),
        colour=np.where(body[..., None], _pick(BODIES, random) * shade[..., None], surface.colour).astype(np.float32),
        gloss=np.where(body, np.float32(0.05), surface.gloss),
    )
    return changed, body


def missing_piece(surface: Surface, place: PartCoordinates, random: np.random.Generator) -> tuple[Surface, Bool]:
    """Bite a ragged piece of 4 to 8 mm out of the rim: the table shows."""
    rims, _ = cv2.findContours(surface.inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    column, row = random.choice(max(rims, key=len)[:, 0])
    radius = _radius(place, random.uniform(2.4, 4.0), 3.0)
    reach = blob(place, random, (float(place.u_mm[row, column]), float(place.v_mm[row, column])), radius)
    bite = surface.inside & (reach + 0.06 * waves(random, place, 2.5) < 1)
    kept = surface.inside & ~bite
    changed = replace(
        surface,
        height_mm=surface.height_mm * kept,
        inside=kept,
        colour=surface.colour * kept[..., None],
        gloss=surface.gloss * kept,
    )
    return changed, bite


def _swollen(surface: Surface, place: PartCoordinates, random: np.random.Generator, rise_mm: float) -> tuple[Surface, Bool]:
    radius = _radius(place, random.uniform(1.8, 3.0), 3.0)
    reach = blob(place, random, spot(surface, place, random, radius + ROOM_MM), radius)
    height = np.clip(surface.height_mm + np.float32(rise_mm) * ramp(reach, 1.15, 0.25), 0.3, None)
    height = np.where(surface.inside, height, surface.height_mm).astype(np.float32)
    return replace(surface, height_mm=height), np.abs(height - surface.height_mm) > VISIBLE_MM


def _sunk(surface: Surface, share: Float, depth_mm: float, darkness: float) -> Surface:
    """Return the surface lowered by up to `depth_mm`, never below the table, and darkened, because little light gets in."""
    return replace(
        surface,
        height_mm=np.asarray(np.maximum(surface.height_mm - np.float32(depth_mm) * share, np.minimum(surface.height_mm, 0.2)), np.float32),
        colour=np.asarray(surface.colour * (1 - np.float32(1 - darkness) * share)[..., None], np.float32),
        gloss=np.asarray(surface.gloss * (1 - share), np.float32),
    )


def _radius(place: PartCoordinates, radius_mm: float, at_least_px: float = MIN_RADIUS_PX) -> float:
    return max(radius_mm, at_least_px * place.pitch_mm)


def _pick(colours: tuple[tuple[float, float, float], ...], random: np.random.Generator) -> Float:
    return np.array(colours[random.integers(len(colours))], np.float32)


KINDS = {
    "stain": DefectKind(stain, colour=True, shape=False),
    "scratch_colour": DefectKind(scratch_colour, colour=True, shape=False),
    "bump": DefectKind(bump, colour=False, shape=True),
    "dent": DefectKind(dent, colour=False, shape=True),
    "hole": DefectKind(hole, colour=True, shape=True),
    "crack": DefectKind(crack, colour=True, shape=True),
    "foreign_body": DefectKind(foreign_body, colour=True, shape=True),
    "missing_piece": DefectKind(missing_piece, colour=True, shape=True),
}
