"""How much worse colour knows good parts that it has not learned from: training scans that leave poses out show in this."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mdss.method.recipe import ColourSettings
from mdss.method.student_teacher import ColourBranch
from trainer.branch_inputs import Part, sample_parts
from trainer.progress import tracked

WIDE_GAP = 1.5  # decision 47: 120 scans of a product that comes in any pose reach 1.2 to 1.3, 60 of them 1.6 and 30 of them 2.4


def generalisation_gap(branch: ColourBranch, training: Sequence[Part], validation: Sequence[Part]) -> float:
    """Return how many times as much the student errs on good parts that it has not seen as on those that it learned from.

    A part's error is the mean of its map on the part, before it is divided by what good parts reach; of parts the median counts. About 1
    where training parts show all that good parts look like.
    """
    seen, unseen = (
        float(np.median([mean_error(branch, part) for part in tracked(parts, title)]))
        for parts, title in ((sample_parts(training), "error on training parts"), (validation, "error on validation parts"))
    )
    return unseen / seen if seen else 1.0


def mean_error(branch: ColourBranch, part: Part) -> float:
    """Return the mean of a part's map before division, on the part."""
    return float(branch.map_before_division(branch.levelled(part.rgb, part.mask), part.mask)[part.mask].mean())


def gap_sentences(gap: float, settings: ColourSettings) -> list[str]:
    """Return a sentence on what a wide gap says of the training scans and what helps; none for a usual one."""
    if gap < WIDE_GAP:
        return []
    found = f"colour errs {gap:.1f} times as much on validation parts as on those it learned from"
    helps = "more of them help" if settings.turned else "more of them help; where parts come at any angle, rgb.turned=true may, too"
    return [f"{found}: the training scans do not show all that good parts look like; {helps}"]
