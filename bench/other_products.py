"""Products unlike those of `mdss synthetic`, for a look at data that no setting was chosen by."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.command_line import main_of
from mdss.settings_types import LARGEST_SIDE_PX, SMALLEST_SIDE_PX
from trainer import synthetic_products
from trainer.synthetic import Line, LineSize, write_line
from trainer.synthetic_camera import View
from trainer.synthetic_defects import KINDS
from trainer.synthetic_products import Product
from trainer.synthetic_surface import Bool, Float, PartCoordinates, Surface, blend, mottle, ramp, waves

EXAMPLE = "Example: python -m bench.other_products --product rope --out data/rope --seed 5501 --height 400 --width 900"
Colour = tuple[float, float, float]
FULL_TURN = np.float32(2 * np.pi)


def matt(place: PartCoordinates, inside: Bool, height: Float, tint: Float, gloss: float) -> Surface:
    """Return a part with this height and colour (H, W, 3) inside the mask, and nothing elsewhere."""
    return Surface(
        height_mm=np.asarray(height * inside, np.float32),
        inside=inside,
        colour=np.asarray(tint * inside[..., None], np.float32),
        gloss=np.where(inside, np.float32(gloss), np.zeros_like(place.u_mm)),
    )


def dye(colour: Colour, spread: float, random: np.random.Generator) -> Float:
    """Return a colour with a random brightness, as it varies from part to part."""
    return np.array(colour, np.float32) * np.float32(random.normal(1, spread))


def rope(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a laid rope of 18 mm that runs through the picture."""
    v = place.v_mm + waves(random, place, 120)
    half = np.float32(9 + random.normal(0, 0.15))
    across = v / half
    inside = np.abs(across) < 1
    dome = np.sqrt(np.clip(1 - across**2, 0, 1))
    lay = place.u_mm * (FULL_TURN / 14) + np.arcsin(np.clip(across, -1, 1)) * np.float32(1.5) + np.float32(random.uniform(0, 6.28))
    strand = np.abs(np.cos((lay + np.float32(0.25) * waves(random, place, 40)) / 2))
    fibre = mottle(random, place, 0.8)
    height = half * dome + np.float32(1.2) * strand * dome + np.float32(0.08) * fibre
    hemp = dye((0.62, 0.52, 0.36), 0.03, random)
    shade = (np.float32(0.7) + np.float32(0.3) * strand) * (1 + np.float32(0.07) * fibre + np.float32(0.04) * mottle(random, place, 4))
    return matt(place, inside, np.clip(height * inside, 0.3, None), shade[..., None] * hemp, 0.03)


