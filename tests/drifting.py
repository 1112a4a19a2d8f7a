"""A record of drift, as a line leaves it behind whose lamp has gone dim."""

from __future__ import annotations

import numpy as np

from bench.drift_line import StationDrift, normal, quantiles, streams
from mdss.drift_record import QUANTITIES, DriftRecord


def drifting() -> DriftRecord:
    """Return a record of 400 parts of cap whose last 100 are darker."""
    line = StationDrift.of({name: quantiles(40) for name in QUANTITIES}).run(streams(np.random.default_rng(1), normal, 300))
    return line.run(streams(np.random.default_rng(2), normal, 100, brightness=-40.0)).comparison.record()
