"""The verbs `mdss collection`: what is listed, labelled, removed, and exported so that a training reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from daemon.collection_verbs import collection
from mdss.collection import REVIEW, RGB, XYZ, CollectedPart, Collection, Review, remove
from mdss.errors import BadInput, MdssError
from trainer.dataset import Dataset

SIDE = 64
LATIN = "caf\udce9"  # what Python makes of the bytes of an ISO 8859-1 terminal


class Shelf:
    """A station's settings and the scans that it has kept."""

    def __init__(self, folder: Path) -> None:
        self.config, self.kept = folder / "station.yaml", Collection(folder / "state" / "collected")
        self.config.write_text(yaml.safe_dump({"station": {"state_directory": "state"}}))

    def keep(self, name: str, label: Any = None, **fields: Any) -> None:
        values: dict[str, Any] = {"part_id": f"part {name}", "source_id": "cam", "recipe_id": "cap", "captured_ns": 1, "judged_ns": 10**18}
        values |= {"score": 0.5, "threshold": 3.0}
        rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
        xyz = np.stack([columns, rows, np.full_like(rows, 300)], axis=2)
        xyz[:5] = np.nan
        self.kept.add(
            CollectedPart(**values | {"result_id": name, "evaluation": "OK"} | fields), np.full((SIDE, SIDE, 3), 80, np.uint8), xyz
        )
        if label is not None:
            self.kept.label(name, Review(label=label, by="anna", at_ns=5))

    def run(self, verb: str, *arguments: object) -> Result:
        return CliRunner().invoke(collection, [verb, *map(str, arguments), "--config", str(self.config)])


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path)
    made.keep("ok-1", judged_ns=10**18 + 1)
    made.keep("dust-2", "good", evaluation="NotOK", score=4.5, threshold=3.0, judged_ns=10**18 + 2)
    made.keep("dent-3", "defect", evaluation="NotOK", judged_ns=10**18 + 3)
    made.keep("late-4", evaluation="Undefined", code="LATE", judged_ns=10**18 + 4)
    made.keep("lid-5", recipe_id="lid", judged_ns=10**18 + 5)
    return made


