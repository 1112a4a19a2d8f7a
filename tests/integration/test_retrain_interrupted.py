"""`mdss retrain` that was stopped, killed or cut off: what it goes on with, and what it gives up."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mdss.collection import RGB
from mdss.errors import BadInput
from mdss.method import calibration, model_store
from mdss.method.model_store import linked_version, open_champion, versions
from mdss.method.presets import with_assignments
from mdss.method.store_lock import StoreBusy
from mdss.whole_files import write_json
from tests import halting
from tests.halting import with_ctrl_c
from tests.retraining import FEW, NEW, Plant, noted_as, order_of, record_of, shown_to, stored_as_trained
from tests.station import NAME, write_teacher
from trainer.retrain_order import RetrainOrder
from trainer.retrain_plan import MADE_MODEL, PARTS, PLAN
from trainer.retrain_planning import plan_of, recipe_of
from trainer.retrain_run import Run, resumable_plan, retrain

pytestmark = pytest.mark.timeout(300)  # they wait for nothing but the processor


class Verb:
    """`mdss retrain` as a process of its own that comes to an end it did not choose."""

    def __init__(self, own: Plant) -> None:
        options = ["--config", str(own.config), "--recipe", NAME, "--least-new", str(NEW), "--full-speed"]
        shares = ["--validation-share", str(FEW.shares.validation), "--gate-share", str(FEW.shares.gate)]
        self._words = ["retrain", *options, *shares]

    def start(self) -> subprocess.Popen[str]:
        """Start it."""
        command = [sys.executable, "-m", "mdss.cli", *self._words]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def run(self, until: str, by: signal.Signals) -> tuple[int, str]:
        """Send it a signal at the first line that begins so; return exit code and what it said."""
        code, said = halting.run(self._words, until, lambda process: process.send_signal(by))
        return code, "\n".join(said)


def planned(own: Plant) -> RetrainOrder:
    """Collect enough new parts and write the plan of a retraining that learns from them; return its order."""
    for number in range(NEW):
        own.collect(number)
    order, champion = order_of(own), open_champion(own.store, NAME)
    write_json(order.work / PLAN, plan_of(order, champion.recipe, champion))
    return order


def test_after_ctrl_c_and_a_power_cut_it_goes_on_with_exactly_the_parts_of_its_plan(
    own: Plant, passing: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "OUTLIER_RATIO", 0.0)  # so that there is a part to ask about
    for number in range(NEW):
        own.collect(number)
    verb = Verb(own)
    code, said = verb.run("reading validation", signal.SIGINT)
    assert (code, record_of(own).outcome) == (130, "interrupted") and "what was learned is kept" in said and "6 are new" in said
    assert not (own.state / "retrain").stat().st_mode & 0o027  # as what the station itself makes
    code, said = verb.run("reading validation", signal.SIGKILL)
    assert (code, record_of(own).outcome) == (-signal.SIGKILL, "running") and "going on with the training" in said
    own.collection.prune(0)
    for number in range(20, 20 + NEW):
        own.collect(number)
    result = retrain(order_of(own))
    told = capsys.readouterr().err
    assert "going on with the training that was planned at" in told
    assert (result.outcome, record_of(own).outcome) == ("candidate", "candidate")
    assert sorted(shown_to(own, "0002")) == [f"result-{number}" for number in range(NEW)]
    page = (own.store / NAME / "0002" / "report" / "training.html").read_text()
    assert re.search(r"validation part \S+ scores 1 times the next: is it good\?", page)
    (found,) = re.findall(rf"^{NAME}: (a table in .*)$", told, re.MULTILINE)
    assert re.fullmatch(r"a table in (\d+) of \1 scans; the part covers .* % of the image \(median .* %\)", found) and found in page


def test_before_there_is_a_plan_ctrl_c_keeps_nothing_and_says_so(own: Plant) -> None:
    kept = [own.collect(number) for number in range(NEW)]
    image = own.state / "collected" / NAME / kept[0] / RGB
    image.unlink()
    os.mkfifo(image)
    verb = Verb(own)
    with verb.start() as process:
        with image.open("wb"):  # once it looks at that part
            process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    assert (process.returncode, record_of(own).outcome) == (130, "interrupted")
    assert "retrain: stopped before anything was learned; the next run begins anew" in said
    assert record_of(own).reason == "stopped before anything was learned; the next run begins anew"


def test_ctrl_c_once_all_is_done_keeps_nobody_from_hearing_what_came_of_it(own: Plant, passing: None) -> None:
    order = planned(own)
    (order.work / MADE_MODEL).write_text("0001", "ascii")
    result = with_ctrl_c(lambda: retrain(order), lambda code: code is Run.candidate.__code__ and not order.work.exists())
    assert (result.outcome, result.exit_code, record_of(own).outcome) == ("candidate", 0, "candidate")


def test_ctrl_c_while_an_unfinished_training_is_given_up_keeps_nothing_and_says_so(own: Plant) -> None:
    order, champion = planned(own), open_champion(own.store, NAME)
    other = order_of(own, assignments=("sdf.steps=3",))
    with pytest.raises(KeyboardInterrupt, match="stopped before anything was learned; the next run begins anew"):
        with_ctrl_c(lambda: retrain(other), lambda code: code.co_filename == shutil.__file__)
    assert resumable_plan(order, champion.recipe, champion) is None


def test_a_plan_is_given_up_where_champion_or_settings_are_others_by_now(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    order, champion = order_of(own), open_champion(own.store, NAME)
    plan = plan_of(order, champion.recipe, champion)
    write_json(order.work / PLAN, plan)
    assert resumable_plan(order, champion.recipe, champion) == plan
    assert resumable_plan(order, with_assignments(champion.recipe, ("sdf.steps=3",)), champion) is None
    assert resumable_plan(order, champion.recipe, replace(champion, version="0002")) is None
    shutil.rmtree(order.work / PARTS / "result-0")
    assert resumable_plan(order, champion.recipe, champion) is None


def test_a_plan_is_given_up_where_the_curated_scans_are_others_by_now(own: Plant, tmp_path: Path) -> None:
    for number in range(NEW):
        own.collect(number)
    data = shutil.copytree(own.data, tmp_path / "data")
    order, champion = order_of(own, data=data), open_champion(own.store, NAME)
    plan = plan_of(order, champion.recipe, champion)
    write_json(order.work / PLAN, plan)
    assert resumable_plan(order, champion.recipe, champion) == plan
    assert resumable_plan(order_of(own), champion.recipe, champion) == plan  # a timer, which names none
    for other in ({"data": data, "unit": "mm"}, {"unit": "mm"}):
        assert resumable_plan(order_of(own, **other), champion.recipe, champion) is None
    assert resumable_plan(order_of(own, data=own.data), champion.recipe, champion) is None
    first = min((data / "train" / "good" / "rgb").iterdir())
    content = first.read_bytes()
    first.write_bytes(content + b" ")
    assert resumable_plan(order, champion.recipe, champion) is None
    first.unlink()
    assert resumable_plan(order, champion.recipe, champion) is None
    first.write_bytes(content)
    assert resumable_plan(order, champion.recipe, champion) == plan
    for kind in ("rgb", "xyz"):
        first = min((data / "train" / "good" / kind).iterdir())
        shutil.copy(first, first.with_stem("another"))
    assert resumable_plan(order, champion.recipe, champion) is None


def test_a_plan_with_fewer_new_parts_than_are_asked_for_by_now_is_given_up_and_keeps_nobody_from_learning_those_that_came_since(
    own: Plant, passing: None, capsys: pytest.CaptureFixture[str]
) -> None:
    own.collect(0)
    few, champion = order_of(own, amounts=replace(FEW, least_new=1)), open_champion(own.store, NAME)
    plan = plan_of(few, champion.recipe, champion)
    write_json(few.work / PLAN, plan)
    assert retrain(order_of(own)).outcome == "nothing_new"
    assert f"is given up: it learns from 1 new good parts, and by now at least {NEW} are asked for" in capsys.readouterr().err
    assert resumable_plan(few, champion.recipe, champion) == plan
    for number in range(1, NEW):
        own.collect(number)
    assert retrain(order_of(own)).outcome == "candidate"
    assert len(shown_to(own, "0002")) == NEW


def test_a_unit_is_that_of_curated_scans_and_without_any_no_reason_to_give_a_plan_up(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    order, champion = order_of(own, data=own.data, unit="mm"), open_champion(own.store, NAME)
    plan = msgspec.structs.replace(plan_of(order_of(own), champion.recipe, champion), base_unit="mm")
    write_json(order.work / PLAN, plan)
    assert resumable_plan(order, champion.recipe, champion) == resumable_plan(order_of(own), champion.recipe, champion) == plan
    assert resumable_plan(order_of(own, data=own.data), champion.recipe, champion) is None  # m, where nothing else is said of --data
    champion = noted_as(own, folder="")
    plan = plan_of(order_of(own), champion.recipe, champion)
    write_json(order.work / PLAN, plan)
    assert resumable_plan(order_of(own, unit="mm"), champion.recipe, champion) == plan


@pytest.mark.parametrize("name", ["", "0042", "\xe9"])
def test_a_model_that_was_stored_and_cannot_be_used_any_more_is_stored_once_more(own: Plant, passing: None, name: str) -> None:
    order = planned(own)
    (order.work / MADE_MODEL).write_text(name, "latin-1")
    assert (retrain(order).outcome, linked_version(own.store / NAME, "candidate")) == ("candidate", "0002")


def test_a_model_that_passed_when_the_store_was_busy_becomes_the_candidate_of_the_next_run(
    own: Plant, passing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise StoreBusy("held by another")

    for number in range(NEW):
        own.collect(number)
    with monkeypatch.context() as patch:
        patch.setattr(model_store, "nominate", busy)
        with pytest.raises(StoreBusy):
            retrain(order_of(own))
    assert retrain(order_of(own)).version == "0002"
    assert linked_version(own.store / NAME, "candidate") == "0002"


def test_what_was_stored_before_the_power_went_is_judged_and_not_trained_again(own: Plant, passing: None) -> None:
    order = planned(own)
    (order.work / MADE_MODEL).write_text("0001", "ascii")
    assert retrain(order).version == "0001"
    assert [path.name for path in versions(own.store / NAME)] == ["0001"]


def test_what_was_stored_before_the_power_went_is_judged_though_the_champion_was_calibrated_since(own: Plant, passing: None) -> None:
    for number in range(NEW):
        own.collect(number)
    order, champion = order_of(own), open_champion(own.store, NAME)
    plan = plan_of(order, champion.recipe, champion)
    write_json(order.work / PLAN, plan)
    shown = {"collected_parts": [each.result_id for each in plan.learned], "gate_parts": [each.result_id for each in plan.of("gate")]}
    (order.work / MADE_MODEL).write_text(stored_as_trained(own.store, **shown).version, "ascii")
    assert noted_as(own).version == "0003"
    with_other_settings = order_of(own, assignments=("sdf.steps=3",))
    assert resumable_plan(with_other_settings, recipe_of(with_other_settings, champion), champion) is None
    assert (retrain(order).outcome, linked_version(own.store / NAME, "candidate")) == ("candidate", "0002")


@pytest.mark.parametrize("is_calibrated", [False, True], ids=["the same champion", "calibrated since"])
def test_what_was_stored_with_settings_that_nobody_asks_for_any_more_is_given_up(own: Plant, is_calibrated: bool) -> None:
    for number in range(NEW):
        own.collect(number)
    order, champion = order_of(own, assignments=("sdf.steps=3",)), open_champion(own.store, NAME)
    plan = plan_of(order, recipe_of(order, champion), champion)
    write_json(order.work / PLAN, plan)
    (order.work / MADE_MODEL).write_text(stored_as_trained(own.store, plan.recipe).version, "ascii")
    if is_calibrated:
        noted_as(own)
    champion = open_champion(own.store, NAME)
    assert resumable_plan(order, recipe_of(order, champion), champion) == plan
    assert resumable_plan(order_of(own), champion.recipe, champion) is None


def test_a_teacher_that_is_away_for_a_while_costs_nothing_of_what_was_learned(own: Plant, tmp_path: Path) -> None:
    for number in range(NEW):
        own.collect(number)
    teacher, champion = write_teacher(tmp_path / "own.safetensors"), open_champion(own.store, NAME)
    order = order_of(own, assignments=(f"rgb.teacher={teacher}",))
    plan = plan_of(order, recipe_of(order, champion), champion)
    write_json(order.work / PLAN, plan)
    teacher.rename(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match=r"own\.safetensors': no such file"):
        retrain(order)
    (tmp_path / "elsewhere").rename(teacher)
    assert resumable_plan(order, plan.recipe, champion) == plan
