"""One round of a comparison in a process of its own: the times of the stages of whatever code it finds, as JSON."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from measure.stages import Effort, StageBench, measure_stages
from measure.subject import Size, subject_of_store, synthetic_subject
from trainer.dataset import Unit

LONGEST_S = 60.0


class RoundOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure; without a store, a synthetic line that is made once in the folder."""

    folder: str
    store: str | None = None
    recipe: str | None = None
    data: str | None = None
    unit: Unit = "m"
    preset: str = "edge"
    size: str = "400x400"
    parts: int = 20
    is_quick: bool = False


def times(order: RoundOrder) -> dict[str, list[float]]:
    """Return the milliseconds of each part, by stage."""
    folder = Path(order.folder)
    if order.store is None or order.recipe is None or order.data is None:
        subject = synthetic_subject(order.preset, folder, is_quick=order.is_quick)
    else:
        subject = subject_of_store(Path(order.store), order.recipe, Path(order.data), order.unit)
    bench = StageBench(subject, folder)
    stage_records = measure_stages(bench, Size.parse(order.size), Effort(order.parts, LONGEST_S), is_whole=True)
    bench.close()
    return {name: record.spent_ms for name, record in stage_records.records.items()}


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(times(msgspec.json.decode(sys.argv[1], type=RoundOrder))))
