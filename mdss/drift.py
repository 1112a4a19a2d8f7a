"""Detects whether today's parts still resemble those of calibration, by ranks of blocks of parts and limits with a stated rate.

Each live part is ranked among the few reference parts of a calibration, one quantity at a time. However a quantity is distributed, the
ranks of parts like the reference are uniform, and a defective part weighs no more than any other. The test compares the mean rank of a
block, and of a window of several blocks (the Mann-Whitney statistic).

Two kinds of chance move the mean rank although nothing has changed: chance among the live parts, which is new in each block, and chance
among the reference parts, which stays for as long as the model judges. The limits are the sum of both (docs/decisions/0012), so that the
rate holds for a single station with its one reference, not only on the average of many stations.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, median

from mdss.drift_record import QUANTITIES, Block, DriftRecord, Onset, Quantity, Range

BLOCK_PARTS = 25
WINDOWS = (1, 2, 4, 8)  # blocks: short windows detect large shifts quickly, long windows detect small ones
REST_BLOCKS = 4  # blocks whose mean shift must be at rest before a warning ends
KEPT_BLOCKS = 200
LEAST_REFERENCE = 5
RATE_MISSED_SHARE = 0.05  # share of references for which the stated rate does not hold
FLOOR = 0.1  # smallest shift of the mean rank that matters, about a third of a standard deviation
UNIFORM_DEVIATION = 12**-0.5
LEAST_SCORE_CHANGE = 0.02  # share of the reference's median: two engines may differ by as much
LEAST_CHANGES: dict[Quantity, float] = {"brightness": 1.0, "valid_point_ratio": 0.002, "distance_mm": 0.1}


@dataclass(frozen=True)
class DriftLimits:
    """How far the mean rank may lie from the middle."""

    windows: dict[int, float]  # blocks -> limit for the mean shift of that many blocks
    rest: float

    @classmethod
    def of(cls, reference_parts: int, false_alarms_per_10000: float) -> DriftLimits:
        """Return the limits for a rate of false warnings per 10,000 good parts, for all quantities of a recipe together.

        Given the reference (m parts), the mean rank of n live parts has a standard deviation of about sqrt((1 + 1/m) / 12n) around its own
        expectation. That expectation lies as far from 1/2 as the mean of m uniform numbers does, with a standard deviation of sqrt(1 /
        12m). The false-warning budget of a block is divided among the quantities and the windows.
        """
        normal, count = NormalDist(), len(QUANTITIES)
        luck = -normal.inv_cdf(RATE_MISSED_SHARE / count / 2) * UNIFORM_DEVIATION / math.sqrt(reference_parts)
        rate = false_alarms_per_10000 / 10_000 * BLOCK_PARTS / count / len(WINDOWS)
        spread = -normal.inv_cdf(rate) * UNIFORM_DEVIATION * math.sqrt(1 + 1 / reference_parts)
        rest = max(luck, FLOOR)
        return cls({blocks: rest + spread / math.sqrt(BLOCK_PARTS * blocks) for blocks in WINDOWS}, rest)


@dataclass(frozen=True)
class LivePart:
    """One judged part with its values."""

    part_id: str
    result_id: str
    judged_ns: int
    values: Mapping[Quantity, float]


@dataclass(frozen=True)
class WarningChange:
    """The beginning or the end of a warning."""

    quantity: Quantity
    is_onset: bool
    since: Onset


class DriftComparison:
    """Compares the live parts of one recipe with the reference of the model that judges them."""

    def __init__(self, recipe: str, version: str, reference: Mapping[Quantity, Sequence[float]], false_alarms_per_10000: float) -> None:
        self._recipe, self._version = recipe, version
        self._reference = {name: sorted(reference[name]) for name in QUANTITIES}
        self._count = min(len(values) for values in self._reference.values())
        self._ranges = {name: range_of(values) for name, values in self._reference.items()}
        self._least = {name: LEAST_CHANGES.get(name, LEAST_SCORE_CHANGE * abs(self._ranges[name].median)) for name in QUANTITIES}
        self._open: list[LivePart] = []
        self._blocks: list[Block] = []
        self._warnings: dict[Quantity, Onset] = {}
        self._cleared = dict.fromkeys(QUANTITIES, 0)
        self._parts = 0
        self.set_false_alarm_rate(false_alarms_per_10000)

    def set_false_alarm_rate(self, false_alarms_per_10000: float) -> None:
        """Use another rate of false warnings from the next block on."""
        self._limits = DriftLimits.of(self._count, false_alarms_per_10000)

    def resume(self, record: DriftRecord) -> None:
        """Continue from a stored record; a record of another model or another reference is ignored."""
        if (record.recipe, record.model_version, record.reference) != (self._recipe, self._version, self._ranges):
            return
        self._blocks, self._parts, self._warnings = list(record.blocks), record.parts, dict(record.warnings)
        self._cleared |= record.cleared

    def add(self, part: LivePart) -> list[WarningChange] | None:
        """Add one part; return the changes at the end of a block, None before."""
        self._parts += 1
        self._open.append(part)
        if len(self._open) < BLOCK_PARTS:
            return None
        self._blocks = [*self._blocks[1 - KEPT_BLOCKS :], self._close_block()]
        changes = []
        for name in QUANTITIES:
            self._cleared[name] += 1
            change = self._over(name) if name in self._warnings else self._onset(name)
            changes += [] if change is None else [change]
        return changes

    def drift(self, name: Quantity) -> float:
        """Return the shift as a share of its limit, for the window where it is largest; a warning needs less than -1 or more than 1.

        If a warning has just begun or ended, only the last block counts.
        """
        windows = self._windows(name) or [(1, self._limits.windows[1])]
        return max((self._shift(name, blocks) / limit for blocks, limit in windows), key=abs) if self._blocks else 0.0

    def is_warned_of(self, name: Quantity) -> bool:
        """Return whether there is a warning for a quantity now."""
        return name in self._warnings

    def record(self) -> DriftRecord:
        """Return the record to store."""
        return DriftRecord(
            recipe=self._recipe,
            model_version=self._version,
            reference_parts=self._count,
            block_parts=BLOCK_PARTS,
            parts=self._parts,
            reference=self._ranges,
            limits=self._limits.windows,
            rest=self._limits.rest,
            blocks=tuple(self._blocks),
            warnings=dict(self._warnings),
            cleared=dict(self._cleared),
        )

    def _close_block(self) -> Block:
        parts, self._open = self._open, []
        values = {name: [part.values[name] for part in parts] for name in QUANTITIES}
        return Block(
            first_part_id=parts[0].part_id,
            first_result_id=parts[0].result_id,
            ended_ns=parts[-1].judged_ns,
            shifts={name: fmean(rank(value, self._reference[name]) for value in values[name]) - 0.5 for name in QUANTITIES},
            medians={name: median(values[name]) for name in QUANTITIES},
        )

    def _shift(self, name: Quantity, blocks: int) -> float:
        """Return the mean shift of the last blocks."""
        return fmean(block.shifts[name] for block in self._blocks[-blocks:])

    def _windows(self, name: Quantity) -> list[tuple[int, float]]:
        """Return the windows that lie completely after the last change of a warning, with their limits."""
        return [(blocks, limit) for blocks, limit in self._limits.windows.items() if blocks <= self._cleared[name]]

    def _onset(self, name: Quantity) -> WarningChange | None:
        """Return the start of a warning if a window's shift is beyond its limit and its median differs by at least the least change."""
        for blocks, limit in self._windows(name):
            shift = self._shift(name, blocks)
            middle = median(block.medians[name] for block in self._blocks[-blocks:])
            if abs(shift) > limit and abs(middle - self._ranges[name].median) >= self._least[name]:
                return self._warn(name, shift, middle)
        return None

    def _warn(self, name: Quantity, shift: float, middle: float) -> WarningChange:
        """Start a warning; it dates from the first of the latest consecutive blocks shifted to the same side by at least half as much."""
        recent = self._blocks[-self._cleared[name] :]
        first = recent[-1]
        for block in reversed(recent):
            if block.shifts[name] * math.copysign(1, shift) < abs(shift) / 2:
                break
            first = block
        onset = Onset(
            part_id=first.first_part_id,
            result_id=first.first_result_id,
            warned_ns=recent[-1].ended_ns,
            shift=shift,
            median=middle,
        )
        self._warnings[name], self._cleared[name] = onset, 0
        return WarningChange(name, True, onset)

    def _over(self, name: Quantity) -> WarningChange | None:
        """Return the end of a warning if the blocks since then are back at rest."""
        if self._cleared[name] < REST_BLOCKS or abs(self._shift(name, REST_BLOCKS)) > self._limits.rest:
            return None
        self._cleared[name] = 0
        return WarningChange(name, False, self._warnings.pop(name))


def rank(value: float, ordered: Sequence[float]) -> float:
    """Return the share of the reference that lies below a value; equal values count half."""
    return (bisect_left(ordered, value) + bisect_right(ordered, value)) / (2 * len(ordered))


def range_of(ordered: Sequence[float]) -> Range:
    """Return the median of some ordered values, and the range of the middle eight in ten."""
    last = len(ordered) - 1
    return Range(low=ordered[round(0.1 * last)], median=median(ordered), high=ordered[round(0.9 * last)])
