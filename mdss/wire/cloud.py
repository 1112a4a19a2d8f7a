"""A cloud in its sensor's own format; points are converted to millimetres, with NaN where nothing was measured, when they are read."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Unit = Literal["mm", "m"]

MM_OF: dict[Unit, np.float32] = {"m": np.float32(1000.0), "mm": np.float32(1.0)}
POINTS_AT_ONCE = 1 << 14  # so that intermediate results stay in a core's cache


class Invalid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the sensor marks a missing point: NaN, all three coordinates equal to `value`, or a confidence not above `value`."""

    kind: Literal["nan", "value", "confidence"] = "nan"
    value: float = 0.0


class SensorCloud(msgspec.Struct, frozen=True, kw_only=True):
    """Indexed like an array (H, W, 3) in millimetres; NaN where nothing was measured or a coordinate is not finite in mm.

    Only requested points are converted: a scan of 1600 x 1200 has thirty times as many points as a model's grid.
    """

    given: Float  # (H, W, 3)
    confidence: Float | None = None  # (H, W), if `invalid` needs it
    unit: Unit = "mm"
    invalid: Invalid = Invalid()

    def __post_init__(self) -> None:
        """Refuse confidences that are missing where `invalid` needs them, or that do not match the points."""
        expected = self.given.shape[:2] if self.invalid.kind == "confidence" else None
        found = None if self.confidence is None else self.confidence.shape
        if found != expected:
            raise ValueError(f"confidence: found shape {found}, expected {expected} for points marked by {self.invalid.kind}")

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3)."""
        return self.given.shape

    @property
    def nbytes(self) -> int:
        """Size of its arrays in bytes."""
        return self.given.nbytes + (0 if self.confidence is None else self.confidence.nbytes)

    def __getitem__(self, where: Any) -> Float:
        """Return the points at these pixels: slices of rows and columns, or arrays of both, none negative."""
        given = _take(self.given, where)
        confidence = None if self.confidence is None else _take(self.confidence, where).reshape(-1)
        return self._uniform(given.reshape(-1, 3), confidence).reshape(given.shape)

    def _uniform(self, points: Float, confidence: Float | None) -> Float:
        found = np.empty(points.shape, np.float32)
        for start in range(0, len(points), POINTS_AT_ONCE):
            here = slice(start, start + POINTS_AT_ONCE)
            with np.errstate(over="ignore", invalid="ignore"):
                np.multiply(points[here], MM_OF[self.unit], out=found[here])
            lost = ~_all_three(np.isfinite(found[here])) | self._marked(points[here], None if confidence is None else confidence[here])
            # writing scattered values takes half the time of masking each axis
            np.copyto(found[here].reshape(-1), np.float32(np.nan), where=np.repeat(lost, 3))
        return found

    def _marked(self, points: Float, confidence: Float | None) -> Bool:
        """Return which points (N, 3) the sensor marks as not measured, as (N,)."""
        with np.errstate(over="ignore"):  # a value beyond float32 marks nothing
            value = np.float32(self.invalid.value)
        if self.invalid.kind == "value":
            return _all_three(points == value)
        return np.zeros(len(points), np.bool_) if confidence is None else ~(confidence > value)


def _take(array: Float, where: Any) -> Float:
    """Return an array's (H, W, ...) values at these pixels; with arrays for both axes in a third of numpy's own time."""
    if not (isinstance(where, tuple) and all(isinstance(each, np.ndarray) for each in where)):
        found: Float = array[where]
        return found
    rows, columns = where
    taken: Float = array.reshape(-1, *array.shape[2:]).take(rows * array.shape[1] + columns, axis=0)
    return taken


def _all_three(flags: Bool) -> Bool:
    """Return for each row of (N, 3) whether all three are true, as (N,); np.all over so short an axis takes ten times as long."""
    flat = flags.reshape(-1)
    joined = flat[:-2] & flat[1:-1]
    joined &= flat[2:]
    return joined[::3]
