"""A collection of a few parts, and how a retraining looks at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mdss.collection import CollectedPart, CollectedScan, Collection, Review
from mdss.method.point_cloud import prepare
from mdss.method.recipe import PointCloudSettings
from trainer.data_checks import Refused
from trainer.examination import Examiner, PartExamination
from trainer.part_measures import Measures
from trainer.synthetic_scan import SyntheticScan

SETTINGS = PointCloudSettings(size_px=96)
BUDGET, MAX_INVALID_RATIO = 100, 0.5


def measures_of(scan: SyntheticScan) -> Measures:
    return Measures.of(prepare(scan.rgb, scan.xyz_mm, SETTINGS))


class Shelf:
    """A collection of parts that are looked at in the order in which they were put there."""

    def __init__(self, folder: Path) -> None:
        self._collection, self._parts = Collection(folder), list[CollectedScan]()

    def put(self, scan: SyntheticScan, *, label: str | None = None, **said: Any) -> CollectedScan:
        """Collect one more part, with what else the station said of it."""
        name = str(len(self._parts))
        part = CollectedPart(
            result_id=f"r{name}",
            part_id=f"p{name}",
            source_id="cam",
            recipe_id="flange",
            captured_ns=1,
            judged_ns=1,
            evaluation="OK",
            **said,
        )
        self._collection.add(part, scan.rgb, scan.xyz_mm)
        if label:
            self._collection.label(part.result_id, Review(label=label, by="x", at_ns=1))  # type: ignore[arg-type]
        found = self._collection.find(part.result_id)
        assert found is not None
        self._parts.append(found)
        return found

    def examined(self, known: list[tuple[str, Measures]], budget: int = BUDGET, champion: Any = None) -> PartExamination:
        """Look at all of them but defects, without a champion unless one is given."""
        examiner = Examiner(known, champion, SETTINGS)
        examiner.add_defects([part for part in self._parts if part.label == "defect"])
        return examiner.examine([part for part in self._parts if part.label != "defect"], budget, MAX_INVALID_RATIO)


def only(done: PartExamination) -> Refused:
    """Return the one part that was refused."""
    assert len(done.refused) == 1
    return done.refused[0]
