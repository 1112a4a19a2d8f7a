"""What an evaluation says of the threshold, and of the time that parts take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mdss.method.grid import Grid
from mdss.method.point_cloud import Prepared
from trainer.champion import Champion
from trainer.dataset import LoadedScan, Scan
from trainer.evaluation import ThresholdFigures, threshold_of, timing_of
from trainer.scoring import Scored, score_dataset

SIDE_PX = 4
PART = Prepared(
    np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8),
    np.ones((SIDE_PX, SIDE_PX, 3), np.float32),
    np.ones((SIDE_PX, SIDE_PX), np.bool_),
    Grid.filled(SIDE_PX),
    0.0,
    has_table=True,
)


@dataclass(frozen=True)
class Reads(Champion):
    """Finds the same part in every scan, and reads its score off the image."""

    def prepare(self, rgb: Any, xyz_mm: Any) -> Prepared:
        return Prepared(rgb, xyz_mm, PART.mask, PART.grid, 0.0, has_table=True)


def champion(threshold: float) -> Champion:
    """Return a champion for which the brightness of an image is its score."""
    limit = SimpleNamespace(value=threshold, asked_false_reject_rate=0.05, stated_false_reject_rate=0.05)
    settings = SimpleNamespace(point_cloud=SimpleNamespace(size_px=SIDE_PX))
    folder: Any = SimpleNamespace(recipe=settings, calibration=SimpleNamespace(threshold=limit))
    return Reads(
        folder,
        lambda part: part.rgb[..., 0].astype(np.float32),
        lambda part: np.ones_like(part.mask, np.float32),
        lambda rgb, _: SimpleNamespace(score=float(rgb.max()), map=rgb),  # type: ignore[arg-type, return-value]  # nothing else is asked of it
    )


def scored(threshold: float, *parts: tuple[str, int]) -> Scored:
    """Return the parts of these kinds and scores as a champion with this threshold sees them."""
    scans = [Scan("test", kind, str(score), Path(), Path()) for kind, score in parts]

    def load(scan: Scan) -> LoadedScan:
        return LoadedScan(scan, np.full_like(PART.rgb, int(scan.name)), PART.xyz, np.zeros_like(PART.mask))

    dataset: Any = SimpleNamespace(train=[], test=scans, load=load, has_truth=False)
    return score_dataset(dataset, champion(threshold))


def test_a_part_that_scores_just_the_threshold_is_accepted_as_at_the_station() -> None:
    assert [part.evaluation for part in scored(7.0, ("good", 6), ("good", 7), ("good", 8)).parts] == ["OK", "OK", "NotOK"]


def test_between_the_highest_good_and_the_lowest_defective_score_lies_the_room_for_a_threshold() -> None:
    found = threshold_of(scored(7.0, ("good", 3), ("good", 5), ("good", 4), ("dent", 9), ("dent", 6), ("dent", 8)).parts, champion(7.0))
    assert (found.highest_good_score, found.lowest_defective_score) == (5.0, 6.0)
    assert (found.false_reject_rate, found.recall) == (0.0, 2 / 3)


def test_a_part_is_noted_with_its_own_brightness() -> None:
    assert [part.brightness for part in scored(7.0, ("good", 3), ("good", 5)).parts] == [3.0, 5.0]


def test_a_part_is_scored_once_before_any_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    score, asked = Champion.score, list[float]()

    def counted(self: Champion, *given: Any) -> Any:
        found = score(self, *given)
        asked.append(found[0]["fused"])
        return found

    monkeypatch.setattr(Reads, "score", counted, raising=False)
    spent_ms = scored(7.0, ("good", 3), ("good", 5)).spent_ms
    assert asked == [3.0, 3.0, 5.0]
    assert {stage: len(spent) for stage, spent in spent_ms.items()} == dict.fromkeys(("load", "prepare", "rgb", "sdf", "fusion"), 2)


def test_parts_per_second_are_of_all_stages_but_reading_which_is_told_by_itself() -> None:
    found = timing_of({"load": [900.0, 900.0], "prepare": [10.0, 30.0], "rgb": [50.0, 70.0], "fusion": [20.0, 20.0]})
    assert found.parts_per_s == pytest.approx(10.0)
    assert (found.stages["load"].p50_ms, found.stages["rgb"].p50_ms) == (900.0, 60.0)
    assert timing_of({}).parts_per_s is None
    assert timing_of({"fusion": [float(each) for each in range(101)]}).stages["fusion"].p99_ms == pytest.approx(99.0)


@pytest.mark.parametrize(
    ("highest_good", "lowest_defective", "says"),
    [
        (0.93, 7.461, "good parts score up to 0.93, defective parts from 7.461 on: any threshold in between separates them all"),
        (0.63, 0.54, "good parts score up to 0.63, defective parts from 0.54 on: no threshold separates them all"),
        (0.5, 0.5, "good parts score up to 0.5, defective parts from 0.5 on: no threshold separates them all"),
        (None, 0.54, ""),
        (0.63, None, ""),
    ],
)
def test_whether_a_limit_could_tell_all_parts_apart_is_said(highest_good: float | None, lowest_defective: float | None, says: str) -> None:
    limit = ThresholdFigures(
        value=0.7, asked_false_reject_rate=0.05, false_reject_rate=None, recall=None,
        highest_good_score=highest_good, lowest_defective_score=lowest_defective,
    )  # fmt: skip
    assert limit.gap == says
