"""What a bench found: the figures as they go into JSON, and how they are made from single times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from mdss.whole_files import as_json

INT8 = "int8"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine does when nothing else is asked of it; the floors come from here."""

    processor: str
    cores: int
    device: str
    device_name: str
    torch: str
    threads: int  # that one process may use: the second column of the rates
    precision: str  # in which models multiply that score in float
    gflops: dict[str, dict[str, float]]  # precision -> threads -> best matrix rate
    copy_gb_s: float  # bytes copied per second, read once and written once
    sync_write_ms: float  # one small durable write
    load_before: float  # running programs, averaged over the minute before

    def least_ms(self, work: Operations) -> float:
        """Return how long one thread needs for operations at the matrix rates of their precisions."""
        kinds = (self.precision, work.wide), ("float32", work.float32), (INT8, work.int8)
        return sum(1000 * gflop / self.gflops[kind]["1"] for kind, gflop in kinds if gflop)


class Operations(NamedTuple):
    """How many billion multiplications and additions a branch spends on a part."""

    wide: float  # of a model that scores in float: in the precision that the machine is faster in
    int8: float = 0.0
    float32: float = 0.0  # of a model that scores in eight bits: all others


class StageFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One stage by itself, in one thread; of operations and bytes it has what it is held against."""

    p50_ms: float
    p99_ms: float
    best_ms: float
    floor_ms: float
    over_floor: float  # of each part, in the middle
    parts: int
    gflop: float | None = None
    gflop_int8: float | None = None  # of these, in eight bits
    megabytes: float | None = None


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """One stage's share of what a part takes beside the networks."""

    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, spent_ms: Sequence[float]) -> Stretch:
        """Return it from what each part took there."""
        return cls(p50_ms=percentile(spent_ms, 0.5), p99_ms=percentile(spent_ms, 0.99))


class EndToEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The whole station at one size of scan."""

    parts_per_s: float
    p50_ms: float
    p99_ms: float
    overhead_p50_ms: float
    overhead_p99_ms: float
    overhead: dict[str, Stretch]  # stage by stage, in their order
    parts: int  # behind the latencies
    not_ok: float  # share of verdicts that came with a picture


class BothBranches(msgspec.Struct, frozen=True, kw_only=True):
    """Usual times of a part in each branch alone, and in both at once with a core for each."""

    rgb_ms: float
    sdf_ms: float
    both_ms: float
    over_slower: float  # of each part, in the middle
    parts: int


class GrowthFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The rate of the whole station with so many cameras, and so many processes for each branch."""

    processes: int
    cameras: int
    parts_per_s: float


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All of a run; `speedup_over_reference` is None where it was not asked for."""

    date: str
    product: str
    preset: str
    is_trained: bool
    machine: Machine
    stages: dict[str, StageFigures]
    stages_at: dict[str, dict[str, StageFigures]]  # those that depend on the size of the scan, at all other sizes
    end_to_end: dict[str, EndToEnd]
    speedup_over_reference: float | None
    memory_mb: dict[str, float]
    start_to_ready_s: float
    both_branches: BothBranches | None = None  # where there are no two cores
    growth: list[GrowthFigures] = []

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_bytes(as_json(self))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all lies below, between two of them linearly, to a microsecond."""
    return round(float(np.percentile(values, 100 * share)), 3)


def stage_figures(
    spent_ms: Sequence[float], floors_ms: Sequence[float], *, work: Operations | None = None, megabytes: float | None = None
) -> StageFigures:
    """Return a stage's figures from the time of each part and its floor.

    Parts differ in size, so `over_floor` is taken of each part and then in the middle: of parts of two sizes the middle time is one of the
    smaller's slowest or of the larger's fastest, and says nothing beside the middle of the floors.
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
