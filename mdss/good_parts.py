"""Decides which collected parts count as good: only these are learned from, set a threshold, or count as good at the gate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from mdss.collection import CollectedScan
from mdss.part_names import name_among

Standing = Literal["good", "defect", "contested", "unknown"]


def standing_among(kept: Iterable[CollectedScan]) -> Callable[[CollectedScan], Standing]:
    """Return a function that gives the standing of each of these parts; a person's label always decides.

    Without a label, a part that both branches accepted is good, unless a person labelled another scan of it a defect: then it is contested.
    All other parts are unknown. A part whose label cannot be read any more is contested, too.
    """
    scans = list(kept)
    name_of = name_among(each.part for each in scans)
    defective = {name_of(each.part) for each in scans if each.label == "defect"}

    def standing(each: CollectedScan) -> Standing:
        if each.label is not None:
            return each.label
        if each.is_review_lost:
            return "contested"
        if each.part.evaluation != "OK" or each.part.score is None:  # a single branch gives no score
            return "unknown"
        return "contested" if name_of(each.part) in defective else "good"

    return standing
