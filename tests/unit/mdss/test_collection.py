"""The collection on disk: parts are whole or not there, scans come back bit for bit, and what goes first when room is short."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdss import collection as module
from mdss.collection import PART, CollectedPart, CollectedScan, Collection, PartFilter, RemovalRank, Review, parts_to_remove
from mdss.errors import BadInput
from tests.fakes import refuses_with
from tests.machines import histories

SIDE = 64


def part(name: str, **fields: Any) -> CollectedPart:
    values: dict[str, Any] = {"part_id": f"part {name}", "source_id": "cam", "recipe_id": "cap", "captured_ns": 5, "judged_ns": 6}
    return CollectedPart(**values | {"result_id": name, "evaluation": "OK"} | fields)


def scan(seed: int = 0, side: int = SIDE) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return an image, and a cloud with missing points, an infinite one and numbers that have no short form."""
    drawn = np.random.default_rng(seed)
    xyz = drawn.normal(0.0, 40.0, (side, side, 3)).astype(np.float32)
    xyz[drawn.random((side, side)) < 0.3] = np.nan
    return drawn.integers(0, 256, (side, side, 3), np.uint8), xyz


def review(label: Any = "good", at_ns: int = 9) -> Review:
    return Review(label=label, by="anna", at_ns=at_ns)


@pytest.fixture
def kept(tmp_path: Path) -> Collection:
    return Collection(tmp_path / "collected")


def names(found: list[CollectedScan]) -> list[str]:
    return [each.part.result_id for each in found]


def test_a_part_comes_back_bit_for_bit(kept: Collection) -> None:
    rgb, xyz = scan()
    assert kept.add(part("a", score=1.5, evaluation="NotOK"), rgb, xyz)
    found = kept.find("a")
    assert found is not None and (found.part, found.review) == (part("a", score=1.5, evaluation="NotOK"), None)
    read_rgb, read_xyz = found.read()
    assert (read_rgb.dtype, read_rgb.tobytes()) == (rgb.dtype, rgb.tobytes())
    assert (read_xyz.dtype, read_xyz.tobytes()) == (xyz.dtype, xyz.tobytes())


def test_the_files_have_the_names_that_others_rely_on(kept: Collection) -> None:
    kept.add(part("a"), *scan())
    kept.label("a", review("defect"))
    assert sorted(path.name for path in (kept.root / "cap" / "a").iterdir()) == ["part.json", "review.json", "rgb.png", "xyz.tiff"]
    written = msgspec.json.decode((kept.root / "cap" / "a" / "review.json").read_bytes())
    assert written == {"label": "defect", "by": "anna", "at_ns": 9, "note": "", "entry": ""}


def test_a_part_that_is_there_is_not_written_again(kept: Collection) -> None:
    assert kept.add(part("a", score=1.0), *scan())
    assert not kept.add(part("a", score=2.0), *scan(1))
    assert [each.part.score for each in kept.parts()] == [1.0]


def test_parts_are_found_by_recipe_label_evaluation_and_time_in_either_order(kept: Collection) -> None:
    for number, evaluation in enumerate(("OK", "NotOK", "OK", "Undefined")):
        kept.add(part(f"p{number}", evaluation=evaluation, judged_ns=10 + number), *scan())
    kept.add(part("other", recipe_id="lid", judged_ns=1), *scan())
    kept.label("p1", review("defect"))
    kept.label("p2", review("good"))
    assert names(kept.parts()) == ["other", "p0", "p1", "p2", "p3"]
    assert names(kept.parts(PartFilter(newest_first=True))) == ["p3", "p2", "p1", "p0", "other"]
    assert names(kept.parts(PartFilter(recipe="cap", since_ns=12))) == ["p2", "p3"]
    assert names(kept.parts(PartFilter(labels=frozenset({"defect"})))) == ["p1"]
    assert names(kept.parts(PartFilter(labels=frozenset({None, "good"}), evaluations=frozenset({"OK"})))) == ["other", "p0", "p2"]
    assert kept.parts(PartFilter(recipe="unheard of")) == []


