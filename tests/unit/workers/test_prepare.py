"""The prepare process: a frame becomes two tasks and one part, or a fault that says why not."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from mdss.errors import ModelRefused
from mdss.method import model_store
from mdss.method.golden import GoldenScan, write_golden
from mdss.method.model_store import ModelCard
from mdss.method.recipe import PointCloudSettings, Recipe
from mdss.settings import Settings
from mdss.wire.cloud import SensorCloud
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import ColourTask, Fault, Frame, PreparedPart, ShapeTask
from mdss.wire.verdict import Branch
from tests.unit.method.test_model_store import CALIBRATION
from workers.prepare import Preparer, model_use
from workers.start import ProcessContext

HEIGHT_PX, WIDTH_PX = 96, 128


MODEL: Any = SimpleNamespace(version="0007", recipe=SimpleNamespace(point_cloud=PointCloudSettings()))


def frame(bump_mm: float) -> Frame:
    """Return a flat table with a square bump in its middle."""
    rows, columns = np.indices((HEIGHT_PX, WIDTH_PX), dtype=np.float32)
    height = np.full_like(rows, 500.0)
    height[30:60, 40:80] -= bump_mm
    rgb = np.full((HEIGHT_PX, WIDTH_PX, 3), 90, np.uint8)
    cloud = SensorCloud(given=np.stack([columns, rows, height], axis=-1))
    return Frame(result_id="r", recipe_id="cap", model_version="0007", rgb=rgb, xyz=cloud)


def test_fusion_gets_the_whole_then_each_branch_its_half_and_shape_which_takes_longer_comes_first() -> None:
    tally = Tally()
    part, shape, colour = Preparer({"cap/0007": MODEL}, tally).step(frame(bump_mm=20))
    assert isinstance(part, PreparedPart)
    assert isinstance(colour, ColourTask)
    assert isinstance(shape, ShapeTask)
    assert (part.height, part.width) == (HEIGHT_PX, WIDTH_PX)
    assert part.model_version == "0007"
    assert np.array_equal(part.mask, colour.mask)
    assert np.array_equal(part.xyz, shape.xyz, equal_nan=True)
    assert np.isfinite(part.xyz).any()
    assert len(tally.timings['mdss_stage_duration_seconds{stage="prepare"}']) == 1


@pytest.mark.parametrize("bump_mm", [20, 0])
def test_everything_that_follows_from_a_frame_names_its_scan(bump_mm: float) -> None:
    scan = msgspec.structs.replace(frame(bump_mm), received_ns=17)
    answers = [*Preparer({"cap/0007": MODEL}, Tally()).step(scan), *Preparer({}, Tally()).step(scan)]
    assert {getattr(answer, "received_ns") for answer in answers} == {17}  # noqa: B009 - the messages have no type in common


def test_a_clock_that_is_set_back_meanwhile_does_not_change_how_long_a_part_took(monkeypatch: pytest.MonkeyPatch) -> None:
    tally, utc_ns = Tally(), count(10**18, -(10**12))
    monkeypatch.setattr(time, "time_ns", lambda: next(utc_ns))
    part, *_ = Preparer({"cap/0007": MODEL}, tally, iter((10**9, 3 * 10**9)).__next__).step(frame(bump_mm=20))
    assert isinstance(part, PreparedPart) and part.finished_ns == 10**18, "the time in a verdict is UTC"
    assert tally.timings == {'mdss_stage_duration_seconds{stage="prepare"}': [2.0]}


def test_a_scan_without_a_part_is_a_fault_with_a_sentence() -> None:
    tally = Tally()
    (fault,) = Preparer({"cap/0007": MODEL}, tally).step(frame(bump_mm=0))
    assert isinstance(fault, Fault)
    assert (fault.code, fault.model_version) == ("BAD_CLOUD", "0007")
    assert "no part in view" in fault.reason
    assert len(tally.timings['mdss_stage_duration_seconds{stage="prepare"}']) == 1, "it took its time all the same"


@pytest.mark.parametrize("wanted", [("rgb",), ("sdf",), ("rgb", "sdf")])
def test_each_branch_that_a_frame_was_sent_for_gets_the_deadline_and_the_size_of_the_frame_and_no_other_gets_a_task(
    wanted: tuple[Branch, ...],
) -> None:
    due_ns, kinds = 10**9 + 1, {ColourTask: "rgb", ShapeTask: "sdf"}
    again = msgspec.structs.replace(frame(bump_mm=20), wanted=wanted, deadline_ns=due_ns)
    part, *tasks = Preparer({"cap/0007": MODEL}, Tally(), iter((10**9, 3 * 10**9)).__next__).step(again)
    assert isinstance(part, PreparedPart)
    assert {kinds[type(task)] for task in tasks} == set(wanted)
    for task in tasks:
        assert isinstance(task, ColourTask | ShapeTask)
        assert (task.deadline_ns, task.height, task.width) == (due_ns, HEIGHT_PX, WIDTH_PX)


@pytest.mark.parametrize(("deadline_ns", "messages", "skipped"), [(10**9, 0, 1.0), (10**9 + 1, 3, 0.0)])
def test_a_frame_whose_part_is_late_already_is_counted_and_not_looked_at(deadline_ns: int, messages: int, skipped: float) -> None:
    tally, late = Tally(), msgspec.structs.replace(frame(bump_mm=20), deadline_ns=deadline_ns)
    assert len(list(Preparer({"cap/0007": MODEL}, tally, iter((10**9, 3 * 10**9)).__next__).step(late))) == messages
    assert tally.counters == {'mdss_tasks_skipped_total{stage="prepare"}': skipped}


def test_a_model_that_is_not_held_is_a_fault_with_a_sentence() -> None:
    (fault,) = Preparer({"bolt/0007": MODEL}, Tally()).step(frame(bump_mm=20))
    assert isinstance(fault, Fault)
    assert (fault.reason, fault.model_version) == ("model cap/0007 is not loaded; expected one of bolt/0007", "0007")
    assert fault.code == "LOST"
    (fault,) = Preparer({}, Tally()).step(frame(bump_mm=20))
    assert isinstance(fault, Fault) and fault.reason.endswith("expected one of none")


def test_a_model_that_finds_no_part_in_its_golden_scans_is_refused_before_it_prepares_any(tmp_path: Path) -> None:
    empty: Any = frame(bump_mm=0)
    golden = GoldenScan("007", empty.rgb, empty.xyz.given, {"rgb": 0.5, "sdf": 3.0, "fused": 1.5})
    card = ModelCard(name="cap", recipe=Recipe(), made_at="now", code_version="0")
    folder = model_store.save(tmp_path, card, CALIBRATION, lambda made: write_golden(made, [golden]))
    use = model_use(cast("ProcessContext", SimpleNamespace(settings=Settings())))
    assert use.prove is not None
    with pytest.raises(ModelRefused, match="no part in view"):
        use.prove(folder, use.load(folder))
