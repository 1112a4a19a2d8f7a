"""The products of synthetic lines, each part drawn anew: a machined flange, a potato, a woven mat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.synthetic_surface import Float, PartCoordinates, Surface, mottle, ramp, waves

Maker = Callable[[PartCoordinates, np.random.Generator], Surface]

BOLT_HOLES = 6
CHAMFER_MM = 0.9
YARN_MM = 4.0  # distance between two yarns of the mat


@dataclass(frozen=True)
class Product:
    """How to draw a part, and how its parts lie under the camera."""

    make: Maker
    rotation_deg: float  # at most, in either direction
    shift_mm: float


def flange(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a turned steel flange: bore, hub, bolt holes, chamfers and a raised rim."""
    radius = place.radius_mm
    bore, hub, outer = (nominal + random.normal(0, 0.06) for nominal in (7.0, 13.0, 27.0))
    thickness, hub_height = 6.0 + random.normal(0, 0.05), 12.0 + random.normal(0, 0.08)
    height = np.maximum(_ring(radius, bore, outer, thickness), _ring(radius, bore, hub, hub_height))
    height = np.maximum(height, _ring(radius, outer - 3.0, outer, thickness + 1.2))
    holes = _bolt_holes(place, 2.2 + random.normal(0, 0.04))
    height = np.where(holes > 0, np.minimum(height, thickness - np.clip(0.6 - holes, 0, 0.6) + 50 * (holes > 1)), 0).astype(np.float32)
    inside = (radius > bore) & (radius < outer) & (holes > 0)
    turned = 1 + 0.02 * mottle(random, place, 1.0) + 0.025 * np.sin(radius * np.float32(2 * np.pi / 1.7))
    steel = np.array([0.50, 0.51, 0.53], np.float32) * np.float32(random.normal(1, 0.02)) + random.normal(0, 0.004, 3).astype(np.float32)
    return Surface(
        height_mm=height * inside,
        inside=inside,
        colour=turned[..., None].astype(np.float32) * steel * inside[..., None],
        gloss=np.where(inside, np.float32(0.42), np.float32(0)),
        grain_rad=np.arctan2(place.v_mm, place.u_mm) + np.float32(np.pi / 2),
    )


def _ring(radius: Float, inner: float, outer: float, height: float) -> Float:
    """Height of a flat ring whose edges are broken at 45 degrees; 0 outside it."""
    depth = np.minimum(radius - np.float32(inner), np.float32(outer) - radius)
    return np.where(depth > 0, np.float32(height) - np.clip(np.float32(CHAMFER_MM) - depth, 0, None), np.float32(0))


def _bolt_holes(place: PartCoordinates, hole_mm: float) -> Float:
    """Distance from the edge of the nearest bolt hole, negative inside it."""
    angles = np.arange(BOLT_HOLES) * 2 * np.pi / BOLT_HOLES
    distances = [place.distance_mm(18.5 * np.cos(angle), 18.5 * np.sin(angle)) for angle in angles]
    return np.asarray(np.minimum.reduce(distances) - np.float32(hole_mm), np.float32)


def potato(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a potato: a lumpy dome with mottled skin and a few eyes."""
    half_length, half_width = random.normal(27, 1.2), random.normal(20.5, 0.9)
    angle = np.arctan2(place.v_mm, place.u_mm)
    outline = np.ones_like(angle)
    for order in (2, 3, 4):
        outline += np.float32(random.normal(0, 0.05 / order)) * np.cos(order * angle + np.float32(random.uniform(0, 2 * np.pi)))
    reach = np.hypot(place.u_mm / np.float32(half_length), place.v_mm / np.float32(half_width)) / outline
    inside = reach < 1
    dome = np.sqrt(np.clip(1 - reach**2.4, 0, None))
    height = np.float32(random.normal(17, 0.7)) * dome + dome * (0.45 * waves(random, place, 22) + 0.06 * waves(random, place, 5))
    skin = np.array([0.66, 0.50, 0.30], np.float32) * np.float32(random.normal(1, 0.035)) + random.normal(0, 0.008, 3).astype(np.float32)
    shade = 1 + 0.05 * mottle(random, place, 2.2) + 0.04 * mottle(random, place, 7)
    for _ in range(random.integers(3, 6)):
        turn, far = random.uniform(0, 2 * np.pi), np.sqrt(random.uniform(0.02, 0.55))
        eye = ramp(place.distance_mm(far * half_length * np.cos(turn), far * half_width * np.sin(turn)), random.uniform(1.2, 1.8), 0.2)
        height, shade = height - np.float32(0.35) * eye, shade - np.float32(0.16) * eye
    return Surface(
        height_mm=np.asarray(np.clip(height, 0.3, None) * inside, np.float32),
        inside=inside,
        colour=np.asarray(shade[..., None] * skin * inside[..., None], np.float32),
        gloss=np.where(inside, np.float32(0.05), np.float32(0)),
    )


def mat(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a woven mat: two colours of yarn over and under each other, on a soft sheet that never lies flat."""
    half_u, half_v = random.normal(30, 0.5), random.normal(23, 0.4)
    u = place.u_mm + np.float32(0.35) * waves(random, place, 45)
    v = place.v_mm + np.float32(0.35) * waves(random, place, 45)
    corner = np.hypot(np.clip(np.abs(u) - np.float32(half_u - 4), 0, None), np.clip(np.abs(v) - np.float32(half_v - 4), 0, None))
    inside = corner < 4
    warp, weft = np.cos(u * np.float32(2 * np.pi / YARN_MM)), np.cos(v * np.float32(2 * np.pi / YARN_MM))
    over = np.sign(np.sin(u * np.float32(np.pi / YARN_MM)) * np.sin(v * np.float32(np.pi / YARN_MM))) > 0
    yarn = np.where(over, warp, weft)
    edge = ramp(corner, 4.0, 2.6)
    height = (4.6 + 0.45 * waves(random, place, 50) + 0.30 * yarn) * (0.45 + 0.55 * edge)
    tone = np.float32(random.normal(1, 0.025))
    colours = np.array([[0.24, 0.38, 0.52], [0.62, 0.60, 0.54]], np.float32) * tone + random.normal(0, 0.006, (2, 3)).astype(np.float32)
    shade = (0.86 + 0.14 * yarn) * (1 + 0.035 * mottle(random, place, 1.1))
    return Surface(
        height_mm=np.asarray(height * inside, np.float32),
        inside=inside,
        colour=np.asarray(np.where(over[..., None], colours[0], colours[1]) * shade[..., None] * inside[..., None], np.float32),
        gloss=np.where(inside, np.float32(0.03), np.float32(0)),
    )


PRODUCTS = {
    "flange": Product(flange, rotation_deg=180, shift_mm=5),
    "potato": Product(potato, rotation_deg=180, shift_mm=5),
    "mat": Product(mat, rotation_deg=12, shift_mm=4),
}
