"""The stretch of a bench: what is counted of each stage, and what is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from measure.results import Operations
from measure.stages import LEAST_PARTS, Effort, StageRecords, measure_stages
from measure.subject import Size

SCANS = ("a", "b")


class Bench:
    """Stages that note which scan they were given."""

    subject = SimpleNamespace(scans_at=lambda _: SCANS)

    def __init__(self) -> None:
        self.done: list[str] = []

    def before_branches(self, scan: str, stage_records: StageRecords) -> tuple[str, str]:
        with stage_records.timed("prepare", megabytes=1.0):
            self.done.append(f"prepare {scan}")
        return scan, scan

    def after_preparing(self, frame: str, _prepared: str, stage_records: StageRecords, _work: object) -> None:
        with stage_records.timed("fusion", megabytes=1.0):
            self.done.append(f"fusion {frame}")

    def operations(self, _prepared: str) -> tuple[Operations, Operations]:
        return Operations(1.0), Operations(1.0)


@pytest.mark.parametrize("is_whole", [True, False])
def test_each_stage_sees_every_scan_once_before_what_is_counted(is_whole: bool) -> None:
    bench: Any = Bench()
    stage_records = measure_stages(bench, Size(100, 100), Effort(3, 60.0), is_whole=is_whole)
    stages = ("prepare", "fusion") if is_whole else ("prepare",)
    assert {name: len(record.spent_ms) for name, record in stage_records.records.items()} == dict.fromkeys(stages, 3)
    seen = {stage: [each[-1] for each in bench.done if each.startswith(stage)] for stage in stages}
    assert seen == {stage: [*SCANS, "a", "b", "a"] for stage in stages}


def test_however_slow_a_machine_is_a_few_parts_are_measured() -> None:
    assert list(Effort(10, -1.0).numbers()) == list(range(LEAST_PARTS))
    assert list(Effort(5, 600.0).numbers()) == list(range(5))
