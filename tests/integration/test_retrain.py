"""`mdss retrain`, from collected parts to a candidate: what it learns from, how it ends, and that a power cut costs nothing."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mdss.audit import events
from mdss.cli import main
from mdss.errors import BadInput, CutOff, MdssError, ModelRefused
from mdss.method.golden import read_golden
from mdss.method.model_store import ModelFolder, linked_version, open_champion, open_version, promote, rollback, versions
from mdss.method.store_lock import StoreBusy
from mdss.retraining import RetrainRecord, read_records, write_record
from tests.retraining import FEW, NEW, Plant, answered, good_part, noted_as, order_of, record_of, shown_to, work_of
from tests.station import NAME
from trainer import examination, retrain_run
from trainer.gate_terms import GateLimits
from trainer.gathering import Shares
from trainer.model_maker import store_recalibrated
from trainer.retrain_gate import evidence_of
from trainer.retrain_outcome import only_training
from trainer.retrain_planning import plan_of, recipe_of
from trainer.retrain_run import retrain

pytestmark = pytest.mark.timeout(300)  # they wait for nothing but the processor
LENIENT = GateLimits(  # two networks of a few steps: what the gate asks is shown elsewhere
    fewest_good=5, tolerated_rejects=1, allowed_misses=1, allowed_auroc=1, allowed_shift=1e9, slowest_ratio=1e9, largest_ratio=1e9
)  # fmt: skip


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
    assert result.parts_refused == open_version(folder / "0002").card.data["refused_parts"] == {"duplicate": 1}
    assert (record_of(own).outcome, record_of(own).parts_used, record_of(own).parts_refused) == ("candidate", result.parts_used, 1)
    assert not work_of(own).exists()
    assert [(each.what, each.after) for each in events(folder)] == [("train", "0001"), ("candidate", "0002")]
    assert "8 curated and " in events(folder)[-1].why
    assert events(folder)[-1].why.endswith("1 refused (1 duplicate), 1 unreviewed, 1 confirmed defects")
    again = retrain(order_of(own))
    assert (again.outcome, again.exit_code) == ("nothing_new", 3)
    assert "1 that were not accepted wait for a person to review them" in again.sentence
    assert [path.name for path in versions(folder)] == ["0001", "0002"]


def test_a_champion_by_retraining_knows_the_curated_scans_and_the_next_one_learns_all_that_is_there(own: Plant, passing: None) -> None:
    for number in range(NEW):
        own.collect(number)
    assert retrain(order_of(own, promote=True)).outcome == "candidate"
    first = open_champion(own.store, NAME)
    assert (first.version, linked_version(own.store / NAME, "previous")) == ("0002", "0001")
    assert "8 curated and " in events(own.store / NAME)[-1].why and f"{NEW} are new, 0 refused" in events(own.store / NAME)[-1].why
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
    monkeypatch.setattr(retrain_run, "run_gate", lambda _order, _plan, model: answered(model, is_passed=False))
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
    monkeypatch.setattr(retrain_run, "train_plan", ended)
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


def test_what_was_linked_for_a_training_that_does_not_begin_is_let_go(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number, scan=good_part(number, "potato" if number else "flange"))
    result = retrain(order_of(own))
    assert (result.outcome, result.parts_new, result.parts_refused) == ("refused_data", 1, {"another_product": NEW - 1})
    assert not work_of(own).exists()


def test_of_simulated_parts_alone_it_says_that_they_are_left_out(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number, is_simulated=True)
    said = retrain(order_of(own)).sentence
    assert said == f"found 0 new good parts, expected at least {NEW} (--least-new); {NEW} simulated ones are left out (--with-simulated)"


def test_curated_scans_that_are_still_in_the_collection_stay_in_their_split_however_many_there_are(
    own: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2 * NEW):
        own.collect(number)
    assert main(["collection", "export", "--config", str(own.config), "--recipe", NAME, "--out", str(tmp_path / "data")]) == 0
    for number in range(20, 20 + NEW):
        own.collect(number)
    monkeypatch.setattr(examination, "MOST_COMPARED", 3)  # as if there were hundreds
    order, champion = order_of(own, data=tmp_path / "data", unit="mm"), open_champion(own.store, NAME)
    plan = plan_of(order, champion.recipe, champion)
    assert len(plan.base_train) + len(plan.base_validation) == 2 * NEW
    assert sorted(part.result_id for part in plan.parts) == [f"result-{number}" for number in range(20, 20 + NEW)]
    assert [each.code for each in plan.refused] == ["duplicate"] * 2 * NEW


def test_a_curated_scan_that_is_called_a_defect_later_is_learned_from_no_more(own: Plant, tmp_path: Path, passing: None) -> None:
    for number in range(4 * NEW):
        own.collect(number)
    assert main(["collection", "export", "--config", str(own.config), "--recipe", NAME, "--out", str(tmp_path / "data")]) == 0
    assert retrain(order_of(own, data=tmp_path / "data", unit="mm", promote=True)).outcome == "candidate"
    assert retrain(order_of(own)).outcome == "nothing_new"
    own.mark("result-5", "defect")
    result, learned = retrain(order_of(own, promote=True)), open_champion(own.store, NAME).card.data
    assert (result.outcome, result.parts_refused["defect"]) == ("candidate", 1)
    assert sorted(learned["scans"]) == sorted(f"result-{number}" for number in range(4 * NEW) if number != 5)
    assert learned["training_scans"] + learned["validation_scans"] == 4 * NEW - 1
    assert retrain(order_of(own)).outcome == "nothing_new"


def test_what_one_champion_would_not_accept_is_open_again_under_another(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    first = open_champion(own.store, NAME)
    strict = msgspec.structs.replace(first.calibration.threshold, value=1e-9)
    made = store_recalibrated(first, first.card, msgspec.structs.replace(first.calibration, threshold=strict), own.store)
    promote(own.store, NAME, made.version)
    assert retrain(order_of(own)).parts_refused == {"not_normal": NEW}
    assert retrain(order_of(own)).outcome == "nothing_new"
    rollback(own.store, NAME)
    parts = [*plan_of(order_of(own, amounts=replace(FEW, least_new=1)), first.recipe, first).parts]
    assert parts and all(part.is_new for part in parts)


def test_a_first_model_comes_from_curated_scans_alone(own: Plant, passing: None) -> None:
    recipe = open_champion(own.store, NAME).recipe
    shutil.rmtree(own.store)
    with pytest.raises(BadInput, match=r"no champion in .* and no --data"):
        retrain(order_of(own))
    settings = tuple(
        f"rgb.{name}={getattr(recipe.rgb, name)}" for name in ("teacher", "steps", "student_width", "window_px", "warmup_steps")
    )
    small = (*settings, "sdf.steps=4", "sdf.damaged_copies=0", "point_cloud.size_px=96", "sdf.points_per_patch=64")
    result = retrain(order_of(own, data=own.data, preset="demo", assignments=small))
    assert (result.outcome, result.version, result.parts_used) == ("candidate", "0001", 0)


def test_a_teacher_that_a_retraining_is_told_is_found_by_the_next_one_from_another_folder(
    own: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = open_champion(own.store, NAME)
    teacher = Path(champion.recipe.rgb.teacher)
    monkeypatch.chdir(teacher.parent)
    assert recipe_of(order_of(own, assignments=(f"rgb.teacher={teacher.name}",)), champion).rgb.teacher == str(teacher)


def test_the_second_of_two_timers_ends_at_once(own: Plant) -> None:
    before = retrain(order_of(own))
    with only_training(own.store / NAME, NAME):
        result = retrain(order_of(own))
    assert (before.outcome, result.outcome, result.exit_code) == ("nothing_new", "busy", 6)
    assert f"held by process {os.getpid()} of" in result.sentence
    assert record_of(own).outcome == "nothing_new"  # the record is the first one's


def test_a_recipe_or_a_setting_that_does_not_exist_is_a_matter_of_usage_and_no_attempt(own: Plant) -> None:
    before = RetrainRecord(recipe=NAME, outcome="held_back", started_ns=1, ended_ns=2, version="0007")
    write_record(order_of(own).folder, before)
    with pytest.raises(BadInput, match=r"recipe setting 'rgb\.stepps'"):
        retrain(order_of(own, assignments=("rgb.stepps=3",)))
    with pytest.raises(BadInput, match=r"recipe nope: found no champion in .* and no --data"):
        retrain(order_of(own, name="nope"))
    with pytest.raises(BadInput, match=r"nowhere: no such folder"):
        retrain(order_of(own, name="nope", data=own.state / "nowhere"))
    assert read_records(order_of(own).folder) == (before,)
    assert [path.name for path in own.store.iterdir()] == [NAME]
    assert main(["retrain", "--config", str(own.config.with_name("none.yaml")), "--recipe", NAME]) == 2


def test_a_champion_that_is_damaged_is_found_by_an_attempt(own: Plant) -> None:
    (own.store / NAME / "0001" / "calibration.json").write_bytes(b"{}")
    with pytest.raises(ModelRefused, match=r"calibration\.json: found the checksum"):
        retrain(order_of(own))
    assert record_of(own).outcome == "failed"


def test_the_newest_good_parts_come_first_in_the_gate_whether_somebody_marked_them_or_not(own: Plant) -> None:
    for number in range(NEW):
        own.collect(number)
    own.mark("result-0", "good")
    order, champion = order_of(own, amounts=replace(FEW, shares=Shares(validation=0, gate=0.999))), open_champion(own.store, NAME)
    good = evidence_of(order, plan_of(order, champion.recipe, champion)).good
    assert [part.part_id for part in good[:NEW]] == [f"part-{number}" for number in reversed(range(NEW))]


@pytest.mark.parametrize("key", ["calibrated_parts", "collected_parts"])  # the second where shares changed since it was trained
def test_parts_that_the_champion_or_its_threshold_came_from_judge_only_where_too_few_others_are_there(own: Plant, key: str) -> None:
    for number in range(NEW):
        own.collect(number)
    amounts = replace(FEW, least_new=1, shares=Shares(validation=0, gate=0.999))
    order, champion = order_of(own, amounts=amounts), noted_as(own, **{key: [f"result-{NEW - 1}"]})
    plan = plan_of(order, champion.recipe, champion)
    fresh = [f"part-{number}" for number in reversed(range(NEW - 1))]
    for fewest, expected in ((1, fresh), (1000, [*fresh, f"part-{NEW - 1}"])):
        asked = replace(order, limits=msgspec.structs.replace(order.limits, fewest_good=fewest))
        collected = [part.part_id for part in evidence_of(asked, plan).good if not part.part_id.startswith("test/")]
        assert collected == expected


def test_a_part_behind_the_champions_threshold_is_no_new_one_when_it_comes_again(own: Plant) -> None:
    numbers = range(NEW)
    order = order_of(own, amounts=replace(FEW, least_new=1, shares=Shares(validation=0, gate=0.999)))
    champion = noted_as(own, calibrated_parts=[own.collect(number) for number in numbers][:1])
    own.collect(53, scan=good_part(0), part_id="part-0")  # the older scan is refused as a duplicate, so no plan names it
    plan = plan_of(order, champion.recipe, champion)
    asked = replace(order, limits=msgspec.structs.replace(order.limits, fewest_good=1))
    assert [part.part_id for part in evidence_of(asked, plan).good] == [f"part-{number}" for number in reversed(numbers) if number]


def test_where_the_curated_scans_are_gone_collected_parts_that_became_golden_are_learned_from_as_others_are(own: Plant) -> None:
    champion = noted_as(own, folder="")
    golden = read_golden(champion.path)
    for number, scan in enumerate(golden):
        own.collect(number, scan=replace(good_part(number), rgb=scan.rgb, xyz_mm=scan.xyz_mm))
    plan = plan_of(order_of(own, amounts=replace(FEW, least_new=1)), champion.recipe, champion)
    assert (len(plan.parts), plan.refused) == (len(golden), ())


def test_curated_scans_that_are_away_are_missed_aloud_and_those_that_no_card_names_are_not(
    own: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(NEW):
        own.collect(number)
    said = []
    for folder in (str(tmp_path / "not mounted"), ""):
        champion = noted_as(own, folder=folder)
        plan = plan_of(order_of(own, amounts=FEW), champion.recipe, champion)
        assert (plan.base, len(plan.base_train)) == (None, 0)
        said.append([line for line in capsys.readouterr().err.splitlines() if "curated" in line])
    lost = f"retrain: the champion's curated scans are not at {tmp_path}/not mounted, or this user may not read them"
    assert said == [[f"{lost}: learning from collected parts alone; --data names another folder"], []]
