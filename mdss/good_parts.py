"""Which collected parts are good: no others are learned from, set a threshold, or speak for a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from mdss.collection import Collected
from mdss.part_names import name_among

Standing = Literal["good", "defect", "contested", "unknown"]


def standing_among(kept: Iterable[Collected]) -> Callable[[Collected], Standing]:
    """Return what says of each of these parts what it counts as: what a person called it, whatever else is known.

    Of what nobody has called anything, a part that both branches accepted is good, or contested where a person has called another scan of
    it a defect; of all others nobody knows. Contested is also what was called something that cannot be read any more.
    """
    scans = list(kept)
    name_of = name_among(each.part for each in scans)
    defective = {name_of(each.part) for each in scans if each.label == "defect"}

    def standing(each: Collected) -> Standing:
        if each.label is not None:
            return each.label
        if each.is_review_lost:
            return "contested"
        if each.part.evaluation != "OK" or each.part.score is None:  # one branch alone gives no score
            return "unknown"
        return "contested" if name_of(each.part) in defective else "good"

    return standing
