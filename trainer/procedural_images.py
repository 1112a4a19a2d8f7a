"""Generated pictures: overlapping leaves of any shape with texture, relief, damage and light. No photograph is in them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.procedural_textures import SIDE_PX, TEXTURES, Float, textures

LEAVES = 160
SMALLEST_PX, LARGEST_PX = (2.0, 12.0), 80.0  # leaf radii are distributed as r^-3, as the sizes of things in the world are
GREY_SHARE = 0.4  # of the pictures: machined parts have little colour
POINTS = 14  # of a polygon leaf

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Leaves:
    """Which leaf is on top at each pixel, with the centre and radius of each leaf; leaf 0 is the ground."""

    label: Labels  # (H, W)
    centre: Float  # (L, 2) x, y
    radius: Float  # (L,)


def picture(random: np.random.Generator) -> Float:
    """Return a picture (192, 192, 3) in 0..1."""
    leaves = scatter(random)
    patterns = textures(random)
    values = paint(leaves, patterns, random)
    values *= relief(leaves, patterns, random)[..., None]
    damage(values, random)
    return light(values, random)


def scatter(random: np.random.Generator) -> Leaves:
    """Drop leaves on the ground, each over those before it."""
    smallest = random.uniform(*SMALLEST_PX)
    shares = random.random(LEAVES + 1)
    radius = (smallest**-2 + shares * (LARGEST_PX**-2 - smallest**-2)) ** -0.5
    centre = random.uniform(-10, SIDE_PX + 10, (LEAVES + 1, 2))
    label = np.zeros((SIDE_PX, SIDE_PX), np.int32)
    for number in range(1, LEAVES + 1):
        draw_leaf(label, number, (centre[number], float(radius[number])), random)
    return Leaves(label, centre.astype(np.float32), radius.astype(np.float32))


def draw_leaf(label: Labels, number: int, place: tuple[NDArray[np.float64], float], random: np.random.Generator) -> None:
    """Draw an ellipse, a rectangle, a ring, a bar or a ragged polygon."""
    (x, y), radius = place
    at = (round(float(x)), round(float(y)))
    angle, kind = float(random.uniform(0, 360)), int(random.integers(5))
    size = (max(1, round(radius)), max(1, round(radius * float(random.uniform(0.3, 1)))))
    if kind == 0:
        cv2.ellipse(label, at, size, angle, 0, 360, number, -1)
    elif kind == 1:
        cv2.ellipse(label, at, size, angle, 0, 360, number, max(1, size[1] // 4))
    elif kind == 2:
        cv2.fillPoly(label, [cv2.boxPoints((at, size, angle)).astype(np.int32)], number)
    elif kind == 3:
        reach = 2 * radius * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(int(value) for value in place[0] + side * reach) for side in (-1, 1)]
        cv2.line(label, ends[0], ends[1], number, max(1, round(radius / 5)))
    else:
        turn = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
        reach = radius * random.uniform(0.5, 1.2, POINTS)
        corners = place[0] + np.stack([reach * np.cos(turn), reach * np.sin(turn)], -1)
        cv2.fillPoly(label, [corners.astype(np.int32)], number)


def paint(leaves: Leaves, patterns: Float, random: np.random.Generator) -> Float:
    """Return the colours (H, W, 3) of the leaves: one colour each, shaded across the leaf, with a texture."""
    count = len(leaves.radius)
    colour = palette(random, count)
    slope = random.normal(0, 0.12, (count, 2)).astype(np.float32) / leaves.radius[:, None]
    contrast = random.exponential(0.07, (count, 1)).astype(np.float32) * (random.random((count, 1)) < 0.7)
    tint = (contrast * random.uniform(0.5, 1.5, (count, 3))).astype(np.float32)
    label = leaves.label
    rows, columns = np.indices(label.shape, np.float32)
    offset = np.stack([columns, rows], -1) - leaves.centre[label]
    shade = np.clip((slope[label] * offset).sum(-1), -0.3, 0.3)
    texture = patterns[random.integers(TEXTURES, size=count)[label], rows.astype(int), columns.astype(int)]
    return np.asarray(colour[label] * (1 + shade[..., None]) + tint[label] * texture[..., None], np.float32)


def palette(random: np.random.Generator, count: int) -> Float:
    """Return `count` colours near a few that the picture is made of."""
    few = random.uniform(0.05, 0.95, (int(random.integers(2, 8)), 3))
    colour = few[random.integers(len(few), size=count)] + random.normal(0, random.uniform(0.02, 0.15), (count, 3))
    saturation = 0.05 if random.random() < GREY_SHARE else random.uniform(0.1, 0.9)
    grey = colour.mean(axis=1, keepdims=True)
    return np.asarray(np.clip(grey + saturation * (colour - grey), 0.02, 0.98), np.float32)


def relief(leaves: Leaves, patterns: Float, random: np.random.Generator) -> Float:
    """Return the light (H, W), from one side, on leaves of different height with rounded rims, bumps and dents."""
    heights = random.standard_normal(len(leaves.radius), np.float32)
    height: Float = np.asarray(cv2.GaussianBlur(heights[leaves.label], (0, 0), random.uniform(0.8, 3)), np.float32)
    bumps = cv2.GaussianBlur(patterns[random.integers(TEXTURES)], (0, 0), random.uniform(0.8, 5))
    height = np.asarray(height + np.float32(random.exponential(0.6)) * bumps, np.float32)
    for _ in range(random.poisson(5)):
        height += _bump(random)
    towards = random.uniform(0, 2 * np.pi)
    rise = np.cos(towards) * cv2.Sobel(height, -1, 1, 0, scale=0.125) + np.sin(towards) * cv2.Sobel(height, -1, 0, 1, scale=0.125)
    return np.asarray(1 + np.clip(random.uniform(0, 0.5) * rise, -0.6, 0.6), np.float32)


def _bump(random: np.random.Generator) -> Float:
    (x, y), width = random.uniform(0, SIDE_PX, 2), random.uniform(2, 14)
    along = [np.exp(-0.5 * ((np.arange(SIDE_PX, dtype=np.float32) - np.float32(at)) / np.float32(width)) ** 2) for at in (y, x)]
    return np.asarray(np.outer(*along) * np.float32(random.normal(0, 0.4) * width), np.float32)


def damage(values: Float, random: np.random.Generator) -> None:
    """Draw cracks, scratches, pits and stains into the picture."""
    for _ in range(random.poisson(3)):
        steps = random.normal(random.normal(0, 1.5, 2), 1.6, (int(random.integers(4, 30)), 2))
        way = random.uniform(0, SIDE_PX, 2) + np.cumsum(steps, axis=0)
        shade = [float(value) for value in random.uniform(0, 0.25) + random.uniform(0, 0.1, 3)]
        cv2.polylines(values, [np.round(8 * way).astype(np.int32)], False, shade, int(random.integers(1, 3)), cv2.LINE_AA, 3)
    for _ in range(random.poisson(3)):
        start, reach = random.uniform(0, SIDE_PX, 2), random.normal(0, 30, 2)
        ends = [tuple(int(value) for value in point) for point in (start, start + reach)]
        cv2.line(values, ends[0], ends[1], [float(random.uniform(0, 1))] * 3, 1, cv2.LINE_AA)
    for _ in range(random.poisson(5)):
        at = tuple(int(value) for value in random.integers(0, SIDE_PX, 2))
        cv2.circle(values, (at[0], at[1]), int(random.integers(1, 5)), [float(value) for value in random.uniform(0, 1, 3)], -1, cv2.LINE_AA)
    if random.random() < 0.5:
        stain = np.clip(_bump(random), 0, 1)[..., None] * np.float32(random.uniform(0.1, 0.6))
        values += stain * (random.uniform(0, 1, 3).astype(np.float32) - values)


def light(values: Float, random: np.random.Generator) -> Float:
    """Return the picture under light that falls off to one side, slightly out of focus."""
    across = np.linspace(-1, 1, SIDE_PX, dtype=np.float32)
    slope = random.normal(0, 0.12, 2).astype(np.float32)
    lit = values * (1 + slope[0] * across[:, None, None] + slope[1] * across[None, :, None])
    return np.asarray(np.clip(cv2.GaussianBlur(lit, (0, 0), random.uniform(0.3, 1.3)), 0, 1), np.float32)
