"""The square grid that both branches work on, how it samples frames of any shape, and which points of a cloud were measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Pixel = TypeVar("Pixel", bound=np.generic)
Number = TypeVar("Number", np.uint8, np.float32)

NEXT_TO_NOTHING = 0.05  # of the grid's pixels, and of those measured beside them
FARTHEST_MM = 1e7  # a point with a larger coordinate was not measured; a scene lies nearer even in a wrong unit


class Cloud(Protocol):
    """Points (H, W, 3) in millimetres, NaN where nothing was measured: an array, or an object that reads only the pixels asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3)."""

    def __getitem__(self, where: Any, /) -> Float:
        """Return the points at these pixels."""


@dataclass(frozen=True)
class Grid:
    """How the square grid samples a frame of height x width: letterboxed, so that nothing is stretched."""

    height: int
    width: int
    size: int = 256
    side: int = field(init=False)
    top: int = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        side = max(self.height, self.width)
        object.__setattr__(self, "side", side)
        object.__setattr__(self, "top", (side - self.height) // 2)
        object.__setattr__(self, "left", (side - self.width) // 2)

    @classmethod
    def filled(cls, size: int) -> Self:
        """Return the grid of a square frame of the grid's own size, without a letterbox."""
        return cls(size, size, size)

    @property
    def rows(self) -> NDArray[np.intp]:
        """The frame's row that each row of the grid samples, (size,); -1 in the letterbox border."""
        return self._sampled(self.top, self.height)

    @property
    def columns(self) -> NDArray[np.intp]:
        """The frame's column that each column of the grid samples, (size,); -1 in the letterbox border."""
        return self._sampled(self.left, self.width)

    @property
    def in_frame(self) -> Bool:
        """Which pixels of the grid (size, size) sample the frame; the others are the letterbox border."""
        return np.asarray((self.rows >= 0)[:, None] & (self.columns >= 0))

    def at_edge(self, mask: Bool) -> int:
        """Return how many pixels of a mask (size, size) lie on the frame's outermost rows and columns; 0 if the part is wholly in view."""
        (top, bottom), (left, right) = (np.flatnonzero(index >= 0)[[0, -1]] for index in (self.rows, self.columns))
        shown = mask[top : bottom + 1, left : right + 1]
        return int(np.count_nonzero(shown) - np.count_nonzero(shown[1:-1, 1:-1]))

    def _sampled(self, offset: int, length: int) -> NDArray[np.intp]:
        index = ((2 * np.arange(self.size) + 1) * self.side) // (2 * self.size) - offset
        return np.where((index >= 0) & (index < length), index, -1)

    def steps(self, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the distance in frame pixels from each row (or column) of the grid to the next, (size - 1,)."""
        return np.diff(index).astype(np.float64) if self.side >= self.size else np.full(self.size - 1, self.side / self.size)

    def pixel(self, row: int, column: int) -> tuple[int, int]:
        """Return the frame's (row, column) that a grid pixel samples; (-1, -1) in the letterbox border."""
        found = int(self.rows[row]), int(self.columns[column])
        return (-1, -1) if -1 in found else found

    def sample(self, image: NDArray[Pixel], fill: float) -> NDArray[Pixel]:
        """Return the grid's samples (size, size, ...) of a frame-sized array, with `fill` in the letterbox border."""
        rows, columns = self.rows, self.columns
        pixels = image.reshape(self.height * self.width, *image.shape[2:])
        return self._bordered(pixels.take(rows.clip(0)[:, None] * self.width + columns.clip(0), axis=0), fill)

    def points(self, xyz: Cloud) -> Float:
        """Return the grid's samples (size, size, 3) of a frame-sized cloud, NaN in the letterbox border.

        If the frame is a whole number of times as large as the grid, the sampled pixels may be just those that a sensor leaves out (every
        second row, say). If next to nothing was measured there, the pixels 1 up or left of them are tried. Otherwise no other point is
        read.
        """
        found = self._points_before(xyz, 0, 0)
        if self.side <= self.size or self.side % self.size:
            return found
        count = _count(found)
        if count >= NEXT_TO_NOTHING * self.size**2:
            return found
        beside = max((self._points_before(xyz, *before) for before in ((0, 1), (1, 0), (1, 1))), key=_count)
        return beside if count < NEXT_TO_NOTHING * _count(beside) else found

    def _points_before(self, xyz: Cloud, up: int, left: int) -> Float:
        """Return the samples of the pixels `up` rows above and `left` columns before those of the grid."""
        return self._bordered(xyz[(self.rows - up).clip(0)[:, None], (self.columns - left).clip(0)[None, :]], np.nan)

    def _bordered(self, sampled: NDArray[Pixel], fill: float) -> NDArray[Pixel]:
        """Return samples of the grid (size, size, ...) with `fill` in the letterbox border, written in place."""
        sampled[~self.in_frame] = fill
        return sampled

    def interpolated_points(self, xyz: Float) -> Float:
        """Return a frame-sized cloud on a finer grid (size, size, 3), NaN without a point, with points between the frame's own.

        Sampling would repeat points; then neighbours have no distance, and the surface has no normal. A pixel has a point if the nearest
        of the frame's pixels has one: the mean of the measured ones among the four around it, weighted by nearness.
        """
        measured = is_measured(xyz)
        size = (self.size, self.size)
        held = np.dstack([np.where(measured[..., None], xyz, np.float32(0)), measured.astype(np.float32)])
        summed = cv2.resize(self._square(held, cv2.BORDER_CONSTANT), size, interpolation=cv2.INTER_LINEAR)
        here = self.sample(measured, False)[..., None]
        return np.divide(summed[..., :3], summed[..., 3:], out=np.full((*size, 3), np.nan, np.float32), where=here)

    def image(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the frame's image on the grid (size, size, 3): areas are averaged, and the letterbox border repeats the frame's rim.

        In most frames the letterbox consists of whole cells. Then it is repeated instead of averaged, which takes a quarter less time at
        4:3.
        """
        if self.side <= self.size:
            square = self._square(rgb, cv2.BORDER_REPLICATE)
            return np.asarray(cv2.resize(square, (self.size, self.size), interpolation=cv2.INTER_LINEAR), np.uint8)
        axis, before, length = (0, self.top, self.height) if self.height < self.width else (1, self.left, self.width)
        after = self.side - length - before
        period = self.side // math.gcd(self.side, self.size)  # the fewest frame pixels that make a whole number of the grid's
        if before % period or after % period:
            return self._averaged(self._square(rgb, cv2.BORDER_REPLICATE))
        inside = self._averaged(rgb)
        if not before + after:
            return inside
        first, last = (self._averaged(np.repeat(rgb.take([end], axis), period, axis)) for end in (0, -1))
        return np.concatenate([first] * (before // period) + [inside] + [last] * (after // period), axis)

    def _averaged(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a piece of the frame on the grid, in whole cells; each is the mean of the area that it covers."""
        height, width = (length * self.size // self.side for length in image.shape[:2])
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)

    def _square(self, image: NDArray[Number], border: int) -> NDArray[Number]:
        """Return a frame-sized image (H, W, C) letterboxed to (side, side, C); around it are zeros or its own rim."""
        bottom, right = self.side - self.height - self.top, self.side - self.width - self.left
        return np.asarray(cv2.copyMakeBorder(image, self.top, bottom, self.left, right, border), image.dtype)

    def to_original(self, grid_map: Float) -> Float:
        """Return a map (size, size) at the frame's own resolution (height, width), bilinear."""
        square = cv2.resize(grid_map, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(square[self.top : self.top + self.height, self.left : self.left + self.width], np.float32)


def _count(cloud: Float) -> int:
    return int(np.count_nonzero(is_measured(cloud)))


def is_measured(cloud: Float) -> Bool:
    """Return which of the points (..., 3) were measured: finite, and nearer than FARTHEST_MM."""
    return all_three(np.abs(cloud) < FARTHEST_MM)


def all_three(flags: Bool) -> Bool:
    """Return where all three of (..., 3) are true. np.all over so short an axis takes ten times as long."""
    flat = flags.reshape(-1)
    joined = flat[:-2] & flat[1:-1]
    joined &= flat[2:]
    return joined[::3].reshape(flags.shape[:-1])
