"""A threshold that is set anew: from the champion's own scores, or from what the station collected; noted, and taken back by a rollback."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import tifffile

from mdss.audit import events
from mdss.cli import main
from mdss.collection import CollectedPart, Collection, Label, Review
from mdss.method import calibration, model_store
from mdss.method.calibration import find_threshold
from mdss.method.model_store import open_champion
from mdss.method.recipe import ThresholdSettings
from mdss.wire.verdict import Evaluation
from tests.lines import write_tiny_line
from tests.station import NAME, Trained
from trainer.dataset import Dataset
from trainer.model_maker import store_recalibrated
from trainer.synthetic import LineSize

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def copy(trained: Trained, tmp_path: Path) -> Trained:
    """A copy of the store, for tests that change it."""
    return Trained(trained.data, shutil.copytree(trained.store, tmp_path / "models", symlinks=True))


def calibrate(store: Path, *options: str | Path) -> int:
    return main(["calibrate", "--store", str(store), "--recipe", NAME, "--device", "cpu", *map(str, options)])


class Kept:
    """A station's collected parts, filled with scans of good parts."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.folder, self._collection = folder, Collection(folder)
        dataset = Dataset.open(data, "m")
        self._scans = [dataset.load(scan) for scan in (*dataset.validation, *dataset.train)]
        self._defective = next(dataset.load(scan) for scan in dataset.test if not scan.is_good)
        self._count = 0

    def add_defective(self, label: Label) -> str:
        """Keep one with a painted square."""
        self._scans[self._count] = self._defective
        return self.add("NotOK", label)

    def label(self, result_id: str, label: Label) -> None:
        """Let somebody say what a part is."""
        assert self._collection.label(result_id, Review(label=label, by="somebody", at_ns=1))

    def add(self, evaluation: Evaluation, label: Label | None = None, days_old: float = 0, **fields: Any) -> str:
        """Keep one more part, and what somebody said of it; return its id."""
        scan, result_id = self._scans[self._count], f"r{self._count}"
        self._count += 1
        judged_ns = time.time_ns() - round(days_old * 86_400e9)
        given: dict[str, Any] = {"part_id": f"part-{result_id}", "source_id": "cam", "recipe_id": NAME, "score": 0.5, "threshold": 1.0}
        given |= {"result_id": result_id, "captured_ns": judged_ns, "judged_ns": judged_ns, "evaluation": evaluation} | fields
        self._collection.add(CollectedPart(**given), scan.rgb, scan.xyz_mm)
        if label:
            self.label(result_id, label)
        return result_id


@pytest.fixture
def kept(trained: Trained, tmp_path: Path) -> Kept:
    return Kept(trained.data, tmp_path / "collected")


def test_another_false_reject_rate_needs_neither_data_nor_scoring_and_a_rollback_takes_it_back(copy: Trained, capsys: Capture) -> None:
    before = open_champion(copy.store, NAME)
    assert calibrate(copy.store, "--false-reject-rate", "0.3", "--method", "conformal", "--reason", "too many stops") == 0
    after = open_champion(copy.store, NAME)
    settings = ThresholdSettings(false_reject_rate=0.3, method="conformal")
    assert after.calibration.validation_scores == before.calibration.validation_scores
    assert after.calibration.threshold == find_threshold(before.calibration.validation_scores, settings)
    assert after.calibration.map_level == find_threshold(before.calibration.validation_peaks, settings).value
    assert after.calibration.reference == before.calibration.reference
    assert (after.recipe.threshold, after.card.derived_from) == (settings, before.version)
    assert capsys.readouterr().err == ""
    model_store.rollback(copy.store, NAME, "too few stops")
    assert open_champion(copy.store, NAME).calibration == before.calibration
    noted = events(copy.store / NAME)[-2:]
    assert [(event.what, event.before, event.after) for event in noted] == [("calibrate", "0001", "0002"), ("rollback", "0002", "0001")]
    old, new = before.calibration.threshold, after.calibration.threshold
    moved = f"threshold {old.value:.4g} -> {new.value:.4g}, asked false-reject rate 0.0001 -> 0.3, 6 parts: too many stops"
    assert [event.why for event in noted] == [moved, "too few stops"]


