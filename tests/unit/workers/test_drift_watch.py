"""The watch beside the verdicts: what counts as a part, what is said once, what outlives a process, and what a new model begins."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from mdss.drift_record import QUANTITIES, read_record, record_path
from mdss.method.reference import Reference
from mdss.settings import DriftSettings
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import BranchScore
from mdss.wire.verdict import Branch
from tests.parts import accepted, prepared, score
from workers.drift_watch import DriftWatch, values_of
from workers.part_join import JoinedPart

BLOCK = 25
BRIGHT = 100


def reference() -> Reference:
    """Return what 23 good parts were like: evenly around the live ones."""
    around = np.linspace(-1, 1, 23)
    return Reference(
        rgb=tuple((1 + 0.5 * around).tolist()),
        sdf=tuple((1 + 0.5 * around).tolist()),
        brightness=tuple((BRIGHT + 2 * around).tolist()),
        valid_point_ratio=tuple((0.9 + 0.05 * around).tolist()),
        distance_mm=tuple((500 + 10 * around).tolist()),
    )


def model(version: str = "0001", kept: Reference | None = None, recipe: str = "cap") -> Any:
    return SimpleNamespace(name=recipe, version=version, calibration=SimpleNamespace(reference=kept))


def joined(number: int, brightness: int = BRIGHT, peak: float = 1.0, version: str = "0001") -> JoinedPart:
    """Return a part that prepare and both branches have seen."""
    name = f"part-{number}"
    part = msgspec.structs.replace(
        prepared(name),
        model_version=version,
        rgb=np.full((32, 32, 3), brightness, np.uint8),
        xyz=np.full((32, 32, 3), 500.0, np.float32),
    )
    scores: Mapping[Branch, BranchScore] = {branch: score(branch, name, peak, version) for branch in ("rgb", "sdf")}
    identity = msgspec.structs.replace(accepted(name, 1).identity, part_id=name)
    return JoinedPart(msgspec.structs.replace(accepted(name, 1), identity=identity), part, scores, None)


class Station:
    """A watch with its folder, and what it logged."""

    def __init__(self, state: Path) -> None:
        self.state, self.tally, self.parts = state, Tally(), 0
        self.logged: list[Any] = []
        self.begin()

    def begin(self) -> None:
        """Begin another life."""
        self.tally = Tally()
        self.watch = DriftWatch(self.state, DriftSettings(), self.tally)

    def judge(self, count: int, of: Any, brightness: int = BRIGHT, version: str = "0001") -> None:
        """Judge some parts."""
        with capture_logs() as logs:
            for _ in range(count):
                self.parts += 1
                self.watch.see(joined(self.parts, brightness, version=version), of, self.parts)
        self.logged += [(each["event"], each["log_level"]) for each in logs]

    def gauge(self, name: str, quantity: str) -> float:
        return self.tally.counters[f'{name}{{recipe="cap",quantity="{quantity}"}}']


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def test_a_drift_is_logged_once_when_it_begins_and_once_when_it_is_over_and_the_gauges_follow(station: Station) -> None:
    own = model(kept=reference())
    station.judge(2 * BLOCK, own)
    assert (station.logged, station.gauge("mdss_drift_warning", "brightness")) == ([], 0.0)
    station.judge(6 * BLOCK, own, BRIGHT - 5)
    assert station.logged == [("drift", "warning")]
    assert [station.gauge("mdss_drift_warning", name) for name in ("brightness", "rgb")] == [1.0, 0.0]
    assert station.gauge("mdss_drift", "brightness") < -1
    station.judge(6 * BLOCK, own)
    assert station.logged == [("drift", "warning"), ("drift is over", "info")]
    assert station.gauge("mdss_drift_warning", "brightness") == 0.0


def test_a_warning_names_the_quantity_its_values_then_and_now_and_the_part_since_when(station: Station) -> None:
    with capture_logs() as logs:
        for number in range(6 * BLOCK):
            part = joined(number, BRIGHT if number < 2 * BLOCK else BRIGHT - 5)
            known = msgspec.structs.replace(part.accepted, result_id=f"result-{number}")
            station.watch.see(replace(part, accepted=known), model(kept=reference()), number)
    (reason,) = [each["reason"] for each in logs]
    assert "brightness of the part: now 95, at calibration 100 (" in reason and reason.endswith(" since about part part-50")
    record = read_record(station.state, "cap")
    assert record is not None
    assert (record.warnings["brightness"].part_id, record.warnings["brightness"].result_id) == ("part-50", "result-50")


def test_what_is_compared_of_a_part_are_both_scores_and_how_its_scan_was_seen() -> None:
    scan = msgspec.structs.replace(prepared("a", 0.25), rgb=np.full((32, 32, 3), 70, np.uint8), xyz=np.full((32, 32, 3), 480, np.float32))
    part = JoinedPart(accepted("a", 1), scan, {"rgb": score("rgb", "a", 2.0), "sdf": score("sdf", "a", 3.0)}, None)
    assert values_of(part, "0001") == {"rgb": 2.0, "sdf": 3.0, "brightness": 70.0, "valid_point_ratio": 0.75, "distance_mm": 480.0}


def test_a_process_that_starts_again_knows_of_the_warning_and_does_not_repeat_it(station: Station) -> None:
    own = model(kept=reference())
    station.judge(3 * BLOCK, own, BRIGHT - 5)
    station.begin()
    station.judge(1, own, BRIGHT - 5)
    assert station.gauge("mdss_drift_warning", "brightness") == 1.0
    station.judge(3 * BLOCK, own, BRIGHT - 5)
    assert station.logged == [("drift", "warning")]


def test_another_version_begins_anew_and_what_comes_late_of_the_first_does_not_count_for_it(station: Station) -> None:
    first, second = model(kept=reference()), model("0002", reference())
    station.judge(2 * BLOCK, first, BRIGHT - 5)
    station.judge(1, second, version="0002")
    assert station.gauge("mdss_drift_warning", "brightness") == 0.0
    station.judge(5, first, BRIGHT - 5)
    station.judge(BLOCK - 1, second, version="0002")
    record = read_record(station.state, "cap")
    assert record is not None
    assert (record.model_version, record.parts, record.warnings, record.blocks[0].medians["brightness"]) == ("0002", BLOCK, {}, BRIGHT)


def test_however_many_recipes_come_in_turns_and_change_their_models_each_closes_its_blocks(station: Station) -> None:
    recipes = [f"cap-{number}" for number in range(40)]
    versions = ["0001", "0002", "0001", "0003", *["0001"] * (BLOCK - 2)]  # taken back once, and the last parts of it after the next change
    for version in versions:
        for recipe in recipes:
            station.judge(1, model(version, reference(), recipe), version=version)
    for recipe in recipes:
        record = read_record(station.state, recipe)
        assert record is not None
        assert (record.model_version, record.parts, len(record.blocks)) == ("0001", BLOCK, 1)


def test_a_third_version_of_a_recipe_is_compared_as_the_first_was(station: Station) -> None:
    for version, count in (("0001", 1), ("0002", 1), ("0003", BLOCK)):
        station.judge(count, model(version, reference()), version=version)
    record = read_record(station.state, "cap")
    assert record is not None
    assert (record.model_version, record.parts, len(record.blocks)) == ("0003", BLOCK, 1)


def test_another_rate_of_false_warnings_holds_for_what_is_compared_and_for_what_comes_later(station: Station, tmp_path: Path) -> None:
    calm, first, second = Station(tmp_path / "calm"), model(kept=reference()), model("0002", reference())
    for each in (station, calm):
        each.judge(BLOCK, first, BRIGHT - 1)
        each.judge(1, model(recipe="bolt"))  # which is compared with nothing
    station.watch.reconfigure(DriftSettings(false_alarms_per_10000=100))
    for version, own in (("0001", first), ("0002", second)):
        for each in (station, calm):
            each.judge(BLOCK, own, BRIGHT - 1, version)
        assert station.gauge("mdss_drift", "brightness") < 1.1 * calm.gauge("mdss_drift", "brightness") < 0


@pytest.mark.parametrize(("parts", "is_compared"), [(4, False), (5, True)])
def test_fewer_than_five_reference_parts_are_too_few(station: Station, parts: int, is_compared: bool) -> None:
    few = Reference(**{name: getattr(reference(), name)[:parts] for name in QUANTITIES})
    station.judge(1, model(kept=few))
    assert (read_record(station.state, "cap") is not None) == is_compared == (not station.logged)


@pytest.mark.parametrize(
    "change",
    [
        {"prepared": None},
        {"scores": {"rgb": score("rgb", "a")}},
        {"scores": {"rgb": score("rgb", "a"), "sdf": score("sdf", "a", version="0002")}},
        {"scores": {"rgb": score("rgb", "a"), "sdf": score("sdf", "a", peak=float("nan"))}},
        {"prepared": joined(1, version="0002").prepared},
        {"prepared": joined(1, version="0002").prepared, "scores": joined(1, version="0002").scores},
    ],
)
def test_a_part_that_was_not_seen_wholly_by_this_model_does_not_count(station: Station, change: dict[str, Any]) -> None:
    own, whole = model(kept=reference()), joined(1)
    fields = {name: getattr(whole, name) for name in ("accepted", "prepared", "scores", "code")}
    for number in range(BLOCK):
        station.watch.see(JoinedPart(**fields | change), own, number)
    station.judge(BLOCK, own)
    record = read_record(station.state, "cap")
    assert record is not None and record.parts == BLOCK


def test_a_model_without_reference_is_said_once_and_compared_with_nothing(station: Station) -> None:
    station.judge(3 * BLOCK, model())
    assert station.logged == [("no drift can be told: the model keeps too few reference parts", "info")]
    assert read_record(station.state, "cap") is None


def test_a_disk_that_refuses_the_record_is_said_once_and_costs_no_more(station: Station) -> None:
    (station.state / "drift").write_text("in the way")
    station.judge(4 * BLOCK, model(kept=reference()), BRIGHT - 5)
    assert [event for event, _ in station.logged].count("record of drift not written") == 1
    assert ("drift", "warning") in station.logged


def test_a_disk_that_refuses_the_record_once_more_is_said_once_more(station: Station) -> None:
    own, folder = model(kept=reference()), station.state / "drift"
    for is_full in (True, False, True):
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.unlink(missing_ok=True)
        if is_full:
            folder.write_text("in the way")
        station.judge(2 * BLOCK, own)
    events = [event for event, _ in station.logged]
    assert events.count("record of drift not written") == 2


def test_a_damaged_record_is_said_and_the_comparison_begins_anew(station: Station) -> None:
    record_path(station.state, "cap").parent.mkdir()
    record_path(station.state, "cap").write_text("half of")
    station.judge(BLOCK, model(kept=reference()))
    assert station.logged == [("the record of drift begins anew", "error")]
    record = read_record(station.state, "cap")
    assert record is not None and record.parts == BLOCK
