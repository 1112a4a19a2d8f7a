"""The plan of models on disk: every reader takes each plan once."""

from __future__ import annotations

from pathlib import Path

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
