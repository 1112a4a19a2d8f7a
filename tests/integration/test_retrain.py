"""`mdss retrain`, from collected parts to a candidate: what it learns from, how it ends, and that a power cut costs nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mdss.audit import events
from mdss.cli import main
from mdss.errors import BadInput, CutOff, MdssError
from mdss.method.model_store import ModelFolder, linked_version, open_champion, open_version, promote, versions
from mdss.method.recipe import changed
from mdss.method.store_lock import StoreBusy
from mdss.retraining import RetrainRecord, read_record, retrain_folder
from tests.retraining import Plant, good_part, plant, write_config
from tests.station import NAME
from trainer import retrain_run
from trainer.gate_terms import GateCheck, GateLimits, GateOutcome
from trainer.gathering import Shares
from trainer.retrain_gate import evidence_of
from trainer.retrain_order import RetrainOrder, Wishes
from trainer.retrain_outcome import alone
from trainer.retrain_plan import MADE, PARTS, PLAN, write_plan
from trainer.retrain_plan import Plan as RetrainPlan
from trainer.retrain_planning import plan_of
from trainer.retrain_run import model_of, retrain, unfinished

pytestmark = pytest.mark.timeout(180)
NEW = 6
LENIENT = GateLimits(  # two networks of a few steps: what the gate asks is shown elsewhere
    fewest_good=5, tolerated_rejects=1, allowed_misses=1, allowed_auroc=1, allowed_shift=1e9, slowest_ratio=1e9, largest_ratio=1e9
)  # fmt: skip
FEW = Wishes(least_new=NEW, shares=Shares(validation=0.4, gate=0.2))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Curated scans, and the champion that was made from them."""
    return plant(tmp_path_factory.mktemp("plant"))


@pytest.fixture
def own(made: Plant, tmp_path: Path) -> Plant:
    """The same with a store, a state and settings of its own."""
    store = shutil.copytree(made.store, tmp_path / "models", symlinks=True)
    return Plant(write_config(tmp_path, store), made.data)


def order_of(own: Plant, **changes: Any) -> RetrainOrder:
    return replace(RetrainOrder(own.settings, NAME, wishes=FEW), **changes)


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that lets every model pass: what the real one asks has tests of its own."""
    monkeypatch.setattr(retrain_run, "judged", lambda _order, _plan, model: answered(model, is_passed=True))


def answered(model: ModelFolder, *, is_passed: bool) -> GateOutcome:
    """Return a gate's answer."""
    check = GateCheck(name="golden parts accepted", side="quality", is_passed=is_passed, says="3 golden parts")
    reasons = () if is_passed else ("golden parts accepted: 3 golden parts",)
    return GateOutcome(
        recipe=NAME, champion="0001", candidate=model.version, is_passed=is_passed, reasons=reasons, checks=(check,), parts={},
        judged_at="now", folder=str(model.path.parent / "gates" / model.version),
    )  # fmt: skip


def shown_to(own: Plant, version: str) -> list[str]:
    """Return the collected parts that a version was made from or judged by."""
    data = open_version(own.store / NAME / version).card.data
    return [*data["collected_parts"], *data["gate_parts"]]


def record_of(own: Plant) -> RetrainRecord:
    found = read_record(retrain_folder(own.state), NAME)
    assert found is not None
    return found


def work_of(own: Plant) -> Path:
    return order_of(own).work


def test_it_learns_from_good_parts_alone_makes_a_candidate_and_has_nothing_to_learn_the_next_time(own: Plant) -> None:
    parts = {own.collect(number) for number in range(NEW)}
    own.mark(own.collect(50, "NotOK"), "good")
    own.mark(own.collect(51, "NotOK"), "defect")
    own.collect(52, "NotOK")
    own.collect(53, scan=good_part(0))  # part 0 was sent again
    result = retrain(order_of(own, limits=LENIENT))
    folder = own.store / NAME
    assert (result.outcome, result.exit_code, result.version) == ("candidate", 0, "0002"), result.sentence
    assert (linked_version(folder, "candidate"), linked_version(folder, "champion")) == ("0002", "0001")
    assert sorted(shown_to(own, "0002")) == sorted((parts - {"result-0"}) | {"result-50", "result-53"})  # the newer scan of part 0
    assert Path(result.report).is_file()
    assert result.parts_refused == {"duplicate": 1}
    assert (record_of(own).outcome, record_of(own).parts_used, record_of(own).parts_refused) == ("candidate", result.parts_used, 1)
    assert not work_of(own).exists()
    assert [(each.what, each.after) for each in events(folder)] == [("train", "0001"), ("candidate", "0002")]
    again = retrain(order_of(own))
    assert (again.outcome, again.exit_code) == ("nothing_new", 3)
    assert "1 that were not accepted wait for somebody to say what they are" in again.sentence
    assert [path.name for path in versions(folder)] == ["0001", "0002"]


