"""Calibration from good validation parts: the spread of each branch's map, the threshold, and how often good parts will exceed it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdss.errors import BadInput, some_of, written_out
from mdss.method.recipe import FusionSettings, ThresholdSettings
from mdss.method.reference import Reference

Float = NDArray[np.float32]

MIN_PARTS = 5
ROUNDING = 1e-9  # floating point may put (n + 1)(1 - rate) a little above the whole number that it is
SMALLEST_SCORE = 1e-30  # so that a score of 0 has a logarithm
MOST_OUTSIDE = 0.25  # of all parts: if more of them stand out, they are not a few that somebody mistook for good
MOST_NAMED = 10  # parts named in a question
MORE_AT_EDGE, SOME_AT_EDGE_PX = 1.25, 8  # good parts of two products that run through the image: up to 1.03 times the validation's
OUTLIER_RATIO = 3.0  # times the next score: the highest good part had up to 1.9 on lines of all kinds, a defective one 19 and more


class Statistics(msgspec.Struct, frozen=True):
    """Mean and deviation of one branch's map on good parts."""

    mean: float
    std: Annotated[float, msgspec.Meta(gt=0)]

    def aligned(self, heat: Float) -> Float:
        """Return the map in deviations from the mean (the aligned map)."""
        return ((heat - np.float32(self.mean)) / np.float32(self.std)).astype(np.float32)

    @classmethod
    def of(cls, maps: Sequence[Float], masks: Sequence[NDArray[np.bool_]] | None) -> Statistics:
        """Measure the pixels of all maps inside the masks; all pixels without masks."""
        values = [heat.ravel() if masks is None else heat[mask] for heat, mask in zip(maps, masks or maps, strict=True)]
        pooled = np.concatenate(values).astype(np.float64)
        return cls(float(pooled.mean()), max(float(pooled.std()), 1e-12))


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """The score above which a part is not OK, and the false-reject rate that it promises."""

    value: float
    method: str
    asked_false_reject_rate: float
    stated_false_reject_rate: float
    parts: int  # number of good validation parts that it comes from
    note: str = ""

    @property
    def promise(self) -> str:
        """Say how many good parts will exceed the threshold, and whether that is a promise or an assumption."""
        says = "at most" if self.method == "conformal" else "as assumed,"
        stated, asked = percent(self.stated_false_reject_rate), percent(self.asked_false_reject_rate)
        return f"{says} {stated} of good parts above it, asked {asked}"

    def with_margin(self, margin: float) -> Threshold:
        """Return the threshold times `margin`, with a note that says so."""
        return msgspec.structs.replace(self, value=margin * self.value).with_note(
            f"{margin:g} times the limit that good parts set (threshold.margin)"
        )

    def with_note(self, more: str) -> Threshold:
        """Return the same threshold with one more remark."""
        return msgspec.structs.replace(self, note="; ".join(filter(None, (self.note, more))))


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that fusion needs to know of a model besides its weights."""

    rgb: Statistics
    sdf: Statistics
    threshold: Threshold
    map_level: float  # in deviations; the fused map is outlined above it
    fusion: FusionSettings
    calibrated_at: str  # UTC, ISO 8601
    validation_scores: tuple[float, ...]
    validation_peaks: tuple[float, ...] = ()  # of the fused maps: `map_level` comes from them; empty in models of earlier releases
    score_floor: float = 0.0  # the limit of shape's score, which good parts rarely exceed; shape counts from there on
    colour_limit: float = 0.0  # the limit of colour's half (fusion.colour_score); only for fusion.score=larger
    reference: Reference | None = None  # None in models of earlier releases
    smallest_part_px: int = 0  # of all validation parts, the smallest mask on the grid; 0 in models of earlier releases
    most_at_edge_px: int | None = None  # of all validation parts, the largest `Grid.at_edge` of a mask; None in models of earlier releases

    def coverage(self, mask: NDArray[np.bool_]) -> float:
        """Return the size of a part's mask (S, S) as a share of the smallest good part's; infinite if that is not known."""
        return np.count_nonzero(mask) / self.smallest_part_px if self.smallest_part_px else math.inf

    def is_cut_off(self, at_edge_px: int) -> bool:
        """Return whether the image cuts this part off clearly more than any good one; `at_edge_px` is its mask's `Grid.at_edge`."""
        return self.most_at_edge_px is not None and at_edge_px > MORE_AT_EDGE * self.most_at_edge_px + SOME_AT_EDGE_PX

    @property
    def most_missing(self) -> float:
        """Return the largest share of its points that a good validation part lacks; infinite if that is not known."""
        valid = self.reference.valid_point_ratio if self.reference else ()
        return 1 - min(valid) if valid else math.inf


