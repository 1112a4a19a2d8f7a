"""The camera over a synthetic line: light, shadows, noise and missing points turn a surface into a scan."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.dataset import Unit
from trainer.synthetic_surface import Bool, Float, PartCoordinates, Surface

FIELD_MM = 100.0  # what the shorter side of the picture shows
DISTANCE_MM = 480.0  # from the camera to the table
LIGHT_MM = (-120.0, -260.0, 420.0)  # from the middle of the table; in the picture, light comes from the top
LIGHT_SLOPE, PROJECTOR_SLOPE = 1.5, 1.9  # rise per length of the rays that cast shadows; the projector is on the left
AMBIENT, DIFFUSE, IN_SHADOW = 0.36, 0.72, 0.62
LAMP_DRIFT_MM, EXPOSURE_DRIFT, COLOUR_DRIFT = 4.0, 0.012, 0.004  # deviations from scan to scan; the last two are shares
HIGHLIGHT_POWER = 24.0
STEEP = 3.2  # rise per length: steeper slopes give no point
TABLE_COLOUR = (0.075, 0.08, 0.085)


@dataclass(frozen=True)
class View:
    """What the camera sees, and the unit of its clouds."""

    height_px: int = 300
    width_px: int = 300
    unit: Unit = "m"
    tilt_deg: float = 1.0  # of the table; each scan's own differs from it, with a deviation of a twentieth

    @property
    def pitch_mm(self) -> float:
        """Millimetres between neighbouring pixels."""
        return FIELD_MM / min(self.height_px, self.width_px)


@dataclass(frozen=True)
class Pose:
    """How one part lies under the camera."""

    rotation_rad: float
    shift_mm: tuple[float, float]


def table_mm(view: View) -> tuple[Float, Float]:
    """Return x and y (H, W) of each pixel on the table, measured from the middle of the picture."""
    x = (np.arange(view.width_px, dtype=np.float32) - np.float32((view.width_px - 1) / 2)) * np.float32(view.pitch_mm)
    y = (np.arange(view.height_px, dtype=np.float32) - np.float32((view.height_px - 1) / 2)) * np.float32(view.pitch_mm)
    columns, rows = np.meshgrid(x, y)
    return columns, rows


def look(view: View, pose: Pose) -> PartCoordinates:
    """Return where the picture's pixels lie on a part in this pose."""
    x, y = table_mm(view)
    x, y = x - np.float32(pose.shift_mm[0]), y - np.float32(pose.shift_mm[1])
    cosine, sine = np.float32(np.cos(pose.rotation_rad)), np.float32(np.sin(pose.rotation_rad))
    return PartCoordinates(cosine * x + sine * y, cosine * y - sine * x, view.pitch_mm)


def photograph(surface: Surface, view: View, pose: Pose, random: np.random.Generator) -> tuple[NDArray[np.uint8], Float]:
    """Return image (H, W, 3) and cloud (H, W, 3) mm, NaN where no point was measured.

    The random numbers do not depend on the surface: a part gets the same noise with and without its defect.
    """
    x, y = table_mm(view)
    slope = np.tan(np.radians(view.tilt_deg)) * random.normal((0.8, 0.6), 0.05)
    height = np.asarray(surface.height_mm + np.float32(slope[0]) * x + np.float32(slope[1]) * y, np.float32)
    rise = _rise(height, view)
    light = _light(x, y, random)
    highlight = _highlight(surface, rise, light, pose)
    rgb = _image(surface, _facing(rise, light), highlight, view, random)
    missing = _missing(height, np.hypot(*rise), highlight, random)
    z = np.float32(DISTANCE_MM) - cv2.GaussianBlur(height, (0, 0), 0.4) + random.standard_normal(x.shape, np.float32) * np.float32(0.035)
    xyz = np.stack([x, y, z], axis=-1)
    xyz[missing | _shadowed(height, view.pitch_mm * PROJECTOR_SLOPE, axis=1)] = np.nan
    return rgb, xyz


def _rise(height: Float, view: View) -> tuple[Float, Float]:
    """Rise per length along x and along y, (H, W) each."""
    rise_y, rise_x = np.gradient(height, np.float32(view.pitch_mm))
    return np.asarray(rise_x, np.float32), np.asarray(rise_y, np.float32)