def test_a_margin_stays_with_the_recipe_whatever_the_threshold_is_set_from_next(copy: Trained, kept: Kept, capsys: Capture) -> None:
    before = open_champion(copy.store, NAME).calibration.threshold
    assert calibrate(copy.store, "--margin", "2", "--reason", "defects score ten times as high") == 0
    after = open_champion(copy.store, NAME).calibration.threshold
    assert after.value == pytest.approx(2 * before.value)
    assert "2 times the limit that good parts set (threshold.margin)" in capsys.readouterr().out
    rates = f"threshold {before.value:.4g} -> {after.value:.4g}, asked false-reject rate 0.0001 -> 0.0001"
    assert events(copy.store / NAME)[-1].why == f"{rates}, margin 1 -> 2, 6 parts: defects score ten times as high"
    for _ in range(6):
        kept.add("OK")
    assert calibrate(copy.store, "--collected", kept.folder) == 0
    assert open_champion(copy.store, NAME).calibration.threshold.value == pytest.approx(after.value, rel=1e-4)


def test_the_threshold_before_stands_below_the_new_one_with_how_far_it_moved(copy: Trained, capsys: Capture) -> None:
    old = open_champion(copy.store, NAME).calibration.threshold.value
    assert calibrate(copy.store, "--margin", "23") == 0
    said = capsys.readouterr().out.splitlines()
    new, before = said[1], said[-1]
    assert new.startswith(f"threshold {23 * old:.4g} (") and before == f"threshold before {old:.4g} (0001): the new one is 23 times that"
    assert calibrate(copy.store, "--margin", "1") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"threshold before {23 * old:.4g} (0002): 23 times the new one"
    assert calibrate(copy.store, "--margin", "1") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"threshold before {old:.4g} (0003): the new one is the same"


def test_the_scores_of_good_parts_that_were_collected_set_the_threshold(copy: Trained, kept: Kept, capsys: Capture) -> None:
    for _ in range(4):
        kept.add("OK")
    kept.add("NotOK", "good")
    kept.add("NotDecidable", "good")
    kept.add("NotOK")  # nobody says that it is good
    kept.add("OK", "defect")
    kept.add("OK", is_simulated=True)
    kept.add("OK", days_old=40)
    assert calibrate(copy.store, "--collected", kept.folder, "--days", "30", "--method", "conformal", "--false-reject-rate", "0.3") == 0
    before, after = (model_store.open_version(copy.store / NAME / version) for version in ("0001", "0002"))
    assert after.card.data["calibrated_on"] == {"validation": 0, "marked_good": 2, "accepted": 4}
    # These six scans are those of the validation, newest first.
    assert after.calibration.validation_scores == pytest.approx(before.calibration.validation_scores[::-1], rel=1e-4)
    assert after.calibration.reference is not None and len(after.calibration.reference.brightness) == 6
    note = "4 of 6 collected parts are good by verdict alone; good parts that the station rejected and nobody marked as good are missing"
    assert note in after.calibration.threshold.note and note in capsys.readouterr().out
    assert calibrate(copy.store, "--false-reject-rate", "0.4", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["version"], said["threshold"]["asked_false_reject_rate"], said["threshold"]["parts"]) == ("0003", 0.4, 6)
    assert note in open_champion(copy.store, NAME).calibration.threshold.note


