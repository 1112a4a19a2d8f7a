"""Which parts an evaluation's page shows, and under which title."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdss.method.grid import Grid
from trainer.dataset import Scan
from trainer.report_examples import choose
from trainer.scoring import Scored, ScoredPart

SIDE_PX = 64


def scored(kind: str, name: str, score: float, marked: slice) -> ScoredPart:
    """Return a part whose map is hot in its upper left, and of which these rows and columns are marked."""
    heat, truth = np.zeros((SIDE_PX, SIDE_PX), np.float32), np.zeros((SIDE_PX, SIDE_PX), np.bool_)
    heat[:20, :20], truth[marked, marked] = score, True
    nowhere: Any = None
    scan = Scan("test", kind, name, nowhere, nowhere)
    return ScoredPart(scan, "NotOK", "", {"fused": score}, {"fused": heat}, truth, Grid(SIDE_PX, SIDE_PX, SIDE_PX), 100.0)


def shown(*parts: ScoredPart) -> dict[str, list[str]]:
    """Return the names of the parts under each title."""
    return {title: [part.scan.name for part in found] for title, found in choose(Scored(list(parts), {}, None, has_truth=True)).items()}


def test_maps_are_ordered_by_what_is_marked_and_parts_without_a_mark_are_neither_best_nor_worst() -> None:
    seen = [scored("cut", f"seen-{number}", 2.0 + number, slice(0, 20)) for number in range(3)]
    missed, everywhere = scored("cut", "missed", 9.0, slice(40, 60)), scored("cut", "everywhere", 8.0, slice(0, SIDE_PX))
    unmarked = [scored("cut", f"unmarked-{number}", 7.0 + number, slice(0, 0)) for number in range(2)]
    found = shown(*unmarked, missed, *seen, everywhere, scored("good", "fine", 1.0, slice(0, 0)))
    assert found["Best maps"] == ["seen-0", "seen-1", "seen-2"]
    assert found["Worst maps"] == ["everywhere", "missed"]
    assert found["Good parts with the highest scores"] == ["fine"]


def test_each_part_is_shown_once() -> None:
    parts = [scored("cut", str(number), 1.0 + number, slice(0, 20)) for number in range(2)]
    assert shown(*parts) == {"Best maps": ["0", "1"]}
