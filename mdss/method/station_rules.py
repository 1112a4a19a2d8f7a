"""What a station's rules make of a part's score: the same words for who judges parts, for a shadow and for the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mdss.method.calibration import Calibration
from mdss.method.grid import Grid
from mdss.settings import FusionSettings

if TYPE_CHECKING:
    from mdss.method.point_cloud import Prepared

Decision = Literal["OK", "NotOK", "NotDecidable"]
DIGITS = range(4, 18)  # that a score is told with; 17 tell any two numbers apart


@dataclass(frozen=True)
class InView:
    """What the rules ask of a prepared part."""

    mask: NDArray[np.bool_]  # (S, S), where the grid shows the part
    grid: Grid
    invalid_point_ratio: float

    @classmethod
    def of(cls, part: Prepared) -> Self:
        """Return it of a part that was prepared in this process."""
        return cls(part.mask, part.grid, part.invalid_point_ratio)


def decide(score: float, part: InView, calibration: Calibration, rules: FusionSettings) -> tuple[Decision, str]:
    """Return what a part with a score is, and the reason where it is not OK.

    A score above the threshold is NotOK whatever is missing of the part, unless so much is missing that no score says anything.
    """
    threshold = calibration.threshold.value
    if reason := unseen(part, rules):
        return "NotDecidable", reason
    if rules.guard_band_ratio and abs(score - threshold) <= rules.guard_band_ratio * threshold:
        return "NotDecidable", f"score {score:.4g} lies within {rules.guard_band_ratio:.1%} of the threshold {threshold:.4g}"
    if score > threshold:
        found, limit = apart(score, threshold)
        return "NotOK", f"score {found} is above the threshold {limit}"
    if reason := lacking(part, calibration, rules):
        return "NotDecidable", reason
    return "OK", ""


def apart(higher: float, lower: float) -> tuple[str, str]:
    """Return two numbers in words, with as many digits as it takes to see that they differ."""
    pairs = ((f"{higher:.{digits}g}", f"{lower:.{digits}g}") for digits in DIGITS)
    return next(pair for pair in pairs if pair[0] != pair[1])


def unseen(part: InView, rules: FusionSettings) -> str:
    """Say that too little of the part was seen; empty where it was enough."""
    missing, allowed = part.invalid_point_ratio, rules.max_invalid_point_ratio
    return "" if missing <= allowed else f"{missing:.1%} of the part's points are missing; at most {allowed:.1%} are allowed"


def lacking(part: InView, calibration: Calibration, rules: FusionSettings) -> str:
    """Say that a piece of the part may be missing: it is too small for a good one, or the image cuts it off; empty where neither is so."""
    covered, least = calibration.covered(part.mask), rules.min_part_ratio
    if covered < least:
        return f"the part covers {covered:.1%} of what the smallest good one of the validation does; at least {least:.1%} are expected"
    at_edge_px = part.grid.at_edge(part.mask)
    if rules.whole_in_image and calibration.is_cut_off(at_edge_px):
        found = f"the image cuts the part off: {at_edge_px} px of it lie at the edge"
        return f"{found}; of good ones of the validation at most {calibration.most_at_edge_px} px do"
    return ""
