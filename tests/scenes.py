"""Scans of a block on a tilted table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdss.method.point_cloud import Bool, Float, Prepared, prepare
from mdss.method.recipe import PointCloudSettings

DEFAULT = PointCloudSettings()


@dataclass(frozen=True)
class BlockScan:
    """A square block in the middle of a tilted table of 120 mm on its shorter side."""

    height_px: int = 200
    width_px: int = 200
    tilt_deg: float = 0.0
    block_mm: float = 8.0
    side_mm: float = 40.0
    noise_mm: float = 0.05
    has_table: bool = True

    def block(self) -> Bool:
        """Return which pixels show the block."""
        x, y = self._table()
        return (np.abs(x) < self.side_mm / 2) & (np.abs(y) < self.side_mm / 2)

    def cloud(self) -> Float:
        """Return the points (H, W, 3), all of them measured where there is a table."""
        x, y = self._table()
        noise = np.random.default_rng(3).normal(0, self.noise_mm, x.shape)
        z = 500 + np.tan(np.radians(self.tilt_deg)) * (0.8 * x + 0.6 * y) - self.block_mm * self.block() + noise
        cloud = np.stack([x, y, z], axis=-1).astype(np.float32)
        if not self.has_table:
            cloud[~self.block()] = np.nan
        return cloud

    def _table(self) -> tuple[Float, Float]:
        pitch = 120 / min(self.height_px, self.width_px)
        rows, columns = np.indices((self.height_px, self.width_px), np.float32)
        return (columns - self.width_px / 2 + 0.5) * pitch, (rows - self.height_px / 2 + 0.5) * pitch


def grey(cloud: Float) -> NDArray[np.uint8]:
    """Return an image that fits the cloud."""
    return np.full(cloud.shape, 128, np.uint8)


def part_of(cloud: Float, settings: PointCloudSettings = DEFAULT) -> Prepared:
    """Return the part of a cloud whose image does not matter."""
    return prepare(grey(cloud), cloud, settings)


def foreground(part: Prepared) -> Bool:
    """Return which pixels of the grid have a point of the part."""
    return np.asarray(np.isfinite(part.xyz).all(axis=2), np.bool_)