def test_collected_and_curated_parts_can_be_taken_together_and_what_is_wrong_with_them_is_said(
    copy: Trained, kept: Kept, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "OUTLIER_RATIO", 1.5)  # six steps of training do not make a square stand out as it should
    kept.add("OK")
    kept.add_defective("good")
    options = ("--collected", kept.folder, "--data", copy.data, "--method", "conformal", "--false-reject-rate", "0.05")
    assert calibrate(copy.store, *options) == 0
    after = open_champion(copy.store, NAME)
    assert after.card.data["calibrated_on"] == {"validation": 6, "marked_good": 1, "accepted": 1}
    said, found = capsys.readouterr()
    assert f"{NAME}: a table in 6 of 6 scans; the part covers " in found and "another product" not in found
    assert "8 good parts cannot promise 5%: 11 more are needed, 19 in all; validation part r1 scores " in said
    assert " times the next: is it good?; 1 of 2 collected" in said


def test_parts_of_another_product_are_said_to_be_so(copy: Trained, tmp_path: Path, capsys: Capture) -> None:
    other = shutil.copytree(copy.data, tmp_path / "other")
    clouds = sorted((other / "validation/good/xyz").iterdir())
    for path in clouds:
        tifffile.imwrite(path, 2 * tifffile.imread(path), photometric="rgb")
    assert calibrate(copy.store, "--data", other) == 0
    said = capsys.readouterr().err
    assert f"{NAME}: none of 6 scans is like the good ones that the model keeps; {clouds[0]}: its " in said
    assert " mm: another product?" in said


UNLIKE = "score above every good part of the calibration before, by chance less than once in 100 times: are all of this product"


def fresh_scans(folder: Path, seed: int) -> Path:
    """Write 16 good parts to calibrate on."""
    write_tiny_line(folder, size=LineSize(train=0, validation=16, good=0, defective=0), seed=seed)
    return folder


