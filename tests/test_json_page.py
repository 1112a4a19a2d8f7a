"""docs/json.md names every field that a verb gives to programs, and no other."""

from __future__ import annotations

import dataclasses
import json
import re
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from daemon.replay import Report
from daemon.status import ProcessReport, ReloadReport, StationReport
from mdss.drift_record import Warned
from mdss.method.calibration import Threshold
from mdss.method.metrics import Metrics
from mdss.retraining import RetrainRecord
from mdss.wire.camera import Nack
from tests.pages import ROOT, chapter
from trainer import evaluation, gate_terms, shadow_report
from trainer.calibrate_verb import as_object
from trainer.data_checks import Refused
from trainer.retrain_run import Result

Record = type[msgspec.Struct] | type[Metrics]

RECORDS: dict[str, tuple[Record, ...]] = {  # what is given, and what is within it
    "mdss evaluate": (
        *(evaluation.Evaluation, evaluation.Model, evaluation.Counts, evaluation.Baseline, evaluation.Threshold),
        *(evaluation.Timing, evaluation.Stage, evaluation.ScanResult, Metrics),
    ),
    "mdss retrain": (Result, Refused),
    "mdss model compare": (gate_terms.GateOutcome, gate_terms.GateCheck),
    "mdss model shadow": (shadow_report.ShadowReport, shadow_report.ShadowPart, shadow_report.Side, shadow_report.Interval),
    "mdss status": (StationReport, ProcessReport, ReloadReport, Warned, RetrainRecord),
}


def names_of(record: Record) -> list[str]:
    """Return the fields of a record."""
    return [field.name for field in dataclasses.fields(record)] if dataclasses.is_dataclass(record) else list(record.__struct_fields__)


def said_of(verb: str) -> tuple[list[str], set[str]]:
    """Return the fields that the page has rows for, in order, and every name in its chapter."""
    text = chapter(verb, ROOT / "docs" / "json.md")
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return sorted(name for names in rows for name in re.findall(r"`(\w+)`", names)), set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize("verb", RECORDS)
def test_each_field_has_a_row_and_what_is_within_is_named(verb: str) -> None:
    rows, named = said_of(verb)
    given, *within = RECORDS[verb]
    assert rows == sorted(names_of(given))
    assert {name for record in within for name in names_of(record)} <= named


def test_what_a_new_champion_is_told_by_is_said_field_by_field() -> None:
    limit = Threshold(value=1.0, method="conformal", asked_false_reject_rate=0.05, stated_false_reject_rate=0.05, parts=20)
    champion: Any = SimpleNamespace(name="a", version="0001", calibration=SimpleNamespace(threshold=limit, map_level=2.0))
    rows, named = said_of("mdss calibrate")
    assert rows == sorted(json.loads(as_object(champion)))
    assert set(Threshold.__struct_fields__) <= named


def test_the_summary_of_a_replay_is_said_field_by_field() -> None:
    sender: Any = SimpleNamespace(rejected={"1": Nack(frame_id="1", code="CRC", reason="why")}, put_off={}, outstanding=0)
    report = Report()
    report.note("1", "good/1", sender)
    summary = report.summary(sender)
    rows, named = said_of("mdss replay")
    assert rows == sorted(summary)
    assert isinstance(summary["rejected"], list) and summary["rejected"][0].keys() <= named
