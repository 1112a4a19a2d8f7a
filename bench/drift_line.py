"""A simulated line of numbers: streams of good and drifting parts for the comparison with calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mdss.drift import DriftComparison, DriftLimits, LivePart, WarningChange
from mdss.drift_record import QUANTITIES, Quantity

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
RATE = 1.0  # false warnings per 10,000 good parts


def normal(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return values with a mean of 100 and a deviation of 10."""
    return 100 + 10 * random.standard_normal(count)


def skewed(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return values with a long tail, as scores have."""
    return np.exp(1 + random.standard_normal(count))


def stepped(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return values of which many are equal."""
    return np.asarray(random.integers(0, 6, count), np.float64)


@dataclass
class StationDrift:
    """One station's comparison, and every change that it reported, with the number of parts until then."""

    comparison: DriftComparison
    changes: list[tuple[int, WarningChange]] = field(default_factory=list)
    parts: int = 0

    @classmethod
    def of(cls, reference: Mapping[Quantity, Sequence[float]], rate: float = RATE) -> StationDrift:
        """Return the line of this reference."""
        return cls(DriftComparison("cap", "0001", reference, rate))

    def run(self, streams: Mapping[Quantity, NDArray[np.float64]]) -> StationDrift:
        """Let parts pass through the comparison."""
        columns = [streams[name].tolist() for name in QUANTITIES]
        for row in zip(*columns, strict=True):
            self.parts += 1
            name = f"part-{self.parts}"
            live = LivePart(name, name, self.parts, dict(zip(QUANTITIES, row, strict=True)))
            self.changes += [(self.parts, change) for change in self.comparison.add(live) or ()]
        return self

    def onsets(self) -> list[tuple[int, Quantity]]:
        """Return each warning: the number of parts until then, and the quantity."""
        return [(parts, change.quantity) for parts, change in self.changes if change.is_onset]


def quantiles(count: int, shift: float = 0.0) -> list[float]:
    """Return evenly spaced quantiles of `normal`, all of them too high by `shift` deviations."""
    return [100 + 10 * (NormalDist().inv_cdf((number + 0.5) / count) + shift) for number in range(count)]


def unluckiest_reference(count: int) -> dict[Quantity, list[float]]:
    """Return a reference whose values are, in every quantity, as much too high as the limits allow for."""
    shift = math.sqrt(2) * NormalDist().inv_cdf(0.5 + DriftLimits.of(count, RATE).rest)
    return {name: quantiles(count, shift) for name in QUANTITIES}


def streams(random: np.random.Generator, draw: Draw, count: int, **shifts: float) -> dict[Quantity, NDArray[np.float64]]:
    """Return independent values of every quantity; those named in `shifts` are shifted."""
    return {name: draw(random, count) + shifts.get(name, 0.0) for name in QUANTITIES}


def reference(random: np.random.Generator, draw: Draw, count: int) -> dict[Quantity, list[float]]:
    """Return the values of good validation parts."""
    return {name: draw(random, count).tolist() for name in QUANTITIES}


DRAWS: Final[dict[str, Draw]] = {"normal": normal, "lognormal": skewed, "six steps": stepped}
