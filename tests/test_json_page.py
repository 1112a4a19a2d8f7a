"""docs/json.md names every field that a verb gives to programs, and no other."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from daemon.alert_store import Alert
from daemon.collection_verbs import ListedPart
from daemon.doctor import Examination
from daemon.finding import Finding
from daemon.keygen import NewKeyPair
from daemon.replay import Report
from daemon.replay_verdicts import VerdictTally
from daemon.status import ProcessReport, ReloadReport, StationReport
from mdss import cli
from mdss.audit import Event
from mdss.collection import CollectedPart, Review
from mdss.drift_record import DriftWarning
from mdss.method.calibration import Threshold
from mdss.method.metrics import Metrics
from mdss.retraining import RetrainRecord
from mdss.wire.camera import Nack
from measure import results
from tests.pages import ROOT, chapter, options_of, verb_of, words_below
from trainer import evaluation, gate_terms, shadow_report
from trainer.calibrate_verb import as_json_text
from trainer.data_checks import Refused
from trainer.model_verbs import Row
from trainer.retrain_run import Result

PAGE = ROOT / "docs" / "json.md"
Record = type[msgspec.Struct] | type[Metrics]

RECORDS: dict[str, tuple[Record, ...]] = {  # what is given, and what is within it
    "mdss evaluate": (
        *(evaluation.Evaluation, evaluation.Model, evaluation.Counts, evaluation.Baseline, evaluation.ThresholdFigures),
        *(evaluation.Timing, evaluation.Stage, evaluation.ScanResult, Metrics),
    ),
    "mdss retrain": (Result, Refused),
    "mdss model compare": (gate_terms.GateOutcome, gate_terms.GateCheck),
    "mdss model shadow": (shadow_report.ShadowReport, shadow_report.ShadowPart, shadow_report.ShadowJudgement, shadow_report.Interval),
    "mdss alerts list": (Alert,),
    "mdss collection list": (ListedPart, CollectedPart, Review),
    "mdss model history": (Event,),
    "mdss doctor": (Examination, Finding),
    "mdss keygen": (NewKeyPair,),
    "mdss status": (StationReport, ProcessReport, ReloadReport, DriftWarning, RetrainRecord),
}


def names_of(record: Record) -> list[str]:
    """Return the fields of a record, as JSON names them."""
    if dataclasses.is_dataclass(record):
        return [field.name for field in dataclasses.fields(record)]
    return list(record.__struct_encode_fields__)


def said_of(verb: str) -> tuple[list[str], set[str]]:
    """Return the fields that the page has rows for, in order, and every name in its chapter."""
    text = chapter(verb, PAGE)
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return sorted(name for names in rows for name in re.findall(r"`(\w+)`", names)), set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize("words", [words for verb in cli.VERBS for words in words_below([verb])], ids=" ".join)
def test_a_verb_that_gives_something_to_programs_is_on_the_page(words: list[str]) -> None:
    named = re.findall(r"(?:^## |`)(mdss [a-z ]+)", PAGE.read_text("utf-8"), re.MULTILINE)
    assert "--json" not in options_of(verb_of(words)) or " ".join(["mdss", *words]) in map(str.strip, named)


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
    assert rows == sorted(json.loads(as_json_text(champion)))
    assert set(Threshold.__struct_fields__) <= named


def test_the_page_on_speed_names_each_figure_of_a_bench() -> None:
    named = re.findall(r"`(\w+)`", (ROOT / "docs" / "performance.md").read_text("utf-8"))
    records = (results.Results, results.Machine, results.StageFigures, results.EndToEnd, results.BothBranches, results.GrowthFigures)
    assert sorted({name for record in records for name in names_of(record)} - set(named)) == []


def test_the_summary_of_a_replay_is_said_field_by_field() -> None:
    sender: Any = SimpleNamespace(rejected={"1": Nack(frame_id="1", code="CRC", reason="why")}, put_off={}, rejected_count=1, outstanding=0)
    report = Report(VerdictTally(lambda _: pytest.fail("nothing was sent")))
    report.note("1", "good/1", sender)
    report.tally.undefined.append({"part_id": "good/1", "code": "LATE", "reason": "why"})
    summary = report.summary(sender, 1.0)
    rows, named = said_of("mdss replay")
    assert rows == sorted(summary)
    assert summary["undefined"][0].keys() <= named
    assert isinstance(summary["rejected"], list) and summary["rejected"][0].keys() <= named


def test_the_columns_of_models_are_said_one_by_one() -> None:
    rows, _ = said_of("mdss model list")
    assert rows == sorted(Row.__struct_fields__)


def test_what_a_check_comes_to_is_said_field_by_field(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("station: {name: line-1}\n")
    (tmp_path / "bad.yaml").write_text("station: {nam: line-1}\n")
    printed = [CliRunner().invoke(verb_of(["check"]), [str(tmp_path / name), "--json"]).stdout for name in ("good.yaml", "bad.yaml")]
    rows, _ = said_of("mdss check")
    assert rows == sorted({name for text in printed for name in json.loads(text)})
