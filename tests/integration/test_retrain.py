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
from mdss.errors import BadInput
from mdss.method.model_store import linked_version, open_champion, open_version, versions
from mdss.retraining import RetrainRecord, read_record, retrain_folder
from tests.retraining import Plant, good_part, plant, write_config
from tests.station import NAME
from trainer.retrain_order import RetrainOrder, Wishes
from trainer.retrain_outcome import alone
from trainer.retrain_run import retrain

pytestmark = pytest.mark.timeout(180)
NEW = 6
FEW = Wishes(least_new=NEW, validation_share=0.5)


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
    result = retrain(order_of(own))
    folder = own.store / NAME
    assert (result.outcome, result.exit_code, result.version) == ("candidate", 0, "0002")
    assert (linked_version(folder, "candidate"), linked_version(folder, "champion")) == ("0002", "0001")
    learned = open_version(folder / "0002").card.data["collected_parts"]
    assert sorted(learned) == sorted((parts - {"result-0"}) | {"result-50", "result-53"})  # the newer scan of part 0
    assert result.parts_refused == {"duplicate": 1}
    assert (record_of(own).outcome, record_of(own).parts_used, record_of(own).parts_refused) == ("candidate", 7, 1)
    assert not work_of(own).exists()
    assert [(each.what, each.after) for each in events(folder)] == [("train", "0001"), ("candidate", "0002")]
    again = retrain(order_of(own))
    assert (again.outcome, again.exit_code) == ("nothing_new", 3)
    assert "1 that were not accepted wait for somebody to say what they are" in again.sentence
    assert [path.name for path in versions(folder)] == ["0001", "0002"]


def test_a_card_keeps_what_the_next_retraining_begins_with(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    assert retrain(order_of(own, promote=True)).outcome == "candidate"
    first = open_champion(own.store, NAME)
    assert (first.version, linked_version(own.store / NAME, "previous")) == ("0002", "0001")
    assert (first.card.data["folder"], first.card.data["unit"]) == (str(own.data), "m")
    assert first.card.data["training_scans"] + first.card.data["validation_scans"] == 8 + 6 + NEW
    for number in range(10, 10 + NEW):
        own.collect(number)
    assert retrain(order_of(own)).parts_used == 2 * NEW


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


def test_a_first_model_comes_from_curated_scans_alone(own: Plant, made: Plant) -> None:
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
    """`mdss retrain` as a process of its own."""

    def __init__(self, own: Plant) -> None:
        options = ["--config", str(own.config), "--recipe", NAME, "--least-new", str(NEW), "--validation-share", "0.5", "--full-speed"]
        self._command = [sys.executable, "-m", "mdss.cli", "retrain", *options]

    def run(self, *options: str, kill_at: str = "", by: signal.Signals = signal.SIGKILL) -> tuple[int, str, str]:
        """Run it; where it is to be killed, at the first line that begins so. Return exit code, stdout and stderr."""
        pipe = subprocess.PIPE
        with subprocess.Popen([*self._command, *options], stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stderr is not None and process.stdout is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if kill_at and line.startswith(kill_at):
                    process.send_signal(by)
            return process.wait(), process.stdout.read(), "".join(said)


def test_after_a_power_cut_it_goes_on_with_exactly_the_parts_of_its_plan(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    verb = Verb(own)
    code, _, said = verb.run(kill_at="colour branch")
    assert code == -signal.SIGKILL and "6 are new" in said
    assert record_of(own).outcome == "running"
    own.collection.prune(0)
    for number in range(20, 20 + NEW):
        own.collect(number)
    code, out, said = verb.run("--json")
    assert code == 0, said
    assert "going on with the training that was planned at" in said and "curated parts" not in said
    learned = open_version(own.store / NAME / "0002").card.data["collected_parts"]
    assert sorted(learned) == [f"result-{number}" for number in range(NEW)]
    assert json.loads(out)["outcome"] == record_of(own).outcome == "candidate"


def test_ctrl_c_is_noted_and_a_training_whose_settings_changed_meanwhile_is_given_up(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    verb = Verb(own)
    code, _, said = verb.run(kill_at="teacher statistics", by=signal.SIGINT)
    assert code == 130 and "retrain: stopped; what was learned is kept" in said
    assert (record_of(own).outcome, (work_of(own) / "plan.json").exists()) == ("interrupted", True)
    code, _, said = verb.run("--set", "sdf.steps=3")
    assert code == 0, said
    assert "the unfinished training is given up: its champion or its settings are others by now" in said
    assert open_version(own.store / NAME / "0002").recipe.sdf.steps == 3