def test_a_champion_by_retraining_knows_the_curated_scans_and_the_next_one_learns_all_that_is_there(own: Plant, passing: None) -> None:
    for number in range(NEW):
        own.collect(number)
    assert retrain(order_of(own, promote=True)).outcome == "candidate"
    first = open_champion(own.store, NAME)
    assert (first.version, linked_version(own.store / NAME, "previous")) == ("0002", "0001")
    assert (first.card.data["folder"], first.card.data["unit"]) == (str(own.data), "m")
    assert first.card.data["training_scans"] + first.card.data["validation_scans"] == 8 + 6 + len(first.card.data["collected_parts"])
    for number in range(10, 10 + NEW):
        own.collect(number)
    order = order_of(own)
    plan = plan_of(order, first.recipe, first)
    assert (len(plan.parts), plan.new, plan.base) == (2 * NEW, NEW, str(own.data))
    before = {each.result_id: each.use for each in plan.parts if not each.is_new}
    assert {name for name, use in before.items() if use != "gate"} == set(first.card.data["collected_parts"])


def test_a_model_that_the_gate_holds_back_stays_in_the_store_without_a_link(own: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrain_run, "judged", lambda _order, _plan, model: answered(model, is_passed=False))
    for number in range(NEW):
        own.collect(number)
    result = retrain(order_of(own, promote=True))
    folder = own.store / NAME
    assert (result.outcome, result.exit_code, result.version) == ("held_back", 5, "0002")
    assert "0002 is held back: golden parts accepted: 3 golden parts (see " in result.sentence
    assert [linked_version(folder, link) for link in ("champion", "candidate", "previous")] == ["0001", None, None]
    assert (events(folder)[-1].what, events(folder)[-1].after) == ("hold back", "0002")
    assert (record_of(own).outcome, record_of(own).version, record_of(own).last_success_ns) == ("held_back", "0002", 0)
    assert not work_of(own).exists()
    assert retrain(order_of(own)).outcome == "nothing_new"  # the same parts would give the same model


