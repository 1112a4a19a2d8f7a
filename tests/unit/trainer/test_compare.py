"""What two versions are compared on, where it comes from a station's collection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mdss.collection import CollectedScan, Collection, PartFilter
from mdss.method.golden import GoldenScan, write_golden
from tests.retraining import Plant, good_part, write_config
from tests.station import NAME
from trainer.compare_verb import Comparison, evidence_of, from_collection
from trainer.gathering import collection_at, gather


def test_good_parts_come_newest_first_without_what_either_has_learned_and_nothing_simulated_is_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Plant(write_config(tmp_path, tmp_path / "models"), tmp_path)
    for number in range(5):
        own.collect(number, is_simulated=number == 2)
    own.collect(5, "NotOK")
    own.collect(6, "NotOK", is_simulated=True)
    own.collect(7)
    own.collect(8)
    own.mark("result-0", "good")
    own.mark("result-5", "defect")
    own.mark("result-6", "defect")
    champion: Any = SimpleNamespace(card=SimpleNamespace(data={"collected_parts": ["result-7"], "calibrated_parts": ["result-8"]}))
    candidate: Any = SimpleNamespace(card=SimpleNamespace(data={"collected_parts": ["result-3"]}))
    listed, parts = [], Collection.parts

    def listing(collection: Collection, wanted: PartFilter) -> list[CollectedScan]:
        listed.append(wanted)
        return parts(collection, wanted)

    monkeypatch.setattr(Collection, "parts", listing)
    good, defects = from_collection(gather(collection_at(own.state / "collected"), NAME), (champion, candidate))
    assert [part.part_id for part in good] == ["part-4", "part-1", "part-0"]
    assert [part.part_id for part in defects] == ["part-5"]
    assert len(listed) == 1  # each part has files to be read


def test_a_golden_scan_that_is_called_a_defect_by_now_is_no_good_part_any_more(tmp_path: Path) -> None:
    own = Plant(write_config(tmp_path, tmp_path / "models"), tmp_path)
    scan = good_part(0)
    golden = [
        GoldenScan(name, scan.rgb, np.asarray(scan.xyz_mm, np.float32), {"rgb": 1, "sdf": 1, "fused": 1})
        for name in ("result-0", "result-1")
    ]
    write_golden(tmp_path, golden)
    own.mark(own.collect(0), "defect")
    model: Any = SimpleNamespace(card=SimpleNamespace(data={}), path=tmp_path)
    found = evidence_of(Comparison(own.store, NAME, "0002", collected=own.state / "collected"), model, model).golden
    assert [part.part_id for part in found] == ["result-1"]


def test_both_are_held_to_the_rules_of_the_station_whose_settings_are_named(tmp_path: Path) -> None:
    own = Plant(write_config(tmp_path, tmp_path / "models"), tmp_path)
    own.config.write_text(f"{own.config.read_text()}fusion: {{min_part_ratio: 0.7}}\n")
    (own.state / "collected").mkdir(parents=True)
    model: Any = SimpleNamespace(card=SimpleNamespace(data={}), path=tmp_path)
    asked = Comparison(own.store, NAME, "0002", collected=own.state / "collected")
    found = [evidence_of(each, model, model).serving.rules.min_part_ratio for each in (asked, replace(asked, config=own.config))]
    assert found == [0.0, 0.7]
