"""A month of a line on a running station: what the timer, the gate and people make of its models, and that no part was lost over it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from daemon.alert_store import Alert
from demo.month_audit import disagreements
from demo.month_parts import WeekSize
from demo.month_run import Order, play_month
from demo.month_station import MonthStation
from demo.month_story import TIMER_DAY, WEEKS, Calendar
from mdss.audit import events
from mdss.method import model_store
from mdss.wire.verdict import BranchResult, ModelReference, Verdict
from tests.alerts import verdict
from tests.small_models import SEEING
from tests.station import NAME, SMALL
from trainer.gate_terms import GateLimits, GateOutcome
from trainer.retrain_order import RetrainAmounts, RetrainOrder
from trainer.retrain_run import retrain
from trainer.synthetic import Line, LineSize
from trainer.synthetic_camera import View

TIMER = Path(__file__).resolve().parents[2] / "deploy" / "mdss-retrain@.timer"


def small_month() -> Order:
    """Return a month whose models are made in seconds, and whose defects nobody misses."""
    line = Line(NAME, 1, LineSize(12, 20, 20, 0), View(96, 96), kinds=("foreign_body", "hole"))
    return Order(line, WeekSize(good=8, defective=3, worn=3), (*SMALL, *SEEING), retrained)


def retrained(station: MonthStation) -> int:
    """Retrain in this process; standard damage is too fine for models that learn for seconds, and shown to the gate in its own tests.

    Whether a model learned in seconds catches a defect by a hair depends on how a processor rounds, so what holds the third candidate
    back for certain is a limit that nothing keeps: it may take no time at all.
    """
    is_third = len(model_store.versions(Path(station.settings.models.store) / NAME)) == 3
    limits = GateLimits(allowed_misses=1.0, allowed_auroc=1.0, slowest_ratio=0.0 if is_third else 4.0, largest_ratio=2.0)
    return retrain(RetrainOrder(station.settings, NAME, amounts=RetrainAmounts(with_simulated=True, least_new=5), limits=limits)).exit_code


def test_the_calendar_has_the_day_of_the_timer_four_times() -> None:
    calendar = Calendar()
    assert sum(calendar.has_timer for _ in calendar.days(7 * len(WEEKS))) == len(WEEKS)
    assert f"OnCalendar={TIMER_DAY} " in TIMER.read_text()


@pytest.mark.timeout(1200)  # of which it computes for 100 s, on busy cores with a small share of them
def test_a_month_keeps_every_promise_while_its_models_are_learned_held_back_promoted_and_taken_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = play_month(small_month(), tmp_path)  # raises where the audit finds a fault, or a week ends in another way
    said, folder = capsys.readouterr().out, tmp_path / "models" / NAME
    versions = [path.name for path in model_store.versions(folder)]
    assert versions == ["0001", "0002", "0003", "0004", "0005"]
    gates = {
        version: msgspec.json.decode((folder / "gates" / version / "gate.json").read_bytes(), type=GateOutcome) for version in versions[1:]
    }
    assert not gates["0004"].is_passed and any(reason.startswith("time for a part") for reason in gates["0004"].reasons)
    passed = [version for version, gate in gates.items() if gate.is_passed]
    served = ["0001", *passed]
    if "0005" in passed:
        served.append(served[-2])
    assert len(served) > 1
    assert [(each.before, each.after) for each in events(folder) if each.what in ("promote", "rollback")] == list(pairwise(served))
    assert [model_store.linked_version(folder, link) for link in ("champion", "previous", "candidate")] == [served[-1], served[-2], None]
    outcome = f"{len(passed)} candidates, {4 - len(passed)} held back; {len(served) - 1} changes of the model"
    assert f"4 weeks, 44 parts, 44 verdicts; 4 retrainings, {outcome}" in said
    assert "nothing is missing, nothing is there twice" in page.read_text()


def judged(name: str, seen_by: str = "0001") -> Verdict:
    model = ModelReference(name=NAME, version="0001", digest="d", generation=1)
    return verdict(name, part_id=name, model=model, branches={"sdf": BranchResult(score=1.0, model_version=seen_by)})


def alert(name: str) -> Alert:
    return Alert(result_id=name, state="new", entry="", stored_ns=0, has_picture=False, verdict=judged(name))


def test_the_audit_finds_nothing_where_all_records_agree() -> None:
    assert list(disagreements("ab", map(judged, "ab"), map(judged, "ab"), map(alert, "ab"))) == []


def test_the_audit_names_each_part_whose_records_do_not_agree() -> None:
    journal = [judged("a"), judged("c"), judged("c"), judged("d"), judged("e", seen_by="0002")]
    assert list(disagreements("abcde", journal, map(judged, "abcex"), map(alert, "cde"))) == [
        "b: found 0 times in the journal, expected once",
        "c: found 2 times in the journal, expected once",
        "d: found 0 times at the subscriber, expected once",
        "x: found at the subscriber, expected nowhere",
        "a: found 0 times in Redis, expected once",
        "e: seen by 0002, judged by 0001",
    ]
