"""`mdss retrain` and what people say of parts: before it begins, while it runs or lies still, and after its model is made."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mdss.audit import events
from mdss.cli import main
from mdss.collection import REVIEW
from mdss.method.golden import read_golden
from mdss.method.model_store import Change, linked_version, open_champion, promote, versions
from mdss.whole_files import write_json
from tests.retraining import FEW, NEW, Plant, answered, good_part, noted_as, order_of, shown_to
from tests.station import NAME
from trainer import retrain_run
from trainer.gathering import Shares
from trainer.model_maker import store_recalibrated
from trainer.retrain_gate import evidence_of
from trainer.retrain_order import RetrainOrder
from trainer.retrain_plan import PLAN, Plan
from trainer.retrain_planning import defects_since, plan_of
from trainer.retrain_run import resumable_plan, retrain

pytestmark = pytest.mark.timeout(300)  # they wait for nothing but the processor
ALL_TRAIN, ALL_GATE = replace(FEW, shares=Shares(0.0, 0.0)), replace(FEW, shares=Shares(validation=0.0, gate=0.999))


def planned(order: RetrainOrder) -> Plan:
    champion = open_champion(order.store, NAME)
    return plan_of(order, champion.recipe, champion)


def exported(own: Plant, folder: Path) -> Path:
    assert main(["collection", "export", "--config", str(own.config), "--recipe", NAME, "--out", str(folder)]) == 0
    return folder


def test_an_accepted_scan_of_a_part_that_is_a_defect_by_another_is_learned_from_only_where_somebody_calls_it_good(own: Plant) -> None:
    for number in range(NEW + 1):
        own.collect(number)
    own.mark(own.collect(50, "NotOK", part_id="part-3"), "defect")
    plan = planned(order_of(own))
    assert sorted(part.result_id for part in plan.learned + plan.of("gate")) == [f"result-{number}" for number in (0, 1, 2, 4, 5, 6)]
    (refused,) = plan.refused
    assert (refused.result_id, refused.code) == ("result-3", "defect") and "another scan of the part a defect" in refused.reason
    own.mark("result-3", "good")
    (own.state / "collected" / NAME / "result-4").joinpath(REVIEW).write_text("{")
    assert [(each.result_id, each.code) for each in planned(order_of(own)).refused] == [("result-4", "defect")]
    assert "result-3" in {part.result_id for part in planned(order_of(own)).parts}


def test_an_accepted_part_that_looks_like_a_defect_is_not_learned_from_whatever_its_id_unless_somebody_calls_it_good(own: Plant) -> None:
    for number in range(NEW + 1):
        own.collect(number)
    own.mark(own.collect(50, "NotOK", scan=good_part(3)), "defect")
    refused = planned(order_of(own)).refused
    assert [(each.result_id, each.code) for each in refused] == [("result-3", "defect")] and "second scan of part-50" in refused[0].reason
    own.mark("result-3", "good")
    assert planned(order_of(own)).refused == ()


def test_a_part_that_was_in_doubt_is_new_once_somebody_calls_it_good(own: Plant, passing: None) -> None:
    for number in range(NEW + 1):
        own.collect(number)
    own.mark(own.collect(50, "NotOK", scan=good_part(3), part_id="part-3"), "defect")
    assert retrain(order_of(own, promote=True)).parts_refused == {"defect": 1}
    order = order_of(own, amounts=replace(FEW, least_new=1))
    assert retrain(order).outcome == "nothing_new"
    own.mark("result-3", "good")
    assert retrain(order).outcome == "candidate"


def test_a_training_that_was_interrupted_is_given_up_where_it_would_learn_from_a_defect(
    own: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(NEW):
        own.collect(number)
    own.collect(50, "NotOK", part_id="part-1")
    order, champion = order_of(own, amounts=ALL_TRAIN), open_champion(own.store, NAME)
    plan = planned(order)
    write_json(order.work / PLAN, plan)
    assert resumable_plan(order, champion.recipe, champion) == plan
    own.mark("result-50", "defect")
    assert resumable_plan(order, champion.recipe, champion) is None
    said = "the unfinished training is given up: result-1, which it learns from, has been called a defect since"
    assert said in capsys.readouterr().err
    own.mark("result-1", "good")
    assert resumable_plan(order, champion.recipe, champion) == plan


def test_a_training_on_simulated_parts_that_was_interrupted_is_gone_on_with_only_where_they_are_asked_for(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number, is_simulated=True)
    asked, champion = order_of(own, amounts=replace(FEW, with_simulated=True)), open_champion(own.store, NAME)
    plan = planned(asked)
    write_json(asked.work / PLAN, plan)
    assert resumable_plan(asked, champion.recipe, champion) == plan
    assert resumable_plan(order_of(own), champion.recipe, champion) is None


def test_a_model_that_learned_from_what_is_called_a_defect_meanwhile_is_held_back_and_the_next_one_is_made_without(
    own: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def marking(_order: RetrainOrder, _plan: Plan, model: object) -> object:
        own.mark("result-2", "defect")
        return answered(model, is_passed=True)  # type: ignore[arg-type]

    for number in range(NEW + 1):
        own.collect(number)
    monkeypatch.setattr(retrain_run, "run_gate", marking)
    order = order_of(own, amounts=ALL_TRAIN, promote=True)
    result = retrain(order)
    assert (result.outcome, result.version) == ("held_back", "0002")
    assert "it has learned from result-2, called a defect meanwhile" in result.sentence
    assert linked_version(own.store / NAME, "champion") == "0001" and events(own.store / NAME)[-1].what == "hold back"
    assert (retrain(order).outcome, linked_version(own.store / NAME, "champion")) == ("candidate", "0003")
    assert "result-2" not in shown_to(own, "0003")
    assert retrain(order).outcome == "nothing_new"


@pytest.mark.parametrize("key", ["collected_parts", "calibrated_parts"])
def test_a_champion_that_came_from_what_is_a_defect_by_now_is_replaced_though_nothing_new_was_collected(
    own: Plant, passing: None, key: str
) -> None:
    for number in range(NEW):
        own.collect(number)
    first = open_champion(own.store, NAME)
    data = first.card.data | {"collected_parts": [f"result-{number}" for number in range(2, NEW)], key: ["result-5"]}
    made = store_recalibrated(first, msgspec.structs.replace(first.card, data=data), first.calibration, own.store)
    promote(own.store, NAME, made.version, Change("calibrate"))
    own.collect(50, "NotOK", part_id="part-5")
    assert retrain(order_of(own)).outcome == "nothing_new"
    own.mark("result-50", "defect")
    assert retrain(order_of(own, promote=True)).outcome == "candidate"
    assert sorted(shown_to(own, "0003")) == [f"result-{number}" for number in range(NEW - 1)]
    assert retrain(order_of(own)).outcome == "nothing_new"


def test_a_curated_scan_stays_left_out_when_the_station_has_pruned_it_with_what_was_said(own: Plant, tmp_path: Path, passing: None) -> None:
    for number in range(4 * NEW):
        own.collect(number)
    data = exported(own, tmp_path / "data")
    own.mark("result-5", "defect")
    assert retrain(order_of(own, data=data, unit="mm", promote=True)).outcome == "candidate"
    shutil.rmtree(own.state / "collected")
    assert retrain(order_of(own)).outcome == "nothing_new"
    for number in range(30, 30 + NEW):
        own.collect(number)
    assert retrain(order_of(own, promote=True)).outcome == "candidate"
    assert "result-5" not in open_champion(own.store, NAME).card.data["scans"]
    assert [path.name for path in versions(own.store / NAME)] == ["0001", "0002", "0003"]


def test_a_curated_scan_that_was_left_out_is_learned_from_again_once_somebody_calls_it_good(own: Plant, tmp_path: Path) -> None:
    for number in range(4 * NEW):
        own.collect(number)
    order = order_of(own, data=exported(own, tmp_path / "data"), unit="mm")
    own.mark("result-5", "defect")
    noted_as(own, left_out_scans=["result-5"])
    assert planned(order).base_left_out == ("result-5",)
    own.mark("result-5", "good")
    plan = planned(order)
    assert plan.base_left_out == () and len(plan.base_train) + len(plan.base_validation) == 4 * NEW


def test_what_is_called_a_defect_is_left_out_and_missed_whether_it_was_to_train_on_or_to_set_the_threshold_from(
    own: Plant, tmp_path: Path
) -> None:
    for number in range(4 * NEW):
        own.collect(number)
    order = order_of(own, data=exported(own, tmp_path / "data"), unit="mm")
    for number in range(50, 50 + 2 * NEW):
        own.collect(number)
    before = planned(order)
    of_use = {use: before.of(use)[0].result_id for use in ("train", "validation", "gate")}
    curated = [Path(names[0]).stem for names in (before.base_train, before.base_validation)]
    assert defects_since(order, before) == []
    for result_id in (*of_use.values(), *curated):
        own.mark(result_id, "defect")
    assert defects_since(order, before) == sorted([of_use["train"], of_use["validation"], *curated])
    assert planned(order).base_left_out == tuple(sorted(curated))


def test_a_curated_scan_in_doubt_is_refused_once_with_its_part_and_so_is_one_whose_review_is_lost(own: Plant, tmp_path: Path) -> None:
    for number in range(4 * NEW):
        own.collect(number)
    order = order_of(own, data=exported(own, tmp_path / "data"), unit="mm")
    own.mark(own.collect(50, "NotOK", part_id="part-5"), "defect")
    own.collect(51)
    (own.state / "collected" / NAME / "result-51").joinpath(REVIEW).write_text("{")
    refused = [(each.result_id, each.part_id, each.reason) for each in planned(order).refused if each.code == "defect"]
    assert refused == [
        ("result-5", "part-5", "it is a curated scan, and since then somebody has called it, or another scan of the part, a defect"),
        ("result-51", "part-51", "its review cannot be read any more; expected it to be marked as good"),
    ]


def test_another_scan_of_a_curated_part_stays_in_its_split(own: Plant, tmp_path: Path) -> None:
    for number in range(2 * NEW):
        own.collect(number)
    data = exported(own, tmp_path / "data")
    names = {split: {path.stem for path in (data / split / "good" / "rgb").iterdir()} for split in ("train", "validation")}
    for number in range(2 * NEW):  # as after somebody turned it: nothing but its id tells that it is the same
        own.collect(100 + number, scan=good_part(100 + number), part_id=f"part-{number}")
    for amounts in (ALL_GATE, ALL_TRAIN):
        plan = planned(order_of(own, amounts=amounts, data=data, unit="mm"))
        for split in ("train", "validation"):
            again = {f"result-{int(part.result_id.removeprefix('result-')) - 100}" for part in plan.parts if part.use == split}
            assert again == names[split]


def test_a_second_camera_with_few_good_parts_calls_its_parts_what_all_that_it_delivered_calls_them(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    for number in (20, 21):  # on two sides, if each were a part of its own
        own.collect(number, source_id="turned", part_id="bolt")
    own.collect(22, "NotOK", source_id="turned", part_id="nut")
    own.collect(23, source_id="alike", part_id="pin")  # on another side than a part of that name
    own.collect(24, "NotOK", source_id="alike", part_id="pin")

    def uses() -> dict[str, str]:
        return {part.result_id: part.use for part in planned(order_of(own)).parts}

    before = uses()
    own.mark("result-24", "good")
    after = uses()
    assert before["result-20"] == before["result-21"]
    assert before["result-23"] == after["result-23"]


def test_the_gate_goes_by_what_parts_are_called_when_it_judges(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    own.mark(own.collect(50, "NotOK"), "defect")
    own.collect(51, "NotOK", part_id="part-1")
    golden = [scan.name for scan in read_golden(open_champion(own.store, NAME).path)]
    own.collect(60, "NotOK", result_id=golden[0])
    order = replace(order_of(own, amounts=ALL_GATE), limits=msgspec.structs.replace(order_of(own).limits, fewest_good=1))
    plan = planned(order)

    def judged_by() -> list[list[str]]:
        found = evidence_of(order, plan)
        return [sorted(part.part_id for part in parts) for parts in (found.good, found.defects, found.golden)]

    everything = [f"part-{number}" for number in range(NEW)]
    assert judged_by() == [everything, ["part-50"], sorted(golden)]
    own.mark("result-0", "defect")
    own.mark("result-50", "good")
    own.mark("result-51", "defect")
    own.mark(golden[0], "defect")
    assert judged_by() == [everything[2:], ["part-0"], sorted(golden[1:])]
