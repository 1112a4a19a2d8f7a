"""Places and outlines of synthetic defects: spots, slabs and wandering lines."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.synthetic_surface import Float, PartCoordinates, Surface

ROOM_MM = 0.8  # from a defect to the nearest edge of the part
WALL = 2.5  # rise per length: steeper slopes are walls, which carry no defects
STEP_MM = 1.4  # between two corners of a wandering line


def depth_mm(surface: Surface, place: PartCoordinates) -> Float:
    """Distance of each pixel to the nearest edge or wall of the part, 0 outside it."""
    rise = np.hypot(*np.gradient(surface.height_mm, np.float32(place.pitch_mm)))
    padded = np.pad((surface.inside & (rise < WALL)).astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1] * np.float32(place.pitch_mm), np.float32)


def spot(surface: Surface, place: PartCoordinates, random: np.random.Generator, room_mm: float) -> tuple[float, float]:
    """Return (u, v) of a random place with `room_mm` of the part on all sides, or with the most room that there is."""
    depth = depth_mm(surface, place)
    free = np.flatnonzero(depth >= min(room_mm, 0.95 * float(depth.max())))
    pixel = free[random.integers(len(free))]
    return float(place.u_mm.flat[pixel]), float(place.v_mm.flat[pixel])


def blob(place: PartCoordinates, random: np.random.Generator, centre: tuple[float, float], radius_mm: float) -> Float:
    """Return the distance (H, W) from a centre, divided by the radius of an uneven round outline in that direction."""
    u, v = place.u_mm - np.float32(centre[0]), place.v_mm - np.float32(centre[1])
    angle = np.arctan2(v, u)
    outline = np.ones_like(angle)
    for order in (2, 3, 5):
        outline += np.float32(random.uniform(0, 0.22 / order)) * np.cos(order * angle + np.float32(random.uniform(0, 2 * np.pi)))
    return np.asarray(np.hypot(u, v) / (np.float32(radius_mm) * outline), np.float32)


def slab(place: PartCoordinates, centre: tuple[float, float], half_sides_mm: tuple[float, float], turn_rad: float) -> Float:
    """Return how far pixels (H, W) lie from the middle of a turned, rounded rectangle; 1 is its outline."""
    u, v = place.u_mm - np.float32(centre[0]), place.v_mm - np.float32(centre[1])
    cosine, sine = np.float32(np.cos(turn_rad)), np.float32(np.sin(turn_rad))
    length, width = (cosine * u + sine * v) / np.float32(half_sides_mm[0]), (cosine * v - sine * u) / np.float32(half_sides_mm[1])
    return np.asarray(np.abs(length) ** 3 + np.abs(width) ** 3, np.float32)


def walk(surface: Surface, place: PartCoordinates, random: np.random.Generator, length_mm: float) -> NDArray[np.float64]:
    """Return the corners (N, 2) of a wandering line that stays on the part."""
    depth = depth_mm(surface, place)
    corners = [spot(surface, place, random, 2 * ROOM_MM)]
    heading = random.uniform(0, 2 * np.pi)
    for turn in random.normal(0, 0.35, round(length_mm / STEP_MM)):
        for swerve in (0, 0.4, -0.4, 0.8, -0.8):
            angle = heading + turn + swerve
            u, v = corners[-1][0] + STEP_MM * np.cos(angle), corners[-1][1] + STEP_MM * np.sin(angle)
            if depth.flat[int(place.distance_mm(u, v).argmin())] >= ROOM_MM:
                corners.append((u, v))
                heading = angle
                break
    return np.array(corners)


def along(place: PartCoordinates, corners: NDArray[np.float64], half_widths_mm: NDArray[np.float64]) -> Float:
    """Return the distance (H, W) from a line of segments, divided by the half width of each segment."""
    reach = np.full_like(place.u_mm, np.inf)
    for start, end, half_width in zip(corners[:-1], corners[1:], half_widths_mm, strict=True):
        way = end - start
        u, v = place.u_mm - np.float32(start[0]), place.v_mm - np.float32(start[1])
        share = np.clip((u * np.float32(way[0]) + v * np.float32(way[1])) / np.float32(way @ way), 0, 1)
        distance = np.hypot(u - share * np.float32(way[0]), v - share * np.float32(way[1]))
        np.minimum(reach, distance / np.float32(half_width), out=reach)
    return reach
