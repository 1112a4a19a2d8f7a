"""The station's rules, which turn a part's score into a decision: the same for parts on the line, for a shadow and for the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mdss.errors import written_out
from mdss.method.calibration import Calibration
from mdss.method.grid import Grid
from mdss.settings import FusionSettings

if TYPE_CHECKING:
    from mdss.method.point_cloud import Prepared

Decision = Literal["OK", "NotOK", "NotDecidable"]
DIGITS = range(4, 18)  # of a score in a sentence; 17 tell any two numbers apart
MORE_MISSING, SOME_MISSING = 1.5, 0.01  # half of a product's good parts lacked up to 1.5 times what its other half did, of one 1.9 times


@dataclass(frozen=True)
class InView:
    """What the rules need to know of a prepared part besides its score."""

    mask: NDArray[np.bool_]  # (S, S), true where the part is
    grid: Grid
    invalid_point_ratio: float

    @classmethod
    def of(cls, part: Prepared) -> Self:
        """Return it for a part that was prepared in this process."""
        return cls(part.mask, part.grid, part.invalid_point_ratio)


def decide(score: float, part: InView, calibration: Calibration, rules: FusionSettings) -> tuple[Decision, str]:
    """Return the decision on a part with this score, and the reason if it is not OK.

    A score above the threshold is NotOK even if a piece of the part may be missing; but if too many points are missing, no score counts.
    """
    threshold = calibration.threshold.value
    if reason := missing_points_reason(part, rules):
        return "NotDecidable", reason
    if rules.guard_band_ratio and abs(score - threshold) <= rules.guard_band_ratio * threshold:
        found, limit = written_out(score), written_out(threshold)
        return "NotDecidable", f"score {found} lies within {rules.guard_band_ratio:.1%} of the threshold {limit}"
    if score > threshold:
        found, limit = as_different_numbers(score, threshold)
        return "NotOK", f"score {found} is above the threshold {limit}"
    if reason := incomplete_reason(part, calibration, rules):
        return "NotDecidable", reason
    return "OK", ""


def as_different_numbers(higher: float, lower: float) -> tuple[str, str]:
    """Return two different numbers as text, with as many digits as it takes to see that they differ."""
    pairs = ((written_out(higher, digits), written_out(lower, digits)) for digits in DIGITS)
    return next(pair for pair in pairs if pair[0] != pair[1])


def missing_points_reason(part: InView, rules: FusionSettings) -> str:
    """Return the sentence that too many of the part's points are missing; "" if enough were measured."""
    missing, allowed = part.invalid_point_ratio, rules.max_invalid_point_ratio
    return "" if missing <= allowed else f"{missing:.1%} of the part's points are missing; at most {allowed:.1%} are allowed"


def unusual_gaps_reason(part: InView, calibration: Calibration, rules: FusionSettings) -> str:
    """Return the sentence that the part lacks clearly more of its points than good ones do, which alone may be what its score shows.

    "" if it does not or that is not known, and where `missing_points_reason` names the missing points already.
    """
    missing, most = part.invalid_point_ratio, calibration.most_missing
    if missing_points_reason(part, rules) or missing <= MORE_MISSING * most + SOME_MISSING:
        return ""
    return f"{missing:.1%} of the part's points are missing; good ones of the validation lack at most {most:.1%}"


def incomplete_reason(part: InView, calibration: Calibration, rules: FusionSettings) -> str:
    """Return the sentence that the part may not be whole: it is too small for a good one, or the image cuts it off; "" if neither is so."""
    covered, least = calibration.coverage(part.mask), rules.min_part_ratio
    if covered < least:
        return f"the part covers {covered:.1%} of what the smallest good one of the validation does; at least {least:.1%} are expected"
    at_edge_px = part.grid.at_edge(part.mask)
    if rules.whole_in_image and calibration.is_cut_off(at_edge_px):
        found = f"the image cuts the part off: {at_edge_px} px of it lie at the edge"
        return f"{found}; of good ones of the validation at most {calibration.most_at_edge_px} px do"
    return ""
