"""What an earlier life left on the disk may be damaged in any way: every reader of such a file keeps its promise all the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from daemon.clock_watch import ClockWatch
from daemon.model_plan_store import read_generations
from daemon.reviews import FIRST_ENTRY, read_note
from mdss import audit, collect_request, drift_record, retraining
from mdss.collection import CollectedPart, Collection
from mdss.errors import BadInput, MdssError
from mdss.method import model_store
from mdss.method.store_files import SUMS
from mdss.wire.model_plan import PLAN, PlanFile
from trainer import retrain_plan

ENDLESS = b'{"of another release": ' + b"[" * 100_000
Reader = Callable[[Path, bytes], None]


def generations(folder: Path, damage: bytes) -> None:
    (folder / "models.json").write_bytes(damage)
    assert read_generations(folder / "models.json").last == 0


def position_in_the_reviews(folder: Path, damage: bytes) -> None:
    (folder / "reviews.json").write_bytes(damage)
    assert read_note(folder / "reviews.json") == FIRST_ENTRY


def note_of_the_clock(folder: Path, damage: bytes) -> None:
    (folder / "clock.json").write_bytes(damage)
    assert ClockWatch(folder / "clock.json").now_ns(0) is not None


def plan_of_models(folder: Path, damage: bytes) -> None:
    (folder / PLAN).write_bytes(damage)
    with pytest.raises(MdssError, match=r"models\.json: cannot be read"):
        PlanFile(folder).changed()


def record_of_drift(folder: Path, damage: bytes) -> None:
    (folder / drift_record.FOLDER).mkdir()
    drift_record.record_path(folder, "cap").write_bytes(damage)
    with pytest.raises(MdssError, match=r"cap\.json: .*expected a record of drift"):
        drift_record.read_record(folder, "cap")
    assert drift_record.warnings_of(folder, ["cap"]) == ()


def record_of_a_retraining(folder: Path, damage: bytes) -> None:
    (folder / "cap.json").write_bytes(damage)
    with pytest.raises(BadInput, match=r"cap\.json: .*expected the record of a retraining"):
        retraining.read_record(folder, "cap")
    assert retraining.read_records(folder) == ()


def plan_of_a_retraining(folder: Path, damage: bytes) -> None:
    (folder / retrain_plan.PLAN).write_bytes(damage)
    with pytest.raises(BadInput, match=r"plan\.json: .*expected the plan of a retraining"):
        retrain_plan.read_plan(folder)
    assert retrain_plan.last_refusals(folder / retrain_plan.PLAN, "0001", 0.5) == ()


def request_for_every_part(folder: Path, damage: bytes) -> None:
    (folder / collect_request.FOLDER).mkdir()
    (folder / collect_request.FOLDER / "cap.json").write_bytes(damage)
    assert not collect_request.CollectRequests(folder).is_requested("cap")


def collected_part(folder: Path, damage: bytes, name: str = "part.json") -> None:
    kept = Collection(folder)
    for result_id in ("whole", "damaged"):
        part = CollectedPart(
            result_id=result_id, part_id="p", source_id="cam", recipe_id="cap", captured_ns=1, judged_ns=2, evaluation="OK"
        )
        kept.add(part, np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.float32))
    (folder / "cap" / "damaged" / name).write_bytes(damage)
    assert [each.part.result_id for each in kept.parts()] == ["whole"]
    found = kept.find("damaged")
    assert (found is not None and found.is_review_lost) is (name == "review.json")
    assert kept.prune(0).removed == 2


def label_of_a_part(folder: Path, damage: bytes) -> None:
    collected_part(folder, damage, "review.json")


def line_of_the_audit(folder: Path, damage: bytes) -> None:
    (folder / audit.AUDIT).write_bytes(damage)
    audit.record(folder, "promote", (None, "0001"))
    assert [event.what for event in audit.events(folder)] == ["unreadable", "promote"]


def card_of_a_model(folder: Path, damage: bytes) -> None:
    model = folder / "gland" / "0001"
    model.mkdir(parents=True)
    files = {"model.json": damage, "calibration.json": b"{}"}
    for name, content in files.items():
        (model / name).write_bytes(content)
    (model / SUMS).write_text("".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()))
    with pytest.raises(MdssError, match=r"model\.json: .*expected a model that this release can read"):
        model_store.open_version(model)


@pytest.mark.parametrize(
    ("reader", "no_text"),
    [
        (generations, b'{"served": {"\xff": {}}}'),
        (position_in_the_reviews, b'{"entry": "\xff"}'),
        (note_of_the_clock, b'{"boot_id": "\xff"}'),
        (plan_of_models, b'{"reasons": {"cap": "\xff"}}'),
        (record_of_drift, b'{"recipe": "\xff"}'),
        (record_of_a_retraining, b'{"recipe": "\xff"}'),
        (plan_of_a_retraining, b'{"recipe": "\xff"}'),
        (request_for_every_part, b'{"until_ns": "\xff"}'),
        (collected_part, b'{"result_id": "\xff"}'),
        (label_of_a_part, b'{"by": "\xff"}'),
        (line_of_the_audit, b'{"when": "\xff"}'),
        (card_of_a_model, b'{"schema": "\xff"}'),
    ],
)
def test_bytes_that_are_no_text_and_brackets_without_end_are_damage_like_any_other(tmp_path: Path, reader: Reader, no_text: bytes) -> None:
    for name, damage in (("no_text", no_text), ("endless", ENDLESS)):
        (tmp_path / name).mkdir()
        reader(tmp_path / name, damage)
