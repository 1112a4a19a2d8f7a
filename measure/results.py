"""The results of a bench as they go into JSON, and how they are computed from single times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from mdss.whole_files import as_json

INT8 = "int8"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine can do when nothing else runs; the floors come from here."""

    processor: str
    cores: int
    device: str
    device_name: str
    torch: str
    threads: int  # that one process may use; the second rate of each precision
    precision: str  # of the matrices in models that score in float
    gflops: dict[str, dict[str, float]]  # precision -> threads -> best matrix rate in GFLOP/s
    copy_gb_s: float  # bytes copied per second; each is read once and written once
    sync_write_ms: float  # of one small durable write
    load_before: float  # load average of the minute before

    def least_ms(self, work: Operations) -> float:
        """Return the time that one thread needs for operations at the matrix rates of their precisions: the floor."""
        kinds = (self.precision, work.wide), ("float32", work.float32), (INT8, work.int8)
        return sum(1000 * gflop / self.gflops[kind]["1"] for kind, gflop in kinds if gflop)


class Operations(NamedTuple):
    """Billions of multiplications and additions that a branch needs for a part."""

    wide: float  # in models that score in float: all, in the precision that the machine is faster in
    int8: float = 0.0
    float32: float = 0.0  # in models that score in eight bits: all that are not int8


class StageFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One stage by itself in one thread, with the operations or bytes that its floor comes from."""

    p50_ms: float
    p99_ms: float
    best_ms: float
    floor_ms: float
    over_floor: float  # median over parts of time divided by floor
    parts: int
    gflop: float | None = None
    gflop_int8: float | None = None  # the share of `gflop` in eight bits
    megabytes: float | None = None


class OverheadShare(msgspec.Struct, frozen=True, kw_only=True):
    """One stage's share of a part's overhead."""

    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, spent_ms: Sequence[float]) -> OverheadShare:
        """Return it from the times of single parts."""
        return cls(p50_ms=percentile(spent_ms, 0.5), p99_ms=percentile(spent_ms, 0.99))


class EndToEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The whole station at one size of scan."""

    parts_per_s: float
    p50_ms: float
    p99_ms: float
    overhead_p50_ms: float
    overhead_p99_ms: float
    overhead: dict[str, OverheadShare]  # by stage, in order
    parts: int  # behind the latencies
    not_ok: float  # share of verdicts with a picture


class BothBranches(msgspec.Struct, frozen=True, kw_only=True):
    """Median times of a part in each branch alone, and in both at once, each on its own core."""

    rgb_ms: float
    sdf_ms: float
    both_ms: float
    over_slower: float  # median over parts of both at once divided by the slower alone
    parts: int


class GrowthFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The rate of the station with a number of cameras, and a number of processes per branch."""

    processes: int
    cameras: int
    parts_per_s: float


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All results of a run; `speedup_over_reference` is None if it was not asked for."""

    date: str
    product: str
    preset: str
    is_trained: bool
    machine: Machine
    stages: dict[str, StageFigures]
    stages_at: dict[str, dict[str, StageFigures]]  # at all other sizes, the stages that depend on the size
    end_to_end: dict[str, EndToEnd]
    speedup_over_reference: float | None
    memory_mb: dict[str, float]
    start_to_ready_s: float
    both_branches: BothBranches | None = None  # None without two cores
    growth: list[GrowthFigures] = []

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_bytes(as_json(self))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the percentile of this share, linear between values and rounded to three decimals."""
    return round(float(np.percentile(values, 100 * share)), 3)


def stage_figures(
    spent_ms: Sequence[float], floors_ms: Sequence[float], *, work: Operations | None = None, megabytes: float | None = None
) -> StageFigures:
    """Return a stage's figures from the time and the floor of each part.

    `over_floor` is the median of the ratios of single parts, because parts differ in size. With parts of two sizes, the median time is
    one of the slowest small or fastest large parts, and cannot be compared with the median floor.
    """
    return StageFigures(
        p50_ms=percentile(spent_ms, 0.5),
        p99_ms=percentile(spent_ms, 0.99),
        best_ms=round(min(spent_ms), 3),
        floor_ms=round(float(np.median(floors_ms)), 4),
        over_floor=round(float(np.median(np.divide(spent_ms, floors_ms))), 2),
        parts=len(spent_ms),
        gflop=None if work is None else round(sum(work), 3),
        gflop_int8=round(work.int8, 3) if work and work.int8 else None,
        megabytes=None if megabytes is None else round(megabytes, 3),
    )
