"""Which collected parts a threshold is set from, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mdss.collection import CollectedPart, Collection, Review
from mdss.method.model_store import ModelFolder
from mdss.method.recipe import PointCloudSettings, Recipe
from tests.retraining import good_part
from trainer.confirmed_parts import CollectedSource, ConfirmedParts, choose_parts, read_confirmed_parts
from trainer.gathering import LEARNED

MODEL = cast("ModelFolder", SimpleNamespace(name="flange", card=SimpleNamespace(data={})))
RECIPE = Recipe(point_cloud=PointCloudSettings(size_px=96))
NOBODY: frozenset[str] = frozenset()


class Kept:
    """A station's collection, filled with scans one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._collection, self._count = folder, Collection(folder), 0

    def add(self, label: str | None = None, *, is_empty: bool = False, **fields: Any) -> str:
        """Keep a scan of a good part, or one without a part; return its id."""
        self._count += 1
        name, scan = f"r{self._count}", good_part(self._count)
        given: dict[str, Any] = {"part_id": f"part-{self._count}", "captured_ns": self._count, "judged_ns": self._count, "score": 0.5}
        part = CollectedPart(**{"result_id": name, "source_id": "cam", "recipe_id": "flange", "evaluation": "OK"} | given | fields)
        self._collection.add(part, scan.rgb, np.full_like(scan.xyz_mm, np.nan) if is_empty else scan.xyz_mm)
        if label:
            self._collection.label(name, Review(label=label, by="x", at_ns=1))  # type: ignore[arg-type]
        return name

    def chosen(self, **source: Any) -> list[str]:
        """Return which parts a threshold would be set from."""
        return [each.part.result_id for each in choose_parts(CollectedSource(self.folder, **source), MODEL, NOBODY)]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "collected")


def test_the_newest_good_parts_since_then_are_taken_and_simulated_ones_only_where_they_are_asked_for(kept: Kept) -> None:
    for number in range(4):
        kept.add(is_simulated=number == 3)
    assert kept.chosen() == ["r3", "r2", "r1"]
    assert kept.chosen(with_simulated=True, most=2) == ["r4", "r3"]
    assert kept.chosen(since_ns=2) == ["r3", "r2"]


def test_what_the_model_was_made_from_what_is_taken_anyway_and_what_is_a_defect_by_another_scan_is_left_out(kept: Kept) -> None:
    for _ in range(4):
        kept.add()
    kept.add("defect", part_id="part-4")
    made_from_the_first = cast("ModelFolder", SimpleNamespace(name="flange", card=SimpleNamespace(data={LEARNED: ["r1"]})))
    chosen = choose_parts(CollectedSource(kept.folder), made_from_the_first, frozenset({"r2"}))
    assert [each.part.result_id for each in chosen] == ["r3"]


def test_a_part_that_was_scanned_many_times_counts_once_by_its_newest_scan(kept: Kept) -> None:
    for number in range(6):
        kept.add(part_id="master" if number % 2 else f"part-{number}")
    assert kept.chosen() == ["r6", "r5", "r3", "r1"]
    assert kept.chosen(most=2) == ["r6", "r5"]


def test_of_all_that_was_read_it_is_known_who_called_it_good_and_what_shows_no_part_is_named(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted, reviewed, empty = kept.add(), kept.add("good", evaluation="NotOK"), kept.add(is_empty=True)
    also = kept.add("good")  # accepted by the station, and then by a person
    found = read_confirmed_parts(CollectedSource(kept.folder), MODEL, RECIPE, NOBODY)
    assert (found.names, len(found.parts)) == ([also, reviewed, accepted], 3)
    assert (found.reviewed, found.accepted) == (2, 1)
    assert found.note.startswith("1 of 3 collected parts are good by verdict alone; ")
    assert f"{empty} is left out: " in capsys.readouterr().err


def test_of_parts_that_a_person_has_seen_without_exception_there_is_nothing_to_say() -> None:
    assert ConfirmedParts(reviewed=3).note == ""
