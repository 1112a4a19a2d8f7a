"""Tells whether the parts of today are like those of calibration: ranks of blocks of parts, held against limits with a stated rate.

Each live part is ranked among the few reference parts of a calibration, one quantity at a time; however a quantity is distributed, the
ranks of like parts are uniform, and a defective part weighs no more than any other. What is compared is the mean rank of a block, and of
a window of several (the Mann-Whitney statistic). Two things move it though nothing has changed: chance among the live parts, new with each
block, and chance among the reference parts, which stays for as long as the model serves. The limits are the sum of both
(docs/decisions/0012), so that the rate holds for one station with its one reference, and not only on the average of many.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, median

from mdss.drift_record import QUANTITIES, Block, DriftRecord, Onset, Quantity, Range

BLOCK_PARTS = 25
WINDOWS = (1, 2, 4, 8)  # blocks: what is large is told by few, what is small by many
REST_BLOCKS = 4  # of them the mean must be at rest before a warning is over
KEPT_BLOCKS = 200
LEAST_REFERENCE = 5
UNLUCKY = 0.05  # share of references for which the stated rate does not hold
FLOOR = 0.1  # of the mean rank: a smaller shift, a third of a deviation, is of no consequence
UNIFORM_DEVIATION = 12**-0.5
LEAST_SCORE_CHANGE = 0.02  # of the reference's median: as much as two engines may differ
LEAST_CHANGES: dict[Quantity, float] = {"brightness": 1.0, "valid_point_ratio": 0.002, "distance_mm": 0.1}


@dataclass(frozen=True)
class Limits:
    """How far the mean rank may lie from the middle."""

    windows: dict[int, float]  # blocks -> the limit of their mean
    rest: float

    @classmethod
    def of(cls, reference_parts: int, false_alarms_per_10000: float) -> Limits:
        """Return the limits for a rate of false warnings per 10,000 good parts, all quantities of a recipe together.

        The mean rank of n live parts, given the reference, has a deviation of about sqrt((1 + 1/m) / 12n) around its own expectation, which
        lies as far from 1/2 as the mean of m uniform numbers does, with a deviation of sqrt(1 / 12m). The budget of a block is shared
        by the quantities and by the windows.
        """
        normal, count = NormalDist(), len(QUANTITIES)
        luck = -normal.inv_cdf(UNLUCKY / count / 2) * UNIFORM_DEVIATION / math.sqrt(reference_parts)
        rate = false_alarms_per_10000 / 10_000 * BLOCK_PARTS / count / len(WINDOWS)
        spread = -normal.inv_cdf(rate) * UNIFORM_DEVIATION * math.sqrt(1 + 1 / reference_parts)
        rest = max(luck, FLOOR)
        return cls({blocks: rest + spread / math.sqrt(BLOCK_PARTS * blocks) for blocks in WINDOWS}, rest)


@dataclass(frozen=True)
class Live:
    """One part that was judged."""

    part_id: str
    result_id: str
    judged_ns: int
    values: Mapping[Quantity, float]


@dataclass(frozen=True)
class Change:
    """A warning that begins, or one that is over."""

    quantity: Quantity
    is_onset: bool
    since: Onset


class Comparison:
    """The live parts of one recipe beside the reference of the model that judges them."""

    def __init__(self, recipe: str, version: str, reference: Mapping[Quantity, Sequence[float]], false_alarms_per_10000: float) -> None:
        self._recipe, self._version = recipe, version
        self._reference = {name: sorted(reference[name]) for name in QUANTITIES}
        self._count = min(len(values) for values in self._reference.values())
        self._ranges = {name: range_of(values) for name, values in self._reference.items()}
        self._least = {name: LEAST_CHANGES.get(name, LEAST_SCORE_CHANGE * abs(self._ranges[name].median)) for name in QUANTITIES}
        self._open: list[Live] = []
        self._blocks: list[Block] = []
        self._warnings: dict[Quantity, Onset] = {}
        self._cleared = dict.fromkeys(QUANTITIES, 0)
        self._parts = 0
        self.hold_to(false_alarms_per_10000)

    def hold_to(self, false_alarms_per_10000: float) -> None:
        """Keep to another rate from the next block on."""
        self._limits = Limits.of(self._count, false_alarms_per_10000)

    def resume(self, record: DriftRecord) -> None:
        """Go on from what was stored; a record of another model or of other reference parts is left alone."""
        if (record.recipe, record.model_version, record.reference) != (self._recipe, self._version, self._ranges):
            return
        self._blocks, self._parts, self._warnings = list(record.blocks), record.parts, dict(record.warnings)
        self._cleared |= record.cleared

    def add(self, part: Live) -> list[Change] | None:
        """Take one part; at the end of a block return what has changed, None before."""
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
        """Return the shift as a share of its limit, in that of the last windows where it is largest; beyond -1 or 1 it warns.

        Where a warning has just begun or ended, the last block alone tells.
        """
        windows = self._windows(name) or [(1, self._limits.windows[1])]
        return max((self._shift(name, blocks) / limit for blocks, limit in windows), key=abs) if self._blocks else 0.0

    def is_warned_of(self, name: Quantity) -> bool:
        """Return whether a warning holds."""
        return name in self._warnings

    def record(self) -> DriftRecord:
        """Return what is stored."""
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
        """Return the windows that lie after the last warning, with their limits."""
        return [(blocks, limit) for blocks, limit in self._limits.windows.items() if blocks <= self._cleared[name]]

    def _onset(self, name: Quantity) -> Change | None:
        """Return a warning where one of the last windows is beyond its limit, and its middle off by more than nothing."""
        for blocks, limit in self._windows(name):
            shift = self._shift(name, blocks)
            middle = median(block.medians[name] for block in self._blocks[-blocks:])
            if abs(shift) > limit and abs(middle - self._ranges[name].median) >= self._least[name]:
                return self._warn(name, shift, middle)
        return None

    def _warn(self, name: Quantity, shift: float, middle: float) -> Change:
        """Say since when: from the first of the last blocks in a row that lie off to the same side by half as much."""
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
        return Change(name, True, onset)

    def _over(self, name: Quantity) -> Change | None:
        """Return the end of a warning where the blocks since then are back at rest."""
        if self._cleared[name] < REST_BLOCKS or abs(self._shift(name, REST_BLOCKS)) > self._limits.rest:
            return None
        self._cleared[name] = 0
        return Change(name, False, self._warnings.pop(name))


def rank(value: float, ordered: Sequence[float]) -> float:
    """Return which share of the reference lies below a value; what equals it counts as half below."""
    return (bisect_left(ordered, value) + bisect_right(ordered, value)) / (2 * len(ordered))


def range_of(ordered: Sequence[float]) -> Range:
    """Return the middle of some ordered values, and where eight in ten of them lie."""
    last = len(ordered) - 1
    return Range(low=ordered[round(0.1 * last)], median=median(ordered), high=ordered[round(0.9 * last)])
