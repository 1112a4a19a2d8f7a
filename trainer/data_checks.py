"""Which collected parts a training may learn from: each refused part gets a code and a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from mdss.errors import written_out
from mdss.method.calibration import percent
from trainer.part_measures import COLOURS, MEASURES, Float, Measures, nearest

Code = Literal["unreadable", "no_part", "dark", "missing_points", "another_product", "duplicate", "not_normal", "defect"]
Fault = tuple[Code, str]
OVERRULED: tuple[Code, ...] = ("another_product", "not_normal")  # if a person marks the part as good
FAR_DEVIATIONS, MAD_PER_DEVIATION = 8.0, 1.4826
LEAST_SIZE_SHARE = 0.10  # of a side's usual length: good parts may always differ by this much
LEAST_COLOUR_SHARE = 0.03  # of all light: lamps of another age or colour shift it by less
DARK_SHARE, BLACK = 0.4, 8.0  # of the usual brightness; and of 255, if that is not known
SAME_PART_SHARE = 0.25  # of the usual distance between distinct parts: nearer, and it is one part twice
NEAREST_PERCENTILE = 5.0
FEWEST_TO_COMPARE = 5
SURELY_SAME = 0.2  # the same limit, where too few parts are known to compare with


class Refused(msgspec.Struct, frozen=True):
    """A collected part that is not learned from, and why."""

    result_id: str
    part_id: str
    code: Code
    reason: str


@dataclass(frozen=True)
class GoodPartRange:
    """What the parts known to be good look like."""

    centre: dict[str, float]
    reach: dict[str, float]  # how far from the centre a good part can be
    brightness: float
    same_part: float  # two signatures nearer than this belong to one part

    @classmethod
    def of(cls, parts: Sequence[Measures]) -> GoodPartRange:
        """Measure good parts."""
        centre, reach = {}, {}
        for name in MEASURES:
            values = np.array([part.values[name] for part in parts])
            centre[name] = float(np.median(values))
            deviation = MAD_PER_DEVIATION * float(np.median(np.abs(values - centre[name])))
            least = LEAST_COLOUR_SHARE if name in COLOURS else LEAST_SIZE_SHARE * centre[name]
            reach[name] = max(FAR_DEVIATIONS * deviation, least)
        brightness = float(np.median([part.brightness for part in parts]))
        return cls(centre, reach, brightness, same_part_limit([part.signature for part in parts]))


def same_part_limit(signatures: Sequence[Float]) -> float:
    """Return the distance of signatures below which two scans show one part, from how far apart distinct parts lie.

    Some of these scans may be of one part themselves, so the smallest distances do not count.
    """
    if len(signatures) < FEWEST_TO_COMPARE:
        return SURELY_SAME
    away = np.array([nearest(each, [*signatures[:number], *signatures[number + 1 :]])[1] for number, each in enumerate(signatures)])
    distinct = away[away > SAME_PART_SHARE * np.median(away)]
    return SAME_PART_SHARE * float(np.percentile(distinct, NEAREST_PERCENTILE)) if len(distinct) else SURELY_SAME


def fault_of(part: Measures, usual: GoodPartRange | None, max_invalid_ratio: float, *, is_marked_good: bool) -> Fault | None:
    """Return why a part cannot be learned from, whatever its scores; None if it can.

    A person who marks a part as good knows better what belongs to the product. But nobody can learn from what was not seen.
    """
    if fault := visibility_fault(part, usual, max_invalid_ratio):
        return fault
    return product_fault(part, usual) if usual and not is_marked_good else None


def visibility_fault(part: Measures, usual: GoodPartRange | None, max_invalid_ratio: float) -> Fault | None:
    """Return the fault of a part that is too dark or has too few points; None if it is neither."""
    least = DARK_SHARE * usual.brightness if usual else BLACK
    if part.brightness < least:
        return "dark", f"the part has a brightness of {part.brightness:.3g} of 255, expected at least {least:.3g}: is the lamp on?"
    if part.invalid_point_ratio > max_invalid_ratio:
        missing, most = percent(part.invalid_point_ratio), percent(max_invalid_ratio)
        return "missing_points", f"{missing} of the part's points are missing, expected at most {most}"
    return None


def product_fault(part: Measures, usual: GoodPartRange) -> Fault | None:
    """Return the fault of a part whose size or colours are beyond those of good parts, with its worst measure; None if there is none."""
    beyond = {name: abs(part.values[name] - usual.centre[name]) / usual.reach[name] for name in MEASURES}
    worst = max(beyond, key=lambda name: beyond[name])
    if beyond[worst] <= 1:
        return None
    centre, reach = usual.centre[worst], usual.reach[worst]
    words, unit = (f"its share of {worst}", "") if worst in COLOURS else (f"its {worst.removesuffix('_mm')}", " mm")
    found = f"{words} is {written_out(part.values[worst], 3)}{unit}"
    least, most = written_out(max(0.0, centre - reach), 3), written_out(centre + reach, 3)
    return "another_product", f"{found}, good parts have {least} to {most}{unit}: another product?"


def score_fault(score: float, threshold: float) -> Fault | None:
    """Return the fault of a part that scores above the champion's threshold; None if it does not."""
    if score <= threshold:
        return None
    given, limit = written_out(score), written_out(threshold)
    return "not_normal", f"the champion gives it {given}, above its threshold of {limit}, and nobody has marked it good"


class Signatures:
    """Signatures of the parts seen so far, so that none is learned from twice."""

    def __init__(self, usual: GoodPartRange | None) -> None:
        self._same_part = usual.same_part if usual else SURELY_SAME
        self._names: list[str] = []
        self._known: list[Float] = []

    def twin_of(self, signature: Float) -> str | None:
        """Return the name of a known part that this is a second scan of; None for a new part."""
        number, away = nearest(signature, self._known)
        return self._names[number] if away < self._same_part else None

    def add(self, name: str, signature: Float) -> None:
        """Remember a part."""
        self._names.append(name)
        self._known.append(signature)


def refusals_by_code(refused: Sequence[Refused]) -> dict[str, int]:
    """Count the refusals by code, the most frequent first."""
    return dict(Counter[str](each.code for each in refused).most_common())


def in_words(refused: Sequence[Refused]) -> str:
    """Return the number of refusals by code as text; "" without any."""
    return ", ".join(f"{count} {code}" for code, count in refusals_by_code(refused).items())
