"""What tells parts apart without a network: size, brightness, colour, and a signature that recognises a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdss.method.brightness import object_brightness
from mdss.method.point_cloud import Prepared

Float = NDArray[np.float32]

SIDE = 24  # cells of a signature along each side
EXTENT_PERCENTILES = (1.0, 99.0)
MEASURES = ("length_mm", "width_mm", "height_mm", "red", "green", "blue")
COLOURS = MEASURES[3:]


@dataclass(frozen=True)
class Measures:
    """One part in a few numbers."""

    values: dict[str, float]  # by MEASURES: sides of the box along the part's own axes, and each channel's share of its colour
    brightness: float  # mean on the part, 0 to 255
    invalid_point_ratio: float
    signature: Float  # (2, SIDE, SIDE) image and depth, 0..1, where the part lies in the frame

    @classmethod
    def of(cls, part: Prepared) -> Measures:
        """Measure a prepared part."""
        colour = part.rgb[part.mask].mean(axis=0, dtype=np.float64)
        shares = colour / max(float(colour.sum()), 1.0)
        values = dict(zip(MEASURES, (*box_of(part.xyz), *(float(each) for each in shares)), strict=True))
        return cls(values, object_brightness(part.rgb, part.mask), part.invalid_point_ratio, signature_of(part))


def box_of(xyz: Float) -> tuple[float, float, float]:
    """Return the sides, longest first, of the box around a part's points (S, S, 3) mm along their principal axes, without strays."""
    points = xyz[np.isfinite(xyz).all(axis=2)].astype(np.float64)
    centred = points - points.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1]
    low, high = np.percentile(centred @ axes, EXTENT_PERCENTILES, axis=0)
    length, width, height = sorted((float(side) for side in high - low), reverse=True)
    return length, width, height


def signature_of(part: Prepared) -> Float:
    """Return a part's image and depth in SIDE x SIDE cells each, from 0 to 1, and 0 beside the part.

    A cell is the mean of a hundred pixels, so a second scan of a part that did not move has nearly the same signature in spite of noise.
    """
    grey = np.where(part.mask, cv2.cvtColor(part.rgb, cv2.COLOR_RGB2GRAY), np.uint8(0)).astype(np.float32) / np.float32(255)
    depth = part.xyz[..., 2]
    there = np.isfinite(depth)
    near, far = np.percentile(depth[there], EXTENT_PERCENTILES)
    height = np.where(there, np.clip((far - depth) / max(float(far - near), 1e-6), 0, 1), 0).astype(np.float32)
    cells = [cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for each in (grey, height)]
    return np.asarray(np.stack(cells), np.float32)


def nearest(signature: Float, others: Sequence[Float]) -> tuple[int, float]:
    """Return the number of the nearest of the others, and its distance; (-1, infinity) without others.

    The distance is the mean difference of the cells, in hundredths of the range.
    """
    if not others:
        return -1, float("inf")
    away = np.abs(np.stack(others) - signature).mean(axis=(1, 2, 3)) * 100
    number = int(away.argmin())
    return number, float(away[number])