def darken_half(data: Path) -> None:
    """Have every other scan seen in half the light."""
    for path in sorted((data / "validation/good/rgb").iterdir())[::2]:
        assert cv2.imwrite(str(path), np.asarray(cv2.imread(str(path))) // np.uint8(2))


def test_scans_of_which_half_are_seen_in_another_light_are_asked_about_and_fresh_ones_are_not(
    copy: Trained, tmp_path: Path, capsys: Capture
) -> None:
    data = [fresh_scans(tmp_path / f"line{seed}", seed) for seed in (2, 3)]
    assert [calibrate(copy.store, "--data", folder) for folder in data] == [0, 0]
    assert UNLIKE not in capsys.readouterr().out
    darken_half(data[1])
    assert calibrate(copy.store, "--data", data[1]) == 0
    assert f"in colour 8 of 16 scans {UNLIKE}" in capsys.readouterr().out


def test_scans_are_not_held_against_a_calibration_on_parts_that_were_accepted_for_scoring_low(
    copy: Trained, tmp_path: Path, capsys: Capture
) -> None:
    data = fresh_scans(tmp_path / "line", 2)
    assert calibrate(copy.store, "--data", data) == 0
    found = open_champion(copy.store, NAME)
    card = msgspec.structs.replace(found.card, data=found.card.data | {"calibrated_on": {"validation": 0, "accepted": 16}})
    model_store.promote(copy.store, NAME, store_recalibrated(found, card, found.calibration, copy.store).version)
    darken_half(data)
    assert calibrate(copy.store, "--data", data) == 0
    assert UNLIKE not in capsys.readouterr().out


def test_points_that_stand_for_missing_ones_are_said_of_the_scans_to_calibrate_from(copy: Trained, tmp_path: Path, capsys: Capture) -> None:
    other = shutil.copytree(copy.data, tmp_path / "other")
    for path in sorted((other / "validation/good/xyz").iterdir()):
        cloud = tifffile.imread(path)
        cloud[20:40, 20:40, 2] = 0
        tifffile.imwrite(path, cloud, photometric="rgb")
    assert calibrate(copy.store, "--data", other) == 0
    assert f"{NAME}: in 5 of 5 scans that were looked at, as in {other / 'validation/good/xyz'}" in (said := capsys.readouterr().err)
    assert ", z is 0 in " in said


@pytest.mark.parametrize("key", ["collected_parts", "scans"])  # by `mdss retrain`, and by `mdss train` from an export of the collection
def test_parts_that_the_model_was_made_from_do_not_set_its_threshold(copy: Trained, kept: Kept, key: str) -> None:
    ids = [kept.add("OK") for _ in range(7)]
    first = open_champion(copy.store, NAME)
    card = first.card.data | {key: ids[:2]}
    made = store_recalibrated(first, msgspec.structs.replace(first.card, data=card), first.calibration, copy.store)
    model_store.promote(copy.store, NAME, made.version)
    assert calibrate(copy.store, "--collected", kept.folder) == 0
    assert open_champion(copy.store, NAME).card.data["calibrated_on"]["accepted"] == 5


def test_exported_scans_set_no_threshold_once_they_are_called_defects_and_count_once_beside_the_collection(
    copy: Trained, kept: Kept, tmp_path: Path, capsys: Capture
) -> None:
    ids = [kept.add("OK") for _ in range(8)]
    data = shutil.copytree(copy.data, tmp_path / "data")
    for kind in ("rgb", "xyz"):  # as `mdss collection export` names them
        for path, name in zip(sorted((data / "validation" / "good" / kind).iterdir()), ids, strict=False):
            path.rename(path.with_name(f"{name}{path.suffix}"))
    kept.label(ids[0], "defect")
    assert calibrate(copy.store, "--data", data, "--collected", kept.folder) == 0
    assert f"calibrate: 1 scans of {data / 'validation'} are left out: somebody has called them" in capsys.readouterr().err
    card = open_champion(copy.store, NAME).card.data
    assert card["calibrated_on"] == {"validation": 5, "marked_good": 0, "accepted": 2}
    assert sorted(card["calibrated_parts"]) == ids[1:]  # so that the gate takes none of them for new


def test_what_one_branch_alone_accepted_or_what_is_a_defect_by_another_scan_sets_no_threshold(copy: Trained, kept: Kept) -> None:
    for _ in range(6):
        kept.add("OK")
    kept.add("OK", score=None)
    kept.add("OK", "defect", part_id="part-r0")
    assert calibrate(copy.store, "--collected", kept.folder) == 0
    assert open_champion(copy.store, NAME).card.data["calibrated_on"]["accepted"] == 5


def test_a_collected_part_that_cannot_be_used_is_named_and_left_out(copy: Trained, kept: Kept, capsys: Capture) -> None:
    for _ in range(7):
        kept.add("OK")
    (kept.folder / NAME / "r0" / "xyz.tiff").write_bytes(b"damaged")
    assert calibrate(copy.store, "--collected", kept.folder) == 0
    assert f"calibrate: {kept.folder}/{NAME}/r0 is left out: " in capsys.readouterr().err
    assert open_champion(copy.store, NAME).calibration.threshold.parts == 6


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "calibrate: found nothing to go by, expected --data, --collected, --false-reject-rate, --method or --margin"),
        (("--margin", "2", "--days", "7"), "--days: found without --collected, expected it beside a folder of collected parts"),
        (("--margin", "2", "--most", "9", "--with-simulated"), "--most, --with-simulated: found without --collected"),
        (("--collected", "nowhere"), "--collected nowhere: no such folder"),
        (("--collected", "{kept}"), "{kept}: found 4 good parts to calibrate on, expected at least 5"),
        (("--collected", "{kept}", "--days", "1"), "{kept}: found 0 good parts to calibrate on, expected at least 5"),
    ],
)
def test_what_no_threshold_can_be_set_from_is_refused_and_changes_nothing(
    copy: Trained, kept: Kept, capsys: Capture, options: tuple[str, ...], sentence: str
) -> None:
    for _ in range(4):
        kept.add("OK", days_old=2)
    assert calibrate(copy.store, *(option.format(kept=kept.folder) for option in options)) == 2
    assert sentence.format(kept=kept.folder) in capsys.readouterr().err
    assert [path.name for path in model_store.versions(copy.store / NAME)] == ["0001"]
