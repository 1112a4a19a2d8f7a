"""The reference: scores and viewing conditions of the good validation parts of a calibration, which later parts are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdss.method.brightness import object_brightness

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
Bool = NDArray[np.bool_]
Scores = Annotated[tuple[float, ...], msgspec.Meta(min_length=1)]  # at least one: fusion compares each part's score with the highest
SAMPLED_PX = 80  # rows and columns: thousands of pixels, which give mean and median as well as all pixels do
LEAST_SAMPLES = 500  # pixels of the part: a smaller part is measured whole, which costs no more


class PartData(Protocol):
    """A prepared part, in the process that prepared it or on its way to another."""

    @property
    def rgb(self) -> Image:
        """The image on the grid (S, S, 3)."""

    @property
    def xyz(self) -> Float:
        """The part's points (S, S, 3) in mm, NaN where there is none."""

    @property
    def mask(self) -> Bool:
        """The dilated foreground (S, S)."""

    @property
    def invalid_point_ratio(self) -> float:
        """The share of the part's pixels without a measured point."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """How one part was seen, independent of both branches' scores."""

    brightness: float  # mean of all channels on the part, 0 to 255
    valid_point_ratio: float  # share of the part's pixels with a measured point
    distance_mm: float  # median z of the part's points

    @classmethod
    def of(cls, part: PartData) -> Conditions:
        """Measure a prepared part. A large part is sampled on every n-th row and column, because this is done for each verdict."""
        every = max(1, len(part.mask) // SAMPLED_PX)
        if np.count_nonzero(part.mask[::every, ::every]) < LEAST_SAMPLES:
            every = 1
        depth = part.xyz[::every, ::every, 2]
        if not np.isfinite(depth).any():  # a sensor may leave out just these rows or columns
            depth = part.xyz[..., 2]
        depth = depth[np.isfinite(depth)]
        return cls(
            brightness=object_brightness(part.rgb[::every, ::every], part.mask[::every, ::every]),
            valid_point_ratio=1.0 - float(part.invalid_point_ratio),
            distance_mm=float(np.median(depth)) if len(depth) else float("nan"),
        )


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Scores and conditions of all good validation parts, in one order: each list has one value per part."""

    rgb: Scores  # of the colour branch
    sdf: Scores  # of the shape branch
    brightness: tuple[float, ...]
    valid_point_ratio: tuple[float, ...]
    distance_mm: tuple[float, ...]

    @classmethod
    def of(cls, rgb: Sequence[float], sdf: Sequence[float], parts: Sequence[PartData]) -> Reference:
        """Gather the scores of both branches, and measure the conditions of the same parts."""
        seen = [Conditions.of(part) for part in parts]
        return cls(
            rgb=tuple(rgb),
            sdf=tuple(sdf),
            brightness=tuple(each.brightness for each in seen),
            valid_point_ratio=tuple(each.valid_point_ratio for each in seen),
            distance_mm=tuple(each.distance_mm for each in seen),
        )
