"""The plan of models on disk: every reader takes each plan once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mdss.errors import MdssError
from mdss.wire.model_plan import ModelPlan, PlanFile


def test_a_plan_is_read_once_and_again_when_another_is_written_be_it_as_long(tmp_path: Path) -> None:
    first, second, reader = ModelPlan(revision=1), ModelPlan(revision=2), PlanFile(tmp_path)
    assert reader.changed() is None
    PlanFile(tmp_path).write(first)
    assert [reader.changed(), reader.changed()] == [first, None]
    PlanFile(tmp_path).write(second)
    assert [reader.changed(), reader.changed(), PlanFile(tmp_path).changed()] == [second, None, second]
    reader.path.unlink()
    assert reader.changed() is None


def test_a_plan_written_in_the_same_moment_as_the_one_before_is_read_as_well(tmp_path: Path) -> None:
    reader = PlanFile(tmp_path)
    for revision in (1, 2, 3):
        reader.write(ModelPlan(revision=revision))
        os.utime(reader.path, ns=(5, 5))
        assert [reader.changed(), reader.changed()] == [ModelPlan(revision=revision), None]


def test_a_plan_that_cannot_be_read_is_named_once_for_each_reason_and_read_once_it_can(tmp_path: Path) -> None:
    reader, plan = PlanFile(tmp_path), ModelPlan(revision=1)
    reader.path.mkdir()
    with pytest.raises(MdssError, match=r"models\.json: cannot be read \(.*Is a directory.*\); expected the plan"):
        reader.changed()
    assert reader.changed() is None
    reader.path.rmdir()
    reader.path.write_text("{}x")
    with pytest.raises(MdssError, match=r"models\.json: cannot be read \(.*malformed.*\); expected the plan"):
        reader.changed()
    PlanFile(tmp_path).write(plan)
    assert reader.changed() == plan


def test_a_plan_that_cannot_be_read_a_second_time_is_named_again(tmp_path: Path) -> None:
    reader, aside = PlanFile(tmp_path), tmp_path / "aside"
    reader.write(ModelPlan(revision=1))
    assert reader.changed() == ModelPlan(revision=1)
    for _ in range(2):
        reader.path.rename(aside)
        reader.path.mkdir()
        with pytest.raises(MdssError, match="Is a directory"):
            reader.changed()
        reader.path.rmdir()
        aside.rename(reader.path)
        assert reader.changed() is None