def test_who_became_champion_during_the_training_is_not_overruled(own: Plant, passing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(order: RetrainOrder, plan: RetrainPlan) -> ModelFolder:
        model = model_of(order, plan)
        promote(own.store, NAME, model.version)
        return model

    for number in range(NEW):
        own.collect(number)
    monkeypatch.setattr(retrain_run, "model_of", meanwhile)
    with pytest.raises(MdssError, match="found 0002 as the champion, expected 0001 as when the retrain of 0002 began"):
        retrain(order_of(own, promote=True))
    assert record_of(own).outcome == "failed"


@pytest.mark.parametrize(
    ("error", "is_kept"), [(CutOff("killed"), True), (StoreBusy("held by another"), True), (MdssError("a loss of nan"), False)]
)
def test_what_was_learned_stays_unless_it_would_end_with_the_same_error(
    own: Plant, monkeypatch: pytest.MonkeyPatch, error: MdssError, is_kept: bool
) -> None:
    def ended(*_: object) -> ModelFolder:
        (work_of(own) / "sdf.checkpoint").write_bytes(b"hours of work")
        raise error

    for number in range(NEW):
        own.collect(number)
    monkeypatch.setattr(retrain_run, "trained", ended)
    with pytest.raises(type(error), match=str(error)):
        retrain(order_of(own))
    assert (record_of(own).outcome, (work_of(own) / "sdf.checkpoint").exists()) == ("failed", is_kept)


def test_where_too_little_is_left_it_says_by_how_much_and_why(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number, scan=good_part(number, "potato"))
    result = retrain(order_of(own))
    assert (result.outcome, result.exit_code) == ("refused_data", 4)
    assert f"found 0 new good parts, expected at least {NEW}: {NEW} more are needed. Refused: {NEW} another_product" in result.sentence
    plan = json.loads(order_of(own).last_plan.read_text())
    assert {each["result_id"] for each in plan["refused"]} == {f"result-{number}" for number in range(NEW)}
    assert all("another product?" in each["reason"] for each in plan["refused"])
    assert (record_of(own).outcome, record_of(own).parts_refused, record_of(own).last_success_ns) == ("refused_data", NEW, 0)
    assert not (work_of(own) / "plan.json").exists()
    assert retrain(order_of(own)).outcome == "nothing_new"  # it is said once
    for number in range(NEW):
        own.mark(f"result-{number}", "good")
    order, champion = order_of(own), open_champion(own.store, NAME)
    assert plan_of(order, champion.recipe, champion).new == NEW  # a person knows better


def test_a_first_model_comes_from_curated_scans_alone(own: Plant, made: Plant, passing: None) -> None:
    recipe = open_champion(made.store, NAME).recipe
    shutil.rmtree(own.store)
    with pytest.raises(BadInput, match=r"no champion in .* and no --data"):
        retrain(order_of(own))
    settings = tuple(
        f"rgb.{name}={getattr(recipe.rgb, name)}" for name in ("teacher", "steps", "student_width", "window_px", "warmup_steps")
    )
    small = (*settings, "sdf.steps=4", "sdf.damaged_copies=0", "point_cloud.size_px=96", "sdf.points_per_patch=64")
    result = retrain(order_of(own, data=made.data, preset="demo", assignments=small))
    assert (result.outcome, result.version, result.parts_used) == ("candidate", "0001", 0)


def test_the_second_of_two_timers_ends_at_once(own: Plant) -> None:
    before = retrain(order_of(own))
    with alone(own.store / NAME, NAME):
        result = retrain(order_of(own))
    assert (before.outcome, result.outcome, result.exit_code) == ("nothing_new", "busy", 6)
    assert f"held by process {os.getpid()} of" in result.sentence
    assert record_of(own).outcome == "nothing_new"  # the record is the first one's


def test_a_setting_that_does_not_exist_is_a_matter_of_usage(own: Plant) -> None:
    with pytest.raises(BadInput, match=r"recipe setting 'rgb\.stepps'"):
        retrain(order_of(own, assignments=("rgb.stepps=3",)))
    assert record_of(own).outcome == "failed"
    assert main(["retrain", "--config", str(own.config.with_name("none.yaml")), "--recipe", NAME]) == 2


class Verb:
    """`mdss retrain` as a process of its own that comes to an end it did not choose."""

    def __init__(self, own: Plant) -> None:
        options = ["--config", str(own.config), "--recipe", NAME, "--least-new", str(NEW), "--full-speed"]
        shares = ["--validation-share", str(FEW.shares.validation), "--gate-share", str(FEW.shares.gate)]
        self._command = [sys.executable, "-m", "mdss.cli", "retrain", *options, *shares]

    def run(self, until: str, by: signal.Signals) -> tuple[int, str]:
        """Send it a signal at the first line that begins so; return exit code and what it said."""
        with subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said, is_sent = [], False
            for line in process.stderr:
                said.append(line)
                if line.startswith(until) and not is_sent:  # what it says of the stage that is cut off begins so, too
                    process.send_signal(by)
                    is_sent = True
            return process.wait(), "".join(said)


def test_after_ctrl_c_and_a_power_cut_it_goes_on_with_exactly_the_parts_of_its_plan(
    own: Plant, passing: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(NEW):
        own.collect(number)
    verb = Verb(own)
    code, said = verb.run("reading validation", signal.SIGINT)
    assert (code, record_of(own).outcome) == (130, "interrupted") and "what was learned is kept" in said and "6 are new" in said
    code, said = verb.run("reading validation", signal.SIGKILL)
    assert (code, record_of(own).outcome) == (-signal.SIGKILL, "running") and "going on with the training" in said
    own.collection.prune(0)
    for number in range(20, 20 + NEW):
        own.collect(number)
    result = retrain(order_of(own))
    assert "going on with the training that was planned at" in capsys.readouterr().err
    assert (result.outcome, record_of(own).outcome) == ("candidate", "candidate")
    assert sorted(shown_to(own, "0002")) == [f"result-{number}" for number in range(NEW)]


def test_the_newest_good_parts_come_first_in_the_gate_whether_somebody_marked_them_or_not(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    own.mark("result-0", "good")
    order, champion = order_of(own, wishes=replace(FEW, shares=Shares(validation=0, gate=0.999))), open_champion(own.store, NAME)
    good = evidence_of(order, plan_of(order, champion.recipe, champion)).good
    assert [part.part_id for part in good[:NEW]] == [f"part-{number}" for number in reversed(range(NEW))]


def test_a_plan_is_given_up_where_champion_or_settings_are_others_by_now(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    order, champion = order_of(own), open_champion(own.store, NAME)
    plan = plan_of(order, champion.recipe, champion)
    write_plan(order.work / PLAN, plan)
    assert unfinished(order, champion.recipe, champion) == plan
    assert unfinished(order, changed(champion.recipe, ("sdf.steps=3",)), champion) is None
    assert unfinished(order, champion.recipe, replace(champion, version="0002")) is None
    shutil.rmtree(order.work / PARTS / "result-0")
    assert unfinished(order, champion.recipe, champion) is None


def test_what_was_stored_before_the_power_went_is_judged_and_not_trained_again(own: Plant, passing: None) -> None:
    for number in range(NEW):
        own.collect(number)
    order, champion = order_of(own), open_champion(own.store, NAME)
    write_plan(order.work / PLAN, plan_of(order, champion.recipe, champion))
    (order.work / MADE).write_text("0001", "ascii")
    assert retrain(order).version == "0001"
    assert [path.name for path in versions(own.store / NAME)] == ["0001"]
