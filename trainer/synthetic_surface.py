"""What synthetic products and defects are made of: a height field with colours, and smooth random patterns."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
WAVES = 6  # number of waves in a pattern
PATTERN_REACH_MM = 64.0  # patterns cover a square around the part's centre with twice this side


@dataclass(frozen=True)
class Surface:
    """A part on the table, seen from above. All arrays are (H, W) and 0 outside the part."""

    height_mm: Float  # above the table
    inside: Bool
    colour: Float  # (H, W, 3) reflected share of the light, R G B
    gloss: Float  # strength of the highlight; 0 is matt
    grain_rad: Float | None = None  # direction of the machining marks in the part's frame; None: no marks


@dataclass(frozen=True)
class PartCoordinates:
    """Where a picture's pixels lie on the part: millimetres from its centre, along its own axes."""

    u_mm: Float  # (H, W)
    v_mm: Float
    pitch_mm: float  # between neighbouring pixels

    @property
    def radius_mm(self) -> Float:
        """Distance from the part's centre, (H, W)."""
        return np.asarray(np.hypot(self.u_mm, self.v_mm), np.float32)

    def distance_mm(self, u_mm: float, v_mm: float) -> Float:
        """Distance from a point on the part, (H, W)."""
        return np.asarray(np.hypot(self.u_mm - np.float32(u_mm), self.v_mm - np.float32(v_mm)), np.float32)


def ramp(values: Float, low: float, high: float) -> Float:
    """Return 0 up to `low`, 1 from `high` on, smooth in between; `high` may be the smaller one."""
    share = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def waves(random: np.random.Generator, place: PartCoordinates, wavelength_mm: float) -> Float:
    """Return a smooth random pattern (H, W) with deviation 1: plane waves of about one wavelength, in all directions."""
    total = np.zeros_like(place.u_mm)
    angles, phases = random.uniform(0, 2 * np.pi, WAVES), random.uniform(0, 2 * np.pi, WAVES)
    numbers = 2 * np.pi / (wavelength_mm * random.uniform(0.7, 1.5, WAVES))
    for angle, phase, number in zip(angles, phases, numbers, strict=True):
        along_u, along_v = np.float32(number * np.cos(angle)), np.float32(number * np.sin(angle))
        total += np.cos(along_u * place.u_mm + along_v * place.v_mm + np.float32(phase))
    return np.asarray(total * np.float32(np.sqrt(2 / WAVES)), np.float32)


def mottle(random: np.random.Generator, place: PartCoordinates, grain_mm: float) -> Float:
    """Return a random pattern (H, W) with deviation about 1 and spots of the size `grain_mm`, fixed to the part."""
    cells = int(2 * PATTERN_REACH_MM / grain_mm) + 1
    values = random.standard_normal((cells, cells), np.float32)
    scale, offset = np.float32(1 / grain_mm), np.float32(PATTERN_REACH_MM / grain_mm)
    columns, rows = place.u_mm * scale + offset, place.v_mm * scale + offset
    return np.asarray(cv2.remap(values, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT) * np.float32(1.3), np.float32)


def blend(below: Float, above: Float, share: Float) -> Float:
    """Return a picture (H, W, 3) with a colour, or another picture, laid over it by `share` (H, W)."""
    return np.asarray(below + (above - below) * share[..., None], np.float32)
