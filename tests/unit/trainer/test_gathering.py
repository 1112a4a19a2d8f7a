"""What a retraining may learn from, and on which side a part lies."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mdss.collection import CollectedPart, CollectedScan, Review
from mdss.errors import BadInput
from mdss.method.model_store import ModelFolder
from mdss.part_names import name_among
from tests.fakes import refuses_with
from tests.lines import write_tiny_line
from trainer.dataset import Dataset
from trainer.gathering import (
    LEARNED,
    SCANS,
    SHOWN,
    Shares,
    base_of,
    calibrated_by,
    collection_at,
    gather,
    is_made_from,
    learned_by,
    made_from,
    parts_new_to,
    require_start,
    side_of,
)


def part(result_id: str, judged_ns: int = 1, label: str | None = None, **fields: Any) -> CollectedScan:
    given: dict[str, Any] = {"part_id": result_id, "source_id": "cam", "recipe_id": "cap", "captured_ns": 1}
    given |= {"evaluation": "OK", "score": 0.5} | fields
    review = Review(label=label, by="x", at_ns=1) if label else None  # type: ignore[arg-type]
    return CollectedScan(Path(result_id), CollectedPart(result_id=result_id, judged_ns=judged_ns, **given), review)


def sides_of(parts: list[CollectedScan], shares: Shares) -> list[str]:
    name_of = name_among(each.part for each in parts)
    return [side_of(name_of(each.part), shares) for each in parts]


class Given:
    """A collection that holds what it is given, the newest first."""

    def __init__(self, *parts: CollectedScan) -> None:
        self._parts = sorted(parts, key=lambda each: -each.part.judged_ns)

    def parts(self, wanted: Any) -> list[CollectedScan]:
        """Return what is asked for."""
        assert wanted.newest_first
        return [each for each in self._parts if wanted.matches(each)]


def ids(parts: tuple[CollectedScan, ...]) -> list[str]:
    return [each.part.result_id for each in parts]


def test_accepted_parts_and_those_marked_as_good_are_learned_from_and_nothing_else() -> None:
    accepted = (part("old-ok", 1), part("new-ok", 9), part("missed", 7, "defect"), part("elsewhere", 8, recipe_id="nut"))
    rejected = (part("false-reject", 2, "good", evaluation="NotOK"), part("confirmed", 6, "defect", evaluation="NotOK"))
    unknown = (part("rejected", 3, evaluation="NotOK"), part("unsure", 4, evaluation="NotDecidable"))
    late = part("late", 5, evaluation="Undefined", code="LATE")
    found = gather(cast("Any", Given(*accepted, *rejected, *unknown, late)), "cap")
    assert ids(found.good) == ["false-reject", "new-ok", "old-ok"]
    assert ids(found.defects) == ["missed", "confirmed"]
    assert found.unreviewed == 3


def test_a_part_that_is_a_defect_by_one_scan_is_good_by_another_only_where_somebody_says_so() -> None:
    dent, again, mended = part("dent", 1, "defect", part_id="p"), part("again", 2, part_id="p"), part("mended", 3, "good", part_id="p")
    alone = part("alone", 4, score=None)
    given = cast("Any", Given(dent, again, mended, alone, part("other", 5)))
    found = gather(given, "cap")
    assert (ids(found.good), ids(found.defects), ids(found.contested), found.unreviewed) == (["mended", "other"], ["dent"], ["again"], 1)
    assert found.bad == {"dent", "again"}
    lost = replace(part("lost"), is_review_lost=True)
    assert (ids(gather(cast("Any", Given(lost)), "cap").contested), ids(gather(cast("Any", Given(lost)), "cap").good)) == (["lost"], [])
    nameless = cast("Any", Given(*(part(f"r{number}", label="defect" if number else None, part_id="pin") for number in range(3))))
    assert ids(gather(nameless, "cap").good) == ["r0"]


def test_simulated_parts_are_left_out_unless_they_are_asked_for() -> None:
    given = cast("Any", Given(part("real", 1), part("played", 2, is_simulated=True)))
    assert (ids(gather(given, "cap").good), gather(given, "cap").simulated) == (["real"], 1)
    assert ids(gather(given, "cap", with_simulated=True).good) == ["played", "real"]
    others = cast("Any", Given(*(part(f"played-{number}", number, is_simulated=True) for number in range(3)), part("real", 9)))
    assert (gather(others, "cap").simulated, gather(others, "cap", with_simulated=True).simulated) == (3, 0)


def test_of_simulated_parts_the_good_ones_alone_are_missed_where_good_parts_are_too_few() -> None:
    played = [part(f"r{number}", is_simulated=True) for number in range(3)]
    bad = part("bad", evaluation="NotOK", is_simulated=True), part("dent", label="defect", is_simulated=True)
    assert gather(cast("Any", Given(part("real", 9), *played, *bad)), "cap").simulated == 3


def test_a_model_is_made_from_collected_parts_and_from_those_that_were_exported_before() -> None:
    model: Any = SimpleNamespace(card=SimpleNamespace(data={LEARNED: ["collected"], SCANS: ["exported"], SHOWN: ["judging"]}))
    assert made_from(model) == {"collected", "exported"}
    assert learned_by([model]) == {"collected", "exported", "judging"}


def test_a_part_stays_on_its_side_whatever_else_is_collected_and_however_often_it_is_scanned() -> None:
    parts = [part(f"r{number}", part_id=f"p{number}") for number in range(1000)]
    shares = Shares(validation=0.3, gate=0.2)
    sides = sides_of(parts, shares)
    assert sides == sides_of(parts, shares)
    assert (sides.count("validation"), sides.count("gate"), sides.count("train")) == pytest.approx((300, 200, 500), abs=60)
    again = [replace(each, part=part(f"other-{number}", part_id=f"p{number}").part) for number, each in enumerate(parts)]
    assert sides_of(again, shares) == sides


def test_a_part_without_a_name_goes_by_its_result() -> None:
    sides = sides_of([part(f"r{number}", part_id="") for number in range(30)], Shares())
    assert set(sides) == {"train", "validation", "gate"}


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.2), (0.2, -0.1)])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(BadInput, match="expected both from 0 on and less than 1 together"):
        Shares(*shares)


def model(**data: Any) -> ModelFolder:
    return cast("ModelFolder", SimpleNamespace(card=SimpleNamespace(data=data)))


def test_the_curated_scans_are_those_of_the_champion_unless_others_are_named(tmp_path: Path) -> None:
    write_tiny_line(tmp_path / "own", unit="mm")
    write_tiny_line(tmp_path / "other")
    champion = model(folder=str(tmp_path / "own"), unit="mm")
    own, other = base_of(champion, None, None), base_of(champion, tmp_path / "other", None)
    assert own is not None and (own.root, own.unit) == (tmp_path / "own", "mm")
    assert other is not None and (other.root, other.unit) == (tmp_path / "other", "m")


@pytest.mark.parametrize("data", [{}, {"folder": ""}, {"folder": "/nowhere/at/all", "unit": "mm"}])
def test_a_champion_whose_scans_are_gone_has_no_curated_ones(data: dict[str, str]) -> None:
    assert base_of(model(**data), None, None) is None


def test_scans_in_a_home_that_is_closed_to_the_station_are_as_good_as_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for look in ("os.stat", "os.listdir"):
        monkeypatch.setattr(look, refuses_with(errno.EACCES))  # root, who may run this, sees everything
    assert base_of(model(folder=str(tmp_path)), None, None) is None


def test_scans_on_a_share_that_is_not_mounted_are_away_also_where_its_mount_point_is_there(tmp_path: Path) -> None:
    assert base_of(model(folder=str(tmp_path)), None, None) is None
    (tmp_path / "train").mkdir()
    with pytest.raises(BadInput, match=r"train/good/rgb: no such folder"):  # not away, but damaged
        base_of(model(folder=str(tmp_path)), None, None)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadInput, match=r"found nothing in it, expected train/good"):  # one that is named is not passed over
        base_of(None, empty, None)


def test_another_scan_of_a_part_that_was_learned_is_no_new_part() -> None:
    learned, again, new = part("r1", part_id="p1"), part("r2", part_id="p1"), part("r3", part_id="p2")
    nameless = [part("r4", part_id=""), part("r5", part_id="")]
    kept = [learned, again, new, *nameless]
    made = model(collected_parts=["r1", "r4"], calibrated_parts=["r3"])
    assert parts_new_to(made, kept, kept) == [new, nameless[1]]
    assert parts_new_to(made, kept, kept, calibrated_by(made)) == [nameless[1]]


def test_where_a_camera_calls_every_part_alike_each_scan_is_one() -> None:
    kept = [part(f"r{number}", part_id="pin") for number in range(3)]
    assert parts_new_to(model(collected_parts=["r1"]), kept, kept) == [kept[0], kept[2]]


def test_a_camera_that_calls_every_part_alike_does_so_beside_another_that_does_not() -> None:
    alike = [part(f"r{number}", part_id="pin") for number in range(3)]
    kept = [
        *alike,
        part("r3", part_id="p3", source_id="replay", is_simulated=True),
        part("r4", label="defect", part_id="p3", source_id="other"),
    ]
    assert parts_new_to(model(collected_parts=["r1"]), alike, kept) == [alike[0], alike[2]]
    given = cast("Any", Given(*kept, part("r5", 9, "defect", part_id="pin")))
    assert ids(gather(given, "cap").good) == ["r0", "r1", "r2"]


def test_without_champion_and_scans_there_is_nothing_to_begin_with(tmp_path: Path) -> None:
    require_start(model(), None, "cap", tmp_path)
    with pytest.raises(BadInput, match=f"found no champion in {tmp_path} and no --data"):
        require_start(None, None, "cap", tmp_path)


def test_a_model_says_which_parts_and_which_scans_it_has_learned(tmp_path: Path) -> None:
    write_tiny_line(tmp_path / "data")
    base = Dataset.open(tmp_path / "data", "m")
    assert learned_by([model(collected_parts=["a", "b"]), model(collected_parts=["b"], gate_parts=["c"]), model()]) == {"a", "b", "c"}
    before = model(digest=base.digest)
    assert is_made_from(base, before)
    assert is_made_from(base, model(training_scans=2, validation_scans=1))
    assert not is_made_from(base, model(training_scans=3, validation_scans=1))
    (tmp_path / "data" / "train" / "good" / "rgb" / "000.png").write_bytes(b"other")
    assert not is_made_from(base, before)


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("nowhere", "no such folder"),
        (".", "found a state directory, expected collected"),
        ("collected/flange", "found the scans of one recipe, expected collected, the folder of all"),
    ],
)
def test_a_folder_above_or_below_that_of_the_collected_parts_is_no_collection_without_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, sentence: str
) -> None:
    (tmp_path / "collected" / "flange" / "3f2a9c").mkdir(parents=True)
    (tmp_path / "collected" / "flange" / "3f2a9c" / "part.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=f"--collected {folder}: {sentence}"):
        collection_at(Path(folder))
    assert collection_at(Path("collected")).root == Path("collected")
