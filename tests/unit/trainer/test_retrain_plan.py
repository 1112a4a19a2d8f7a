"""The plan of a retraining: what it names stays, whatever the station prunes meanwhile."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mdss.collection import RGB, XYZ, CollectedPart, CollectedScan, Collection, Review
from mdss.errors import BadInput, MdssError
from mdss.method.presets import preset
from mdss.part_names import Named
from mdss.settings import Settings, StationSettings
from mdss.whole_files import write_json
from tests.fakes import refuses_with
from tests.lines import write_tiny_line
from tests.retraining import good_part
from trainer import retrain_plan
from trainer.data_checks import Code, Refused
from trainer.dataset import Dataset
from trainer.gathering import Shares, Side, gather, sides_among
from trainer.retrain_order import RetrainAmounts, RetrainOrder
from trainer.retrain_outcome import RetrainEnded
from trainer.retrain_plan import (
    PARTS,
    PLAN,
    Plan,
    PlannedPart,
    Use,
    assign_uses,
    base_set,
    collected_set,
    last_refusals,
    link_parts,
    read_plan,
)
from trainer.retrain_planning import may_be_learned, require_enough, require_new_parts
from trainer.retrain_run import summary

HALVES = Shares(validation=0.5, gate=0.0)


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection(tmp_path / "collected")


def collected(collection: Collection, number: int) -> CollectedScan:
    part = CollectedPart(
        result_id=f"r{number}", part_id=f"p{number}", source_id="cam", recipe_id="cap", captured_ns=1, judged_ns=1, evaluation="OK"
    )
    scan = good_part(number)
    collection.add(part, scan.rgb, scan.xyz_mm)
    found = collection.find(part.result_id)
    assert found is not None
    return found


def sides_of(parts: list[CollectedScan], shares: Shares) -> Callable[[Named], Side]:
    return sides_among((each.part for each in parts), None, shares)


def plan_of(parts: list[CollectedScan], defects: list[CollectedScan], base: Dataset | None = None) -> Plan:
    return Plan(
        recipe=preset("demo"),
        champion="0001",
        base=str(base.root) if base else None,
        base_train=base.relative_names(base.train) if base else (),
        base_validation=base.relative_names(base.validation) if base else (),
        parts=assign_uses(parts, defects, frozenset({"r0"}), sides_of(parts, HALVES)),
        made_at="now",
    )


def test_what_the_station_prunes_is_still_there_for_the_training(collection: Collection, tmp_path: Path) -> None:
    parts = [collected(collection, number) for number in range(3)]
    scans = [each.read() for each in parts]
    assert link_parts(parts, tmp_path / "work") == parts
    collection.prune(0)
    assert collection.parts() == []
    plan = plan_of(parts, [])
    found = collected_set(tmp_path / "work", plan)
    for scans_of_use, use in ((found.train, "train"), (found.validation, "validation")):
        assert [scan.name for scan in scans_of_use] == [part.result_id for part in plan.of(use)]  # type: ignore[arg-type]
        assert {scan.split for scan in scans_of_use} <= {use}
    assert len(found.train) + len(found.validation) == 3
    for scan in (*found.train, *found.validation):
        loaded = found.load(scan)
        rgb, xyz_mm = scans[int(scan.name[1:])]
        assert (loaded.rgb == rgb).all() and ((loaded.xyz_mm == xyz_mm) | (loaded.xyz_mm != loaded.xyz_mm)).all()


def test_scans_are_linked_and_take_no_room_of_their_own(collection: Collection, tmp_path: Path) -> None:
    part = collected(collection, 0)
    link_parts([part], tmp_path / "work")
    assert (part.folder / XYZ).samefile(tmp_path / "work" / PARTS / "r0" / XYZ)


def test_where_nothing_can_be_linked_scans_are_copied(collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuses_with(errno.EPERM))
    part = collected(collection, 0)
    assert link_parts([part], tmp_path / "work") == [part]
    assert (tmp_path / "work" / PARTS / "r0" / RGB).read_bytes() == (part.folder / RGB).read_bytes()


def test_a_disk_without_room_for_the_scans_is_named_and_given_back_what_was_taken(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_source: Path, target: Path) -> None:
        if target.parent.name == "r1":
            raise OSError(28, "No space left on device")  # as a write says it, without a name
        target.write_bytes(b"a scan")

    monkeypatch.setattr(retrain_plan, "link_or_copy", refuse)
    work = tmp_path / "work"
    with pytest.raises(MdssError, match=rf"{work}: scans cannot be kept for the training \(No space left on device\)"):
        link_parts([collected(collection, number) for number in range(2)], work)
    assert not work.exists()


def test_a_part_that_goes_at_this_very_moment_is_left_out(collection: Collection, tmp_path: Path) -> None:
    parts = [collected(collection, number) for number in range(2)]
    shutil.rmtree(parts[0].folder)
    assert link_parts(parts, tmp_path / "work") == parts[1:]
    assert not (tmp_path / "work" / PARTS / "r0").exists()


def test_a_plan_says_what_each_part_is_for_and_what_is_new(collection: Collection) -> None:
    parts = [collected(collection, number) for number in range(8)]
    plan = plan_of(parts[:7], parts[7:])
    assert [each.result_id for each in plan.of("defect")] == ["r7"]
    assert len(plan.of("train")) + len(plan.of("validation")) == len(plan.learned) == 7
    assert plan.new == 6  # r0 was learned before


def test_the_sentence_about_a_plan_counts_each_kind_of_part_for_itself() -> None:
    uses: tuple[Use, ...] = (*3 * ("train",), *4 * ("validation",), *5 * ("gate",), *6 * ("defect",))
    parts = [PlannedPart(result_id=f"r{number}", part_id="", use=use, is_new=number != 0) for number, use in enumerate(uses)]
    refused = tuple(Refused("x", "", code, "why") for code in ("dark", "dark", "defect"))
    plan = msgspec.structs.replace(
        plan_of([], []), base_train=("a",), base_validation=("b", "c"), parts=tuple(parts), refused=refused, unreviewed=7
    )  # fmt: skip
    assert summary(plan) == (
        "1 curated and 3 collected parts to train on, 2 and 4 for the threshold, 5 to judge by; "
        "11 are new, 3 refused (2 dark, 1 defect), 7 unreviewed, 6 confirmed defects"
    )
    assert ", 0 refused, " in summary(msgspec.structs.replace(plan, refused=()))


def test_curated_and_collected_parts_count_together_towards_the_fewest_and_what_lacks_is_named(tmp_path: Path) -> None:
    order = RetrainOrder(Settings(station=StationSettings(state_directory=str(tmp_path))), "cap", amounts=RetrainAmounts(least_new=3))
    uses: tuple[Use, ...] = ("train", "validation", "validation", "defect", "defect")
    parts = [PlannedPart(result_id=f"r{number}", part_id="", use=use) for number, use in enumerate(uses)]
    enough = msgspec.structs.replace(plan_of([], []), base_train=("a", "b"), base_validation=("c", "d", "e"), parts=tuple(parts))
    require_enough(order, enough)
    lacking = (
        "found 2 parts to train on, expected at least 3: 1 more is needed; found 4 parts to set the threshold from, expected at least 5"
    )
    with pytest.raises(RetrainEnded, match=rf"{lacking}.*\. Refused: none; "):
        require_enough(order, msgspec.structs.replace(enough, base_train=("a",), base_validation=("c", "d")))


def test_parts_beyond_the_budget_are_no_new_ones_because_nothing_would_be_learned_from_them(collection: Collection, tmp_path: Path) -> None:
    settings = Settings(station=StationSettings(state_directory=str(tmp_path)))
    for number in range(4):
        collected(collection, number)
        collection.label(f"r{number}", Review(label="good", by="x", at_ns=1))
    gathered = gather(collection, "cap")
    learned = frozenset(each.part.result_id for each in gathered.good[:2])
    for budget, found in ((2, 0), (3, 1), (4, 2)):
        order = RetrainOrder(settings, "cap", amounts=RetrainAmounts(budget=budget, least_new=3))
        with pytest.raises(RetrainEnded, match=f"^found {found} new good parts, expected at least 3"):
            require_new_parts(order, gathered, learned, "0001")


@pytest.mark.parametrize(
    ("refused_as", "label", "is_open"),
    [(None, None, True), ("not_normal", None, False), ("not_normal", "good", True), ("dark", None, False), ("dark", "good", False)],
)
def test_a_refused_part_is_worth_another_look_if_a_person_can_and_does_overrule_the_reason(
    collection: Collection, refused_as: Any, label: Any, is_open: bool
) -> None:
    collected(collection, 0)
    if label:
        collection.label("r0", Review(label=label, by="x", at_ns=1))
    part = collection.find("r0")
    assert part is not None and may_be_learned(part, refused_as) == is_open


def test_what_one_champion_would_not_accept_is_asked_of_another_again_and_so_is_what_people_said(tmp_path: Path) -> None:
    codes: tuple[Code, ...] = ("dark", "not_normal", "defect")
    plan = msgspec.structs.replace(plan_of([], []), refused=tuple(Refused(code, "", code, "why") for code in codes))
    write_json(tmp_path / "cap.json", plan)
    for champion, kept in (("0001", ["dark", "not_normal"]), ("0002", ["dark"])):
        assert [each.code for each in last_refusals(tmp_path / "cap.json", champion, 0.5)] == kept
    assert last_refusals(tmp_path / "none.json", "0001", 0.5) == ()
    (tmp_path / "cap.json").write_bytes(b"{")
    assert last_refusals(tmp_path / "cap.json", "0001", 0.5) == ()


@pytest.mark.parametrize(("allowed", "is_kept"), [(0.2, True), (0.3, True), (0.4, False)])
def test_a_part_that_lacked_too_many_points_is_asked_again_once_it_may_lack_more(tmp_path: Path, allowed: float, is_kept: bool) -> None:
    refused = (Refused("r0", "", "missing_points", "why"),)
    write_json(tmp_path / "cap.json", msgspec.structs.replace(plan_of([], []), refused=refused, max_invalid_ratio=0.3))
    assert last_refusals(tmp_path / "cap.json", "0001", allowed) == (refused if is_kept else ())


def test_where_a_camera_calls_every_part_alike_a_plan_has_them_on_every_side() -> None:
    alike = CollectedPart(result_id="", part_id="pin", source_id="cam", recipe_id="cap", captured_ns=1, judged_ns=1, evaluation="OK")
    parts = [CollectedScan(Path(), msgspec.structs.replace(alike, result_id=f"r{number}")) for number in range(30)]
    assert {each.use for each in assign_uses(parts, [], frozenset(), sides_of(parts, Shares()))} == {"train", "validation", "gate"}


def test_a_plan_is_read_as_it_was_written_and_none_where_there_is_none(collection: Collection, tmp_path: Path) -> None:
    assert read_plan(tmp_path) is None
    part = collected(collection, 0)
    link_parts([part], tmp_path)
    write_json(tmp_path / PLAN, plan_of([part], []))
    assert read_plan(tmp_path) == plan_of([part], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["collected", PARTS, PLAN]


def test_a_plan_of_an_earlier_release_is_gone_on_with_whatever_more_it_says_of_a_part(collection: Collection, tmp_path: Path) -> None:
    part = collected(collection, 0)
    link_parts([part], tmp_path)
    plan = msgspec.to_builtins(plan_of([part], []))
    assert "is_marked_good" not in plan["parts"][0]  # as they had it
    plan["parts"][0]["is_marked_good"] = True
    write_json(tmp_path / PLAN, plan)
    assert read_plan(tmp_path) == plan_of([part], [])


@pytest.mark.parametrize("file", [RGB, XYZ])
def test_a_plan_whose_scans_are_gone_is_not_gone_on_with(collection: Collection, tmp_path: Path, file: str) -> None:
    part = collected(collection, 0)
    link_parts([part], tmp_path)
    write_json(tmp_path / PLAN, plan_of([part], []))
    (tmp_path / PARTS / "r0" / file).unlink()
    with pytest.raises(BadInput, match=rf"{file}: no such file; expected a scan that"):
        read_plan(tmp_path)


def test_a_damaged_plan_is_named(tmp_path: Path) -> None:
    (tmp_path / PLAN).write_bytes(b'{"recipe": 1}')
    with pytest.raises(BadInput, match=r"plan\.json: .*expected the plan of a retraining"):
        read_plan(tmp_path)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_curated_scans_that_changed_meanwhile_are_not_mixed_in(tmp_path: Path, split: str) -> None:
    write_tiny_line(tmp_path / "data")
    base = Dataset.open(tmp_path / "data", "m")
    plan = plan_of([], [], base)
    found = base_set(plan)
    assert found is not None and found.train == base.train
    assert base_set(msgspec.structs.replace(plan, base=None)) is None
    for folder, suffix in (("rgb", "png"), ("xyz", "tiff")):
        first = tmp_path / "data" / split / "good" / folder / f"000.{suffix}"
        shutil.copy(first, first.with_stem("new"))
    with pytest.raises(BadInput, match="found other scans than those of the plan"):
        base_set(plan)


def test_curated_scans_of_the_same_names_and_another_size_are_not_mixed_in_either(tmp_path: Path) -> None:
    write_tiny_line(tmp_path / "data")
    base = Dataset.open(tmp_path / "data", "m")
    old = plan_of([], [], base)  # of a release that noted no digest
    plan = msgspec.structs.replace(old, base_digest=base.digest)
    assert base_set(plan) is not None
    with base.train[0].rgb_path.open("ab") as file:
        file.write(b"another")
    assert base_set(old) is not None
    with pytest.raises(BadInput, match="found other scans than those of the plan"):
        base_set(plan)