def names(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [row["part"]["result_id"] for row in json.loads(result.stdout)]


def test_list_shows_the_newest_first_with_verdict_and_label(shelf: Shelf) -> None:
    header, *rows = shelf.run("list").stdout.splitlines()
    assert header.split()[0] == "result" and [row.split()[0] for row in rows] == ["lid-5", "late-4", "dent-3", "dust-2", "ok-1"]
    assert "Undefined LATE" in rows[1] and "4.5 / 3" in rows[3] and rows[3].split()[-2:] == ["good", "anna"]


def test_list_keeps_to_what_is_asked_for(shelf: Shelf) -> None:
    assert names(shelf.run("list", "--json", "--limit", 2)) == ["lid-5", "late-4"]
    assert names(shelf.run("list", "--json", "--recipe", "cap", "--label", "none")) == ["late-4", "ok-1"]
    assert names(shelf.run("list", "--json", "--label", "good", "--label", "defect")) == ["dent-3", "dust-2"]
    assert names(shelf.run("list", "--json", "--evaluation", "Undefined")) == ["late-4"]
    assert shelf.run("list", "--recipe", "unheard-of").stdout == "no scans\n"


def test_a_part_is_labelled_by_hand(shelf: Shelf) -> None:
    assert shelf.run("label", "ok-1", "defect", "--by", "ben", "--note", "scratch").stdout == "ok-1 is defect\n"
    found = shelf.kept.find("ok-1")
    assert found is not None and found.review is not None
    assert (found.review.label, found.review.by, found.review.note) == ("defect", "ben", "scratch") and found.review.at_ns > 10**18
    result = shelf.run("label", "nobody", "good")
    assert isinstance(result.exception, MdssError) and "found no scan of nobody" in str(result.exception)


@pytest.mark.parametrize(
    ("place", "arguments"),
    [
        ("--note", ("label", "ok-1", "good", "--by", "ben", "--note", LATIN)),
        ("--by", ("label", "ok-1", "good", "--by", LATIN)),
        ("RESULT_ID", ("label", LATIN, "good", "--by", "ben")),
    ],
)
def test_what_a_terminal_of_another_encoding_sends_is_refused(shelf: Shelf, place: str, arguments: tuple[str, ...]) -> None:
    error = shelf.run(*arguments).exception
    assert isinstance(error, BadInput) and str(error) == f"{place}: found 'caf\\udce9', expected text in UTF-8: set the terminal to it"
    found = shelf.kept.find("ok-1")
    assert found is not None and found.review is None


def test_prune_leaves_no_more_than_is_asked_for(shelf: Shelf) -> None:
    assert shelf.run("prune").stdout.startswith("0 scans removed, 5 are left")
    assert shelf.run("prune", "--max-mb", 0).stdout == "5 scans removed, 0 are left (0 MB)\n"


def test_what_is_exported_is_a_dataset_to_train_on(shelf: Shelf, tmp_path: Path) -> None:
    for number in range(9):
        shelf.keep(f"more-{number}")
    out = tmp_path / "data" / "cap"
    result = shelf.run("export", "--recipe", "cap", "--out", out, "--validation", 0.4)
    assert result.exit_code == 0, result.output
    dataset = Dataset.open(out, "mm")
    assert (len(dataset.train), len(dataset.validation)) == (7, 4)
    assert {scan.name for scan in (*dataset.train, *dataset.validation)} == {"ok-1", "dust-2", *(f"more-{number}" for number in range(9))}
    assert [(scan.kind, scan.name) for scan in dataset.test] == [("defect", "dent-3")]
    loaded, kept = dataset.load(dataset.train[0]), shelf.kept.find(dataset.train[0].name)
    assert kept is not None
    rgb, xyz = kept.read()
    np.testing.assert_array_equal(loaded.rgb, rgb)
    np.testing.assert_array_equal(loaded.xyz_mm, xyz)


def test_scans_of_one_part_are_exported_to_one_side(shelf: Shelf, tmp_path: Path) -> None:
    for number in range(12):
        shelf.keep(f"scan-{number}", recipe_id="pin", part_id=f"part {number % 4}")
    assert "9 good parts to train on, 3 to validate" in shelf.run("export", "--recipe", "pin", "--out", tmp_path / "data").stdout
    sides = [{path.stem for path in (tmp_path / "data" / side / "good" / "rgb").iterdir()} for side in ("train", "validation")]
    parts = [{int(name.removeprefix("scan-")) % 4 for name in side} for side in sides]
    assert sorted(map(len, parts)) == [1, 3] and not parts[0] & parts[1]


def test_where_a_camera_calls_every_part_alike_each_scan_is_one(shelf: Shelf, tmp_path: Path) -> None:
    for number in range(12):
        shelf.keep(f"scan-{number}", recipe_id="pin", part_id="pin")
    assert "8 good parts to train on, 4 to validate" in shelf.run("export", "--recipe", "pin", "--out", tmp_path / "data").stdout


def test_only_reviewed_parts_are_exported_where_that_is_asked_for(shelf: Shelf, tmp_path: Path) -> None:
    shelf.run("export", "--recipe", "cap", "--out", tmp_path / "data", "--reviewed", "--validation", 0)
    assert [path.stem for path in (tmp_path / "data" / "train" / "good" / "rgb").iterdir()] == ["dust-2"]


def test_simulated_parts_are_exported_only_where_that_is_asked_for(shelf: Shelf, tmp_path: Path) -> None:
    shelf.keep("played", is_simulated=True)
    without, together = (tmp_path / name for name in ("without", "together"))
    assert "1 defects, 1 simulated ones left out; unit mm" in shelf.run("export", "--recipe", "cap", "--out", without).stdout
    assert "defects; unit mm" in shelf.run("export", "--recipe", "cap", "--out", together, "--with-simulated").stdout
    found = [{scan.name for scan in (*data.train, *data.validation)} for data in (Dataset.open(out, "mm") for out in (without, together))]
    assert found == [{"ok-1", "dust-2"}, {"ok-1", "dust-2", "played"}]


def test_what_one_branch_alone_accepted_or_what_is_a_defect_by_another_scan_is_no_good_part_to_export(shelf: Shelf, tmp_path: Path) -> None:
    shelf.keep("alone-6", score=None)
    shelf.keep("again-7", part_id="part dent-3")
    shelf.keep("again-8", "good", part_id="part dent-3")
    shelf.keep("lost-9", "good")
    (shelf.kept.root / "cap" / "lost-9" / REVIEW).write_text("{")
    said = shelf.run("export", "--recipe", "cap", "--out", tmp_path / "data", "--validation", 0).stdout
    assert "3 good parts to train on, 0 to validate, 1 defects, 2 in doubt left out; unit mm" in said
    assert {scan.name for scan in Dataset.open(tmp_path / "data", "mm", needs=()).train} == {"ok-1", "dust-2", "again-8"}


def test_a_scan_in_which_the_station_found_no_part_is_no_good_part_to_export_whatever_it_is_called(shelf: Shelf, tmp_path: Path) -> None:
    for name, label in (("empty-6", "good"), ("empty-7", "defect")):
        shelf.keep(name, label, evaluation="Undefined", code="BAD_CLOUD", score=None)
    said = shelf.run("export", "--recipe", "cap", "--out", tmp_path / "data", "--validation", 0).stdout
    assert "2 good parts to train on, 0 to validate, 2 defects, 1 without a part (BAD_CLOUD) left out; unit mm" in said
    assert {scan.name for scan in Dataset.open(tmp_path / "data", "mm", needs=()).train} == {"ok-1", "dust-2"}


def test_what_the_station_removes_during_an_export_is_left_out_and_that_is_said(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copyfile = shutil.copyfile

    def pruning(source: Path, place: Path) -> None:
        if source.parent.name in ("ok-1", "dent-3") and source.name == RGB:
            copyfile(source, place)
            remove(source.parent)  # as a pruning does, between its two files
        else:
            copyfile(source, place)

    monkeypatch.setattr(shutil, "copyfile", pruning)
    result = shelf.run("export", "--recipe", "cap", "--out", tmp_path / "data", "--validation", 0)
    assert "1 good parts to train on, 0 to validate, 0 defects, 2 that the station removed meanwhile left out; unit mm" in result.stdout
    assert sorted(path.stem for path in (tmp_path / "data").rglob("*.*")) == ["dust-2", "dust-2"]


def test_a_kept_scan_that_lacks_a_file_ends_an_export(shelf: Shelf, tmp_path: Path) -> None:
    kept = shelf.kept.find("ok-1")
    assert kept is not None
    (kept.folder / XYZ).unlink()
    result = shelf.run("export", "--recipe", "cap", "--out", tmp_path / "data")
    assert isinstance(result.exception, FileNotFoundError) and not (tmp_path / "data").exists()


def test_a_disk_that_takes_no_more_is_named_with_the_folder_that_was_asked_for(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, place: Path) -> None:
        raise OSError(28, "No space left on device", str(source), None, str(place))

    monkeypatch.setattr(shutil, "copyfile", full)
    error = shelf.run("export", "--recipe", "cap", "--out", tmp_path / "data").exception
    assert isinstance(error, OSError) and (error.filename, error.filename2) == (str(tmp_path / "data"), None)
    assert list(tmp_path.glob("*data*")) == []


def test_an_export_never_mixes_with_what_is_there_and_says_when_there_is_nothing(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert isinstance(shelf.run("export", "--recipe", "cap", "--out", tmp_path / "data").exception, BadInput)
    result = shelf.run("export", "--recipe", "unheard-of", "--out", tmp_path / "new")
    assert "found no good scan of unheard-of" in str(result.exception) and not (tmp_path / "new").exists()
