"""What a retraining counts as learned already, whatever else has been stored since."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest

from mdss.errors import BadInput
from mdss.method.model_archive import export_model, import_model
from mdss.method.model_store import ModelFolder, nominate, open_champion, promote
from mdss.method.presets import preset
from mdss.whole_files import write_json
from tests.retraining import FEW, NEW, Plant, answered, noted_as, order_of, stored_as_trained, work_of
from tests.station import NAME
from trainer.model_maker import store_recalibrated
from trainer.retrain_gate import record_held_back
from trainer.retrain_plan import PLAN
from trainer.retrain_planning import check_order, plan_of, recipe_of
from trainer.retrain_run import resumable_plan, retrain

pytestmark = pytest.mark.timeout(180)


def calibrate_again(own: Plant) -> ModelFolder:
    return noted_as(own)


def bring_from_elsewhere(own: Plant) -> ModelFolder:
    elsewhere, file = shutil.copytree(own.store, own.state / "elsewhere", symlinks=True), own.state / "model.tar"
    export_model(stored_as_trained(elsewhere, collected_parts=["of another station"]), file)
    return import_model(own.store, file).model


def bring_a_champion_that_was_calibrated_elsewhere(own: Plant) -> ModelFolder:
    """Import 0003, calibrated from 0002 of its own store, which is not 0002 of this one."""
    elsewhere, file = shutil.copytree(own.store, own.state / "elsewhere", symlinks=True), own.state / "model.tar"
    shutil.rmtree(elsewhere / NAME / "0002")
    other = stored_as_trained(elsewhere)
    export_model(promote(elsewhere, NAME, store_recalibrated(other, other.card, other.calibration, elsewhere).version), file)
    return promote(own.store, NAME, import_model(own.store, file).model.version)


def train_something_else_beside_the_candidate(own: Plant) -> ModelFolder:
    nominate(own.store, NAME, "0002")
    return stored_as_trained(own.store, collected_parts=["of last year"], digest="of other curated scans")


@pytest.mark.parametrize(
    "store_newer",
    [
        calibrate_again,
        bring_from_elsewhere,
        bring_a_champion_that_was_calibrated_elsewhere,
        train_something_else_beside_the_candidate,
    ],
)
def test_a_training_that_was_held_back_or_waits_is_not_done_once_more_because_something_newer_is_stored(
    own: Plant, store_newer: Callable[[Plant], ModelFolder]
) -> None:
    stored_as_trained(own.store, collected_parts=[own.collect(number) for number in range(NEW)])
    assert retrain(order_of(own)).outcome == "nothing_new"
    assert store_newer(own).version == "0003"
    assert retrain(order_of(own)).outcome == "nothing_new"


@pytest.mark.parametrize("is_good", [True, False])
def test_a_version_that_was_never_judged_is_named_where_nothing_is_new_until_it_is_decided_on(own: Plant, is_good: bool) -> None:
    version = stored_as_trained(own.store, collected_parts=[own.collect(number) for number in range(NEW)])
    said = "0002 was trained and never judged: `mdss model compare --version 0002` holds it against the champion"
    assert retrain(order_of(own)).sentence == f"found 0 new good parts, expected at least {NEW} (--least-new); {said}"
    if is_good:
        nominate(own.store, NAME, "0002")
    else:
        record_held_back(order_of(own), answered(version, is_passed=False))
    assert retrain(order_of(own)).sentence == f"found 0 new good parts, expected at least {NEW} (--least-new)"


def damage_the_candidate(own: Plant) -> None:
    candidate = nominate(own.store, NAME, stored_as_trained(own.store, collected_parts=["result-0"]).version)
    (candidate.path / "calibration.json").write_bytes(b"{}")


def lose_what_the_champion_was_calibrated_from(own: Plant) -> None:
    shutil.rmtree(noted_as(own).path.with_name("0001"))


@pytest.mark.parametrize("harm", [damage_the_candidate, lose_what_the_champion_was_calibrated_from])
def test_a_version_that_is_damaged_or_gone_has_learned_nothing_and_keeps_nobody_from_learning(
    own: Plant, harm: Callable[[Plant], None]
) -> None:
    for number in range(NEW):
        own.collect(number)
    harm(own)
    order, champion = order_of(own), open_champion(own.store, NAME)
    assert plan_of(order, champion.recipe, champion).new == NEW


def test_settings_are_the_champions_own_unless_a_preset_is_asked_for_and_those_of_edge_for_a_first_model(own: Plant) -> None:
    champion = open_champion(own.store, NAME)
    assert recipe_of(order_of(own), champion) == champion.recipe
    assert recipe_of(order_of(own, preset="demo"), champion) == preset("demo")
    assert recipe_of(order_of(own), None) == preset("edge")
    assert recipe_of(order_of(own, preset="demo", assignments=("sdf.steps=3",)), champion).sdf.steps == 3


def test_a_first_model_that_was_interrupted_is_gone_on_with_though_nobody_names_its_curated_scans_again(own: Plant) -> None:
    (own.store / NAME / "champion").unlink()
    shutil.rmtree(own.store / NAME / "0001")
    with pytest.raises(BadInput, match=r"no champion in .* and no --data"):
        check_order(order_of(own))
    first = order_of(own, data=own.data)
    plan = plan_of(first, recipe_of(first, None), None)
    assert (plan.champion, plan.is_base_new, plan.base) == ("", True, str(own.data))
    write_json(work_of(own) / PLAN, plan)
    again = order_of(own, amounts=replace(FEW, least_new=1000))
    check_order(again)
    assert resumable_plan(again, recipe_of(again, None), None) == plan
    with pytest.raises(BadInput, match=r"no champion in .* and no --data"):  # where that plan cannot be gone on with
        plan_of(again, recipe_of(again, None), None)


def test_of_more_good_parts_than_the_budget_the_newest_are_learned_from_and_those_that_somebody_marked_before_them(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    own.mark("result-1", "good")
    order, champion = order_of(own, amounts=replace(FEW, budget=3, least_new=1)), open_champion(own.store, NAME)
    parts = plan_of(order, champion.recipe, champion).parts
    assert [part.result_id for part in parts] == ["result-1", f"result-{NEW - 1}", f"result-{NEW - 2}"]