def test_a_second_review_takes_the_place_of_the_first(kept: Collection) -> None:
    kept.add(part("a"), *scan())
    assert kept.label("a", review("good")) and kept.label("a", review("defect", at_ns=10))
    assert [(each.label, each.review) for each in kept.parts()] == [("defect", review("defect", at_ns=10))]


def test_what_is_not_there_cannot_be_labelled(kept: Collection) -> None:
    assert not kept.label("nobody", review())
    assert kept.find("nobody") is None and kept.parts() == [] and kept.prune(0) == (0, 0, 0)


@pytest.mark.parametrize("name", ["..", "../a", "a/b", ".hidden", "", "a" * 65, "a\n"])
def test_a_name_that_leads_elsewhere_is_refused(kept: Collection, name: str) -> None:
    with pytest.raises(BadInput, match="expected 1 to 64"):
        kept.add(part(name), *scan())
    with pytest.raises(BadInput, match="expected 1 to 64"):
        kept.add(part("a", recipe_id=name), *scan())
    assert kept.find(name) is None and not kept.label(name, review())


def test_a_part_that_cannot_be_read_costs_no_other_and_goes_first(kept: Collection) -> None:
    for number in range(3):
        kept.add(part(f"p{number}", judged_ns=1 + number), *scan())
    (kept.root / "cap" / "p1" / PART).write_text("{")
    assert names(kept.parts()) == ["p0", "p2"]
    whole = sum(path.stat().st_size for path in kept.root.rglob("*.*"))
    assert kept.prune(whole - 1)[:2] == (1, 2)
    assert names(kept.parts()) == ["p0", "p2"] and not (kept.root / "cap" / "p1").exists()


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc/elsewhere", "b", ""])
def test_a_part_that_says_it_is_another_is_not_taken_for_it(kept: Collection, name: str) -> None:
    kept.add(part("a"), *scan())
    kept.add(part("b"), *scan())
    path = kept.root / "cap" / "a" / PART
    path.write_bytes(msgspec.json.encode(part(name)))
    assert kept.find("a") is None
    assert names(kept.parts()) == ["b"]


def test_what_a_disk_of_its_own_keeps_in_lost_and_found_is_no_recipe_and_is_left_alone(kept: Collection) -> None:
    kept.add(part("a"), *scan())
    orphan = kept.root / "lost+found" / "#12"
    for folder in (orphan, orphan.with_name(".13")):
        folder.mkdir(parents=True)
    (orphan / PART).write_bytes(b"what a check of the disk found")
    assert (names(kept.parts()), kept.tidy(), kept.prune(0).removed) == (["a"], 0, 1)
    assert (orphan / PART).exists() and kept.find("#12") is None


def test_a_review_that_cannot_be_read_is_neither_a_label_nor_none_until_somebody_gives_it_anew(kept: Collection) -> None:
    kept.add(part("a"), *scan())
    kept.label("a", review("defect"))
    (kept.root / "cap" / "a" / "review.json").write_text("{")
    assert kept.parts() == []  # nobody learns from what may have been called a defect
    found = kept.find("a")
    assert found is not None and found.is_review_lost
    assert kept.label("a", review("good"))
    assert names(kept.parts()) == ["a"]


def test_a_damaged_scan_is_refused_by_its_file(kept: Collection) -> None:
    kept.add(part("a"), *scan())
    cloud = kept.root / "cap" / "a" / "xyz.tiff"
    cloud.write_bytes(cloud.read_bytes()[:200])
    with pytest.raises(BadInput, match=r"a/xyz\.tiff"):
        kept.parts()[0].read()


def test_the_oldest_ok_parts_go_first_then_the_oldest_others_and_reviewed_ones_last(kept: Collection) -> None:
    history = (("ok-1", "OK"), ("bad-2", "NotOK"), ("ok-3", "OK"), ("late-4", "Undefined"), ("seen-0", "OK"), ("seen-5", "NotOK"))
    for name, evaluation in history:
        kept.add(part(name, evaluation=evaluation, judged_ns=int(name[-1])), *scan())
    for name in ("seen-0", "seen-5"):
        kept.label(name, review())
    gone = []
    while left := kept.parts():
        before = set(names(left))
        kept.prune(sum(_bytes_of(each) for each in left) - 1)
        gone += sorted(before - set(names(kept.parts())))
    assert gone == ["ok-1", "ok-3", "bad-2", "late-4", "seen-0", "seen-5"]


