"""A second scan of a part is told by its looks: of one that is learned from already, and of one that is a defect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mdss.collection import RGB
from tests.lines import write_tiny_line
from tests.retraining import again, good_part
from tests.shelf import SETTINGS, Shelf, only
from trainer import examination
from trainer.dataset import Dataset
from trainer.examination import measure_curated
from trainer.part_measures import Measures
from trainer.synthetic import LineSize


def test_a_second_scan_of_any_curated_part_is_known_however_many_there_are(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "MOST_COMPARED", 5)  # as if there were hundreds
    write_tiny_line(tmp_path / "data", size=LineSize(train=9, validation=3, good=1, defective=1))
    base = Dataset.open(tmp_path / "data", "m")
    for scan in (*base.train, *base.validation):
        loaded = base.load(scan)
        shelf.put(replace(good_part(0), rgb=loaded.rgb, xyz_mm=loaded.xyz_mm))
    refused = shelf.examined(measure_curated(base, SETTINGS)).refused
    assert [each.code for each in refused] == ["duplicate"] * len(refused) and len(refused) == len(base.train) + len(base.validation)


def test_a_second_scan_of_a_defect_is_known_by_its_looks_and_is_good_only_where_somebody_says_so(
    shelf: Shelf, known: list[tuple[str, Measures]]
) -> None:
    rgb, xyz_mm = again(good_part(0))
    shelf.put(good_part(0), label="defect")
    shelf.put(replace(good_part(0), rgb=rgb, xyz_mm=xyz_mm))
    other = shelf.put(good_part(1))
    unreadable = shelf.put(good_part(2), label="defect")
    (unreadable.folder / RGB).write_bytes(b"damaged")
    done = shelf.examined(known)
    assert (only(done).code, only(done).result_id, done.accepted) == ("defect", "r1", [other])
    assert "second scan of p0, which somebody has called a defect" in only(done).reason
    good = shelf.put(replace(good_part(0), rgb=rgb, xyz_mm=xyz_mm), label="good")
    assert shelf.examined(known).accepted == [other, good]