def now() -> str:
    """Return the time as calibrations and model cards write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def percent(share: float) -> str:
    """Return a share as people read it; a small one such as 0.000001 is not rounded to 0."""
    return f"{written_out(100 * share, 3)}%"


def more_needed(count: int) -> str:
    """Return a sentence that says how many are lacking."""
    return f"{count} more {'is' if count == 1 else 'are'} needed"


def score_limit(scores: Sequence[float], deviations: float | None) -> float:
    """Return the limit that good parts' scores rarely exceed: `deviations` above the mean, both of the logarithms; 0 for None."""
    if deviations is None:
        return 0.0
    logarithms = np.log(np.maximum(np.asarray(scores, np.float64), SMALLEST_SCORE))
    return math.exp(float(logarithms.mean()) + deviations * float(logarithms.std(ddof=1)))


def find_threshold(scores: Sequence[float], settings: ThresholdSettings) -> Threshold:
    """Return the threshold for the asked false-reject rate, from the scores of good parts that no training saw.

    conformal: the k-th smallest of n scores, k = ceil((n + 1)(1 - rate)); with probability of at most 1 - k / (n + 1) a further good part
    exceeds it, whatever the distribution (split conformal prediction). If n is too small for the rate, the highest score is taken, and
    the rate that this really promises is stated.

    lognormal: the limit that one more score exceeds at that rate if the logarithms are normal with unknown mean and deviation (Student's
    t). It serves few parts and small rates, and is an assumption, not a promise.

    The threshold is the recipe's margin times that limit, so that what is stated holds all the more.
    """
    if len(scores) < MIN_PARTS:
        raise BadInput(f"validation: found {len(scores)} good parts, expected at least {MIN_PARTS} to set a threshold")
    ordered, rate = np.sort(np.asarray(scores, np.float64)), settings.false_reject_rate
    found = _lognormal(ordered, rate) if settings.method == "lognormal" else _conformal(ordered, rate)
    return found if settings.margin == 1 else found.with_margin(settings.margin)


def outlier_question(scores: Sequence[float], names: Sequence[str] = (), branch: str = "") -> str:
    """Return a question about the few parts whose scores lie far above all others, or ""; `branch` names the branch of the scores, if any.

    One defective part among the good ones lifts the threshold, and the limits that scores are measured in, above most defects.
    """
    falling = np.argsort(scores, kind="stable")[::-1]
    for count in range(1, 1 + max(1, int(MOST_OUTSIDE * len(scores)))):
        lowest, following = (scores[number] for number in falling[count - 1 : count + 1])
        if lowest > OUTLIER_RATIO * following:
            called = [names[number] if names else f"{number + 1} of {len(scores)}" for number in sorted(falling[:count])]
            parts = some_of(called, MOST_NAMED)
            times = f"{lowest / max(following, SMALLEST_SCORE):.0f} times the next{branch and f' in {branch}'}"
            question = f" {parts} scores {times}: is it good?" if count == 1 else f"s {parts} score {times}: are they good?"
            return f"validation part{question}"
    return ""


def _conformal(ordered: NDArray[np.float64], rate: float) -> Threshold:
    count = len(ordered)
    rank = math.ceil((count + 1) * (1 - rate) - ROUNDING)
    note = ""
    if rank > count:
        needed = math.ceil((1 - ROUNDING) / rate) - 1
        note = f"{count} good parts cannot promise {percent(rate)}: {more_needed(needed - count)}, {needed} in all"
        rank = count
    stated = 1 - rank / (count + 1)
    return Threshold(
        value=float(ordered[rank - 1]),
        method="conformal",
        asked_false_reject_rate=rate,
        stated_false_reject_rate=stated,
        parts=count,
        note=note,
    )


def _lognormal(ordered: NDArray[np.float64], rate: float) -> Threshold:
    from scipy.special import stdtrit  # imported here: four processes of a station load this module, and none of them sets a threshold

    logarithms = np.log(np.maximum(ordered, SMALLEST_SCORE))
    spread = float(logarithms.std(ddof=1))
    deviations = -float(stdtrit(len(ordered) - 1, rate)) * math.sqrt(1 + 1 / len(ordered))
    limit = math.exp(float(logarithms.mean()) + deviations * spread)
    return Threshold(
        value=limit,
        method="lognormal",
        asked_false_reject_rate=rate,
        stated_false_reject_rate=rate,
        parts=len(ordered),
        note=f"assumes that good scores are lognormal; {len(ordered)} parts alone can promise {percent(1 / (len(ordered) + 1))}",
    )