def _bytes_of(found: CollectedScan) -> int:
    return sum(path.stat().st_size for path in found.folder.iterdir())


weighed = st.builds(
    RemovalRank,
    is_reviewed=st.booleans(),
    is_not_ok=st.booleans(),
    judged_ns=st.integers(0, 50),
    folder=st.uuids().map(str),
    nbytes=st.integers(1, 9),
)


@histories(100)
@given(st.lists(weighed, unique_by=lambda each: each.folder), st.integers(0, 200))
def test_what_goes_is_just_enough_and_nothing_that_goes_is_worth_more_than_what_stays(parts: list[RemovalRank], budget: int) -> None:
    going = parts_to_remove(parts, budget)
    staying = [each for each in parts if each not in going]
    assert sum(each.nbytes for each in staying) <= budget
    assert not going or sum(each.nbytes for each in [*staying, going[-1]]) > budget
    for gone in going:
        for stayed in staying:
            assert (gone.is_reviewed, gone.is_not_ok, gone.judged_ns) <= (stayed.is_reviewed, stayed.is_not_ok, stayed.judged_ns)


def test_within_the_budget_nothing_goes(kept: Collection) -> None:
    kept.add(part("a"), *scan())
    looked: list[int] = []
    assert kept.prune(10**9, lambda: looked.append(1))[:2] == (0, 1)
    assert looked == [1]


def test_nothing_goes_until_the_budget_is_exceeded_and_then_so_much_that_a_share_of_it_is_free(kept: Collection) -> None:
    for number in range(4):
        kept.add(part(f"p{number}", judged_ns=10 + number), *scan(number))
    sizes = [each.nbytes for each in kept.parts()]
    assert kept.prune(sum(sizes), spare_ratio=0.6) == (0, 4, sum(sizes))
    assert kept.prune(sum(sizes) - 1, spare_ratio=0.6) == (3, 1, sizes[3])
    assert names(kept.parts()) == ["p3"]


def _write_until_killed(root: Path, at: str) -> None:
    """Write a part, and end as by SIGKILL just before one step of it."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    kept = Collection(root)
    if at == "image":
        module.write_scan = die  # type: ignore[attr-defined]
    elif at == "part.json":
        module.as_json = die  # type: ignore[assignment,attr-defined]
    else:
        Path.rename = die  # type: ignore[assignment,method-assign]
    kept.add(part("a"), *scan())


@pytest.mark.parametrize("at", ["image", "part.json", "rename"])
def test_a_writer_that_is_killed_leaves_no_half_part(kept: Collection, at: str) -> None:
    process = multiprocessing.get_context("fork").Process(target=_write_until_killed, args=(kept.root, at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert kept.parts() == [] and kept.find("a") is None
    assert kept.tidy() == 1
    assert list((kept.root / "cap").iterdir()) == []
    assert kept.add(part("a"), *scan())


def test_a_disk_that_refuses_leaves_nothing(kept: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdss.collection.write_scan", refuses_with(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        kept.add(part("a"), *scan())
    assert list((kept.root / "cap").iterdir()) == []


def test_a_part_that_is_being_removed_is_not_seen(kept: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.add(part("a"), *scan())
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if it were killed here
    module.remove(kept.root / "cap" / "a")
    monkeypatch.undo()
    assert kept.parts() == [] and kept.find("a") is None and kept.tidy() == 1


def test_four_bytes_in_ten_are_left_of_a_scan_with_a_smooth_cloud(kept: Collection) -> None:
    rows, columns = np.mgrid[0:200, 0:200].astype(np.float32)
    xyz = np.stack([columns * 0.25, rows * 0.25, 300 + np.round(np.sin(columns / 30), 2)], axis=2).astype(np.float32)
    rgb = np.repeat((rows + columns)[:, :, None], 3, axis=2).astype(np.uint8)
    kept.add(part("a"), rgb, xyz)
    assert _bytes_of(kept.parts()[0]) < 0.4 * (rgb.nbytes + xyz.nbytes)