def foam(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a strip of foam, 52 mm wide, that runs through the picture: pores of all sizes up to 2 mm."""
    inside = np.abs(place.v_mm + np.float32(0.4) * waves(random, place, 80)) < np.float32(26 + random.normal(0, 0.1))
    pores = np.clip(mottle(random, place, 2.2) - np.float32(0.9), 0, None)
    height = np.float32(18) + np.float32(1.2) * waves(random, place, 150) + np.float32(0.25) * mottle(random, place, 5)
    height = height - np.float32(0.8) * np.clip(pores, 0, 1.2) + np.float32(0.05) * mottle(random, place, 0.8)
    yellow = dye((0.78, 0.74, 0.58), 0.02, random)
    shade = 1 - np.float32(0.35) * np.clip(pores, 0, 1) + np.float32(0.04) * mottle(random, place, 1)
    return matt(place, inside, height, (shade + np.float32(0.05) * waves(random, place, 60))[..., None] * yellow, 0.03)


def tire(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a small tire: black, a round body with blocks of tread on its shoulder."""
    radius, angle = place.radius_mm, np.arctan2(place.v_mm, place.u_mm)
    outer, inner = np.float32(32 + random.normal(0, 0.15)), np.float32(17 + random.normal(0, 0.15))
    inside = (radius > inner) & (radius < outer)
    across = (radius - (outer + inner) / 2) / ((outer - inner) / 2)
    body = np.float32(11) * np.power(np.clip(1 - np.abs(across) ** 2.6, 0, 1), np.float32(0.5))
    tread = (np.cos(angle * np.float32(28) + np.float32(2.5) * np.sign(across)) > 0.35) & (across > 0.25) & (across < 0.95)
    height = body - np.float32(1.2) * tread + np.float32(0.05) * mottle(random, place, 1.5)
    ribs = 1 + np.float32(0.12) * np.sin(radius * (FULL_TURN / np.float32(2.4))) * (across < 0.2)
    black = dye((0.085, 0.085, 0.09), 0.04, random)
    shade = ribs * (1 - np.float32(0.3) * tread) * (1 + np.float32(0.06) * mottle(random, place, 1.2))
    return matt(place, inside, np.clip(height * inside, 0.3, None), shade[..., None] * black, 0.12)


def cookie(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a cookie with chips, rougher than most of its dents are deep."""
    angle = np.arctan2(place.v_mm, place.u_mm)
    outline = np.ones_like(angle)
    for order in (2, 3, 5, 8):
        outline += np.float32(random.normal(0, 0.03)) * np.cos(order * angle + np.float32(random.uniform(0, 6.28)))
    reach = np.asarray(place.radius_mm / (np.float32(40 + random.normal(0, 0.8)) * outline), np.float32)
    inside = reach < 1
    dome = np.power(np.clip(1 - reach**4, 0, 1), np.float32(0.5))
    rough = np.float32(0.5) * waves(random, place, 9) + np.float32(0.35) * mottle(random, place, 2.5)
    height = np.float32(9) * dome + dome * (rough + np.float32(0.15) * mottle(random, place, 1.2))
    shade = 1 + np.float32(0.10) * mottle(random, place, 2.5) + np.float32(0.06) * mottle(random, place, 1)
    tint = np.broadcast_to(dye((0.62, 0.42, 0.22), 0.04, random), (*angle.shape, 3)).astype(np.float32)
    for _ in range(random.integers(10, 18)):
        turn, far = random.uniform(0, 6.28), np.sqrt(random.uniform(0, 0.75))
        size, u, v = random.uniform(1.5, 3.2), np.float32(far * 40 * np.cos(turn)), np.float32(far * 40 * np.sin(turn))
        distance = np.hypot(place.u_mm - u, (place.v_mm - v) * np.float32(random.uniform(0.8, 1.3)))
        chip = ramp(np.asarray(distance, np.float32), size, size - 0.5)
        height, tint = height + np.float32(0.9) * chip * dome, blend(tint, np.array([0.16, 0.09, 0.06], np.float32), chip)
    shade = shade - np.float32(0.25) * ramp(reach, 0.8, 1)
    return matt(place, inside, np.clip(height * inside, 0.3, None), shade[..., None] * tint, 0.04)


def dowel(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a fluted wooden dowel of 72 x 16 mm with broken edges."""
    half_length, half = np.float32(36 + random.normal(0, 0.15)), np.float32(8 + random.normal(0, 0.05))
    across, end = place.v_mm / half, np.clip(np.abs(place.u_mm) - (half_length - np.float32(1.5)), 0, None)
    inside = (np.abs(across) < 1) & (np.abs(place.u_mm) < half_length)
    flutes = np.cos(np.arcsin(np.clip(across, -1, 1)) * np.float32(12))
    height = half + half * np.sqrt(np.clip(1 - across**2, 0, 1)) - end + np.float32(0.15) * flutes
    warped = place.v_mm + np.float32(0.8) * waves(random, place, 60)
    grain = np.sin(warped * (FULL_TURN / np.float32(2.2)) + np.float32(2) * waves(random, place, 25))
    wood = dye((0.74, 0.60, 0.40), 0.03, random)
    shade = 1 + np.float32(0.07) * grain + np.float32(0.03) * mottle(random, place, 1)
    return matt(place, inside, np.clip(height * inside, 0.3, None), shade[..., None] * wood, 0.08)


def carrot(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a carrot, some 80 mm long: bent a little, tapering to a blunt end, with grooves across it and a green crown."""
    half_length = np.float32(random.normal(40, 2))
    along = place.u_mm / half_length
    across_mm = place.v_mm + np.float32(random.normal(0, 1.2)) * along**2 + np.float32(0.3) * waves(random, place, 50)
    taper = np.float32(random.normal(11, 0.6)) - np.float32(random.normal(5.5, 0.4)) * (along + 1) / 2
    half = taper * (1 + np.float32(0.02) * waves(random, place, 30)) * np.power(np.clip(1 - np.abs(along) ** 7, 0, 1), np.float32(0.5))
    across = across_mm / np.clip(half, 0.1, None)
    inside = (np.abs(along) < 1) & (np.abs(across) < 1)
    height = half + half * np.sqrt(np.clip(1 - across**2, 0, 1)) + np.float32(0.06) * mottle(random, place, 3)
    orange = dye((0.80, 0.36, 0.10), 0.04, random)
    shade = 1 + np.float32(0.05) * mottle(random, place, 6) + np.float32(0.025) * mottle(random, place, 1)
    for _ in range(random.integers(9, 17)):
        where, middle, reach = random.uniform(-36, 36), random.uniform(-0.8, 0.8), random.uniform(0.3, 0.9)
        near = ramp(np.abs(place.u_mm - np.float32(where) - waves(random, place, 12) * np.float32(0.3)), random.uniform(0.5, 0.9), 0.1)
        groove = near * ramp(np.abs(across - np.float32(middle)), reach, 0.6 * reach)
        height, shade = height - np.float32(0.2) * groove, shade - np.float32(random.uniform(0.1, 0.25)) * groove
    crown = ramp(np.asarray(along + np.float32(0.04) * mottle(random, place, 4), np.float32), -0.86, -0.97)
    tint = blend(np.broadcast_to(orange, (*along.shape, 3)).astype(np.float32), np.array([0.36, 0.38, 0.14], np.float32), crown)
    return matt(place, inside, np.clip(height * inside, 0.3, None), shade[..., None] * tint, 0.08)


def peach(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a peach of some 60 mm: half of a ball with a seam, yellow on one side and red on the other."""
    angle, turn = np.arctan2(place.v_mm, place.u_mm), np.float32(random.uniform(0, 6.28))
    outline = np.ones_like(angle)
    for order in (2, 3):
        outline += np.float32(random.normal(0, 0.012)) * np.cos(order * angle + np.float32(random.uniform(0, 6.28)))
    reach = np.asarray(place.radius_mm / (np.float32(random.normal(30, 1.2)) * outline), np.float32)
    inside = reach < 1
    dome = np.power(np.clip(1 - reach**2, 0, 1), np.float32(0.5))
    seam_mm = place.v_mm - np.float32(random.normal(0, 5)) * (1 - np.clip(reach, 0, 1) ** 2) + np.float32(0.3) * waves(random, place, 30)
    seam = ramp(np.abs(seam_mm), random.uniform(2.5, 4), 0) * ramp(place.u_mm, -20, 5)
    height = np.float32(random.normal(27, 1)) * dome - np.float32(random.uniform(0.6, 1.2)) * seam * dome
    height = height + dome * np.float32(0.25) * waves(random, place, 25)
    towards = (np.cos(turn) * place.u_mm + np.sin(turn) * place.v_mm) / 30 + np.float32(0.35) * waves(random, place, 35)
    blush = ramp(np.asarray(towards + np.float32(0.12) * mottle(random, place, 3), np.float32), -0.9, 0.9)
    yellow = np.broadcast_to(dye((0.80, 0.58, 0.26), 0.03, random), (*angle.shape, 3)).astype(np.float32)
    tint = blend(yellow, np.array([0.58, 0.15, 0.12], np.float32), blush * np.float32(random.uniform(0.6, 0.95)))
    shade = (1 - np.float32(0.12) * seam) * (1 + np.float32(0.03) * mottle(random, place, 1))
    return matt(place, inside, np.clip(height * inside, 0.3, None), shade[..., None] * tint, 0.02)


def bagel(place: PartCoordinates, random: np.random.Generator) -> Surface:
    """Draw a bagel of some 84 mm: a thick ring, shiny, browned on top, with blisters and a hole that is never round."""
    angle = np.arctan2(place.v_mm, place.u_mm)
    inner, outer = np.full_like(angle, random.normal(11, 1)), np.full_like(angle, random.normal(42, 1))
    for order in (2, 3, 5):
        phase = np.float32(random.uniform(0, 6.28))
        inner += np.float32(random.normal(0, 0.8)) * np.cos(order * angle + phase)
        outer += np.float32(random.normal(0, 0.7)) * np.cos(order * angle - phase)
    across = (place.radius_mm - (outer + inner) / 2) / ((outer - inner) / 2)
    inside = np.abs(across) < 1
    dome = np.power(np.clip(1 - np.abs(across) ** 2.4, 0, 1), np.float32(0.5))
    blisters = np.clip(mottle(random, place, 3) - np.float32(1.3), 0, 1)
    height = np.float32(random.normal(23, 0.8)) * dome + dome * (np.float32(0.5) * waves(random, place, 20) + np.float32(0.3) * blisters)
    browned = ramp(np.asarray(dome + np.float32(0.08) * waves(random, place, 15) + np.float32(0.04) * mottle(random, place, 4)), 0.45, 1.05)
    pale = np.broadcast_to(dye((0.80, 0.62, 0.36), 0.03, random), (*angle.shape, 3)).astype(np.float32)
    tint = blend(pale, np.array([0.46, 0.24, 0.09], np.float32), browned * np.float32(random.uniform(0.75, 1)))
    shade = 1 + np.float32(0.12) * blisters + np.float32(0.035) * mottle(random, place, 1.2)
    return matt(place, inside, np.clip(height * inside, 0.3, None), shade[..., None] * tint, 0.18)


OTHERS = {
    "rope": Product(rope, rotation_deg=4, shift_mm=3),
    "foam": Product(foam, rotation_deg=3, shift_mm=3),
    "tire": Product(tire, rotation_deg=180, shift_mm=4),
    "cookie": Product(cookie, rotation_deg=180, shift_mm=3),
    "dowel": Product(dowel, rotation_deg=20, shift_mm=5),
    "carrot": Product(carrot, rotation_deg=180, shift_mm=3),
    "peach": Product(peach, rotation_deg=180, shift_mm=5),
    "bagel": Product(bagel, rotation_deg=180, shift_mm=2),
}


@click.command(epilog=EXAMPLE)
@click.option("--product", type=click.Choice(list(OTHERS)), required=True, help="What the parts are.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new or empty folder.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same files.")
@click.option(
    "--height", type=click.IntRange(SMALLEST_SIDE_PX, LARGEST_SIDE_PX), default=400, show_default=True, help="Of a scan, in pixels."
)
@click.option(
    "--width", type=click.IntRange(SMALLEST_SIDE_PX, LARGEST_SIDE_PX), default=400, show_default=True, help="Of a scan, in pixels."
)
@click.option("--kind", "kinds", type=click.Choice(list(KINDS)), multiple=True, help="A kind of defects to draw; all if none is given.")
def command(**options: Any) -> None:
    """Make a line of a product that `mdss synthetic` does not know.

    It has 60 parts to train on, 30 to calibrate on, and 40 good and 40 defective ones to test with. The tire has no missing pieces: on
    black they do not show.
    """
    synthetic_products.PRODUCTS.update(OTHERS)  # in this process only
    size, view = LineSize(train=60, validation=30, good=40, defective=40), View(options["height"], options["width"])
    kinds = options["kinds"] or tuple(kind for kind in KINDS if (options["product"], kind) != ("tire", "missing_piece"))
    write_line(Line(options["product"], options["seed"], size, view, kinds), options["out"])


main = main_of(command, "bench.other_products")

if __name__ == "__main__":
    sys.exit(main())