def _light(x: Float, y: Float, random: np.random.Generator) -> Float:
    """Unit vectors (H, W, 3) from the table to the lamp, whose position varies a little."""
    lamp = np.asarray(LIGHT_MM + random.normal(0, LAMP_DRIFT_MM, 3), np.float32)
    ray = np.stack([lamp[0] - x, lamp[1] - y, np.full_like(x, lamp[2])], axis=-1)
    return np.asarray(ray / np.linalg.norm(ray, axis=-1, keepdims=True), np.float32)


def _facing(rise: tuple[Float, Float], directions: Float) -> Float:
    """Cosine (H, W) between the surface's normal and a direction (H, W, 3); 0 where the surface turns away."""
    length = np.sqrt(rise[0] ** 2 + rise[1] ** 2 + 1)
    return np.asarray(
        np.clip((directions[..., 2] - rise[0] * directions[..., 0] - rise[1] * directions[..., 1]) / length, 0, 1), np.float32
    )


def _highlight(surface: Surface, rise: tuple[Float, Float], light: Float, pose: Pose) -> Float:
    """Strength (H, W) of the lamp's reflection; machining marks stretch it across themselves."""
    half = light + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    facing = _facing(rise, half)
    if surface.grain_rad is None:
        return np.asarray(surface.gloss * facing ** np.float32(HIGHLIGHT_POWER), np.float32)
    angle = surface.grain_rad + np.float32(pose.rotation_rad)
    along = np.cos(angle) * half[..., 0] + np.sin(angle) * half[..., 1]
    sheen = np.sqrt(np.clip(1 - along**2, 0, 1)) ** np.float32(2 * HIGHLIGHT_POWER)
    return np.asarray(surface.gloss * sheen * facing ** np.float32(HIGHLIGHT_POWER / 3), np.float32)


def _image(surface: Surface, facing: Float, highlight: Float, view: View, random: np.random.Generator) -> NDArray[np.uint8]:
    shadow = _shadowed(surface.height_mm, view.pitch_mm * LIGHT_SLOPE, axis=0).astype(np.float32)
    lit = 1 - np.float32(1 - IN_SHADOW) * cv2.GaussianBlur(shadow, (0, 0), 1.2)
    table = np.array(TABLE_COLOUR, np.float32) + random.standard_normal((*facing.shape, 1), np.float32) * np.float32(0.004)
    colour = np.where(surface.inside[..., None], surface.colour, table)
    seen = colour * ((np.float32(AMBIENT) + np.float32(DIFFUSE) * facing) * lit)[..., None] + (highlight * lit)[..., None]
    exposure = random.normal(1, EXPOSURE_DRIFT) * random.normal(1, COLOUR_DRIFT, 3)
    seen = cv2.GaussianBlur(seen, (0, 0), 0.6) * exposure.astype(np.float32)
    noise = random.standard_normal(seen.shape, np.float32) * np.float32(1.6)
    return np.asarray(np.clip(255 * seen ** np.float32(1 / 1.5) + noise, 0, 255), np.uint8)


def _missing(height: Float, steepness: Float, highlight: Float, random: np.random.Generator) -> Bool:
    """Pixels without a point: slopes too steep to reflect, glare, and a few at random."""
    dice = random.random(height.shape, np.float32)
    clusters = cv2.GaussianBlur(random.random(height.shape, np.float32), (0, 0), 1.5)
    glare = np.clip(highlight - np.float32(0.30), 0, None)
    return np.asarray((steepness > STEEP) | (dice < 0.0015) | (clusters < 0.27) | (dice < glare), np.bool_)


def _shadowed(height: Float, drop_mm: float, axis: int) -> Bool:
    """Pixels that are not reached by rays that fall `drop_mm` from pixel to pixel along an axis."""
    fall = np.arange(height.shape[axis], dtype=np.float32) * np.float32(drop_mm)
    ray = height + (fall[:, None] if axis == 0 else fall[None, :])
    return np.asarray(np.maximum.accumulate(ray, axis=axis) - ray > 0.05, np.bool_)
