"""`mdss evaluate` with a champion of known behaviour: what is written for whole, poor and broken test sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from numpy.typing import NDArray

from mdss.errors import BadInput
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import Recipe
from trainer.champion import Champion
from trainer.evaluate import Request, command, evaluate

SIDE_PX = 96
RATES = {"asked_false_reject_rate", "stated_false_reject_rate", "false_reject_rate", "recall"}
THRESHOLD_FIGURES = {"value", "highest_good_score", "lowest_defective_score"} | RATES
METRICS = {"i_auroc", "p_auroc", "aupro_30", "aupro_10", "aupro_05", "aupro_01"}
BRANCHES = ("rgb", "sdf", "fused", "fused_brightness_matched")
THRESHOLD = 2000.0

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Recorded = tuple[Image, Float, Image]
Kinds = dict[str, list[Callable[[], Recorded]]]


def colour_map(part: Prepared) -> Float:
    """Score redness: what a colour branch would see of a red stain."""
    return np.where(part.mask, 1 + (part.rgb[..., 0].astype(np.float32) - part.rgb[..., 1]).clip(0), 0).astype(np.float32)


def shape_map(part: Prepared) -> Float:
    """Score height above the part's top, millimetres: what a shape branch would see of a bump."""
    height = 480 - part.xyz[..., 2]
    return np.where(np.isfinite(height), 1 + height.clip(0), 0).astype(np.float32)


def fuse(rgb_map: Float, sdf_map: Float) -> Any:
    """Combine as the method does: the product of the maxima, the larger of both maps."""
    return SimpleNamespace(score=float(rgb_map.max()) * float(sdf_map.max()) * 100, map=np.maximum(rgb_map, 10 * sdf_map))


def champion() -> Champion:
    """Return a champion that needs no model files."""
    threshold = SimpleNamespace(value=THRESHOLD, asked_false_reject_rate=0.05, stated_false_reject_rate=1 / 13)
    folder: Any = SimpleNamespace(
        name="plate", version="0001", digest="abc", recipe=Recipe(), calibration=SimpleNamespace(threshold=threshold)
    )
    return Champion(folder, colour_map, shape_map, fuse)


def scan(brightness: int = 100) -> Recorded:
    """Return a plate of 120 x 120 mm and 20 mm height on a table, in metres."""
    rows, columns = np.indices((SIDE_PX, SIDE_PX))
    part = (abs(rows - 48) < 24) & (abs(columns - 48) < 24)
    xyz = np.stack([columns * 0.0025, rows * 0.0025, np.where(part, 0.48, 0.5)], axis=-1).astype(np.float32)
    return np.full((SIDE_PX, SIDE_PX, 3), brightness, np.uint8), xyz, np.zeros((SIDE_PX, SIDE_PX), np.uint8)


def good(brightness: int = 100) -> Recorded:
    """Return a sound part."""
    return scan(brightness)


def stained() -> Recorded:
    """Return a part with a red stain on it, darker than others."""
    rgb, xyz, truth = scan(80)
    rgb[40:46, 40:46, 0], truth[40:46, 40:46] = 200, 255
    return rgb, xyz, truth


def bumped() -> Recorded:
    """Return a part with a bump of 9 mm."""
    rgb, xyz, truth = scan(80)
    xyz[50:56, 52:60, 2], truth[50:56, 52:60] = 0.471, 255
    return rgb, xyz, truth


def empty_table() -> Recorded:
    """Return a scan with no part in view."""
    rgb, xyz, truth = scan()
    xyz[..., 2] = 0.5
    return rgb, xyz, truth


def nothing_measured() -> Recorded:
    """Return a scan of a sensor that saw nothing."""
    rgb, xyz, truth = scan()
    return rgb, xyz * 0, truth


def write(folder: Path, name: str, recorded: Recorded, with_truth: bool = True) -> None:
    """Write one scan as a recorder does."""
    rgb, xyz, truth = recorded
    for kind in ("rgb", "xyz", "gt"):
        (folder / kind).mkdir(parents=True, exist_ok=kind != "gt" or with_truth)
    cv2.imwrite(str(folder / "rgb" / f"{name}.png"), rgb[..., ::-1])
    tifffile.imwrite(folder / "xyz" / f"{name}.tiff", xyz, photometric="rgb")
    if with_truth:
        cv2.imwrite(str(folder / "gt" / f"{name}.png"), truth)


def dataset(root: Path, kinds: Kinds, train: int = 2) -> Path:
    """Write a dataset with these test scans."""
    for number in range(train):
        write(root / "train" / "good", f"{number:03d}", good(100))
    for kind, makers in kinds.items():
        for number, make in enumerate(makers):
            write(root / "test" / kind, f"{number:03d}", make())
    return root


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every store hold the same champion."""
    monkeypatch.setattr(Champion, "load", lambda *_: champion())


def measured(root: Path) -> dict[str, Any]:
    """Return the JSON of one evaluation."""
    evaluate(Request(root, "plate", root / "store", json_path=root / "out" / "evaluation.json"))
    found: dict[str, Any] = json.loads((root / "out" / "evaluation.json").read_text())
    return found


WHOLE: Kinds = {"good": [good, good, good], "stain": [stained, stained], "bump": [bumped]}


@pytest.mark.usefixtures("loads")
def test_the_json_is_spelled_as_promised(tmp_path: Path) -> None:
    found = measured(dataset(tmp_path, WHOLE))
    assert all(set(found[branch]) == METRICS for branch in BRANCHES)
    assert set(found["per_defect"]) == {"stain", "bump"}
    assert all(set(found["per_defect"]["bump"][branch]) == METRICS for branch in BRANCHES)
    assert set(found["threshold"]) == THRESHOLD_FIGURES
    assert "i_auroc" in found["baseline_object_brightness"]
    assert set(found["timing"]["stages"]) == {"load", "prepare", "rgb", "sdf", "fusion"}
    assert found["timing"]["parts_per_s"] > 0


@pytest.mark.usefixtures("loads")
def test_each_branch_is_measured_on_what_it_sees(tmp_path: Path) -> None:
    found = measured(dataset(tmp_path, WHOLE))
    assert found["per_defect"]["stain"]["rgb"]["i_auroc"] == 1.0
    assert found["per_defect"]["stain"]["sdf"]["i_auroc"] == 0.5
    assert found["per_defect"]["bump"]["rgb"]["i_auroc"] == 0.5
    assert found["per_defect"]["bump"]["sdf"]["i_auroc"] == 1.0
    assert found["fused"]["i_auroc"] == 1.0
    assert found["per_defect"]["stain"]["fused"]["p_auroc"] > 0.9


@pytest.mark.usefixtures("loads")
def test_the_threshold_decides_as_at_the_station(tmp_path: Path) -> None:
    found = measured(dataset(tmp_path, WHOLE))
    limit = {"value": THRESHOLD, "asked_false_reject_rate": 0.05, "false_reject_rate": 0.0, "recall": pytest.approx(2 / 3)}
    good = [scan["fused"] for name, scan in found["scans"].items() if name.startswith("good")]
    defective = [scan["fused"] for name, scan in found["scans"].items() if not name.startswith("good")]
    apart = {"highest_good_score": max(good), "lowest_defective_score": min(defective)}
    assert found["threshold"] == limit | apart | {"stated_false_reject_rate": 1 / 13}
    evaluations = dict.fromkeys(("bump/000", "good/000", "good/001", "good/002"), "OK") | dict.fromkeys(("stain/000", "stain/001"), "NotOK")
    assert {name: scan["evaluation"] for name, scan in found["scans"].items()} == evaluations
    bump = found["scans"]["bump/000"]
    assert bump["fused"] == pytest.approx(100 * bump["rgb"] * bump["sdf"])


@pytest.mark.usefixtures("loads")
def test_the_brightness_alone_is_reported_in_the_better_direction(tmp_path: Path) -> None:
    found = measured(dataset(tmp_path, {"good": [good, good], "bump": [bumped]}))
    assert found["baseline_object_brightness"] == {"i_auroc": 1.0, "direction": "darker"}
    assert found["training_object_brightness"] == pytest.approx(100)


@pytest.mark.usefixtures("loads")
def test_matching_the_brightness_scales_what_the_colour_branch_sees(tmp_path: Path) -> None:
    scans = measured(dataset(tmp_path, WHOLE))["scans"]
    assert scans["good/000"]["fused_brightness_matched"] == scans["good/000"]["fused"]
    assert scans["stain/000"]["fused_brightness_matched"] > scans["stain/000"]["fused"]


@pytest.mark.usefixtures("loads")
def test_without_training_scans_nothing_is_matched(tmp_path: Path) -> None:
    found = measured(dataset(tmp_path, WHOLE, train=0))
    assert set(found["fused_brightness_matched"].values()) == {None}
    assert found["fused"]["i_auroc"] == 1.0


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize(("empty", "says"), [(empty_table, "no part in view"), (nothing_measured, "the cloud is empty")])
def test_a_scan_without_a_part_is_named_and_counts_as_rejected(tmp_path: Path, empty: Callable[[], Recorded], says: str) -> None:
    found = measured(dataset(tmp_path, {"good": [empty, good], "bump": [bumped]}))
    assert found["counts"]["undefined"]["good/000"].startswith(f"BAD_CLOUD: {says}")
    assert found["scans"]["good/000"]["evaluation"] == "Undefined"
    assert found["scans"]["good/000"]["fused"] is None
    assert found["threshold"]["false_reject_rate"] == 0.5
    assert found["fused"]["i_auroc"] == 1.0


@pytest.mark.usefixtures("loads")
def test_a_map_that_is_no_number_is_not_decidable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Champion(champion().folder, lambda part: colour_map(part) * np.float32(np.nan), shape_map, fuse)
    monkeypatch.setattr(Champion, "load", lambda *_: broken)
    found = measured(dataset(tmp_path, {"good": [good]}))
    assert found["scans"]["good/000"]["evaluation"] == "NotDecidable"
    assert found["threshold"]["false_reject_rate"] == 1.0


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize("kinds", [{"good": [good, good]}, {"bump": [bumped]}, {"good": [empty_table]}])
def test_a_set_with_one_kind_only_runs_and_has_no_auroc(tmp_path: Path, kinds: Kinds) -> None:
    evaluate(Request(dataset(tmp_path, kinds), "plate", tmp_path, tmp_path / "e.json", report=tmp_path / "report"))
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["fused"]["i_auroc"] is None
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.usefixtures("loads")
def test_a_set_without_truth_has_image_metrics_only(tmp_path: Path) -> None:
    write(tmp_path / "test" / "good", "000", good(), with_truth=False)
    rgb, xyz, truth = bumped()
    write(tmp_path / "test" / "bump", "000", (rgb, xyz, truth), with_truth=False)
    for kind in ("good", "bump"):
        (tmp_path / "test" / kind / "gt").rmdir()
    evaluate(Request(tmp_path, "plate", tmp_path, json_path=tmp_path / "out.json", report=tmp_path / "report"))
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["fused"]["i_auroc"] == 1.0
    assert found["fused"]["p_auroc"] is None
    assert found["counts"]["has_truth"] is False
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Best maps" not in page and "Defective parts with the lowest scores" in page


@pytest.mark.usefixtures("loads")
def test_masks_of_defective_parts_in_which_nothing_is_marked_are_counted_and_one_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured(dataset(tmp_path, WHOLE | {"unmarked": [good]}))
    assert (
        f"evaluate: 1 of 4 masks of defective parts mark no pixel, for example {tmp_path}/test/unmarked/gt/000.png; expected the "
        "pixels of the defect: pixel metrics count all of such a part as good\n"
    ) in (said := capsys.readouterr().err)
    assert "metrics: 4/4" in said and "metrics by kind: 3/3" in said, "of large scans they take minutes"


@pytest.mark.usefixtures("loads")
def test_maps_are_measured_at_the_resolution_of_each_scan(tmp_path: Path) -> None:
    def wide() -> Recorded:
        return tuple(np.concatenate([array, array[:, :32]], axis=1) for array in good())  # type: ignore[return-value]

    found = measured(dataset(tmp_path, {"good": [wide], "bump": [bumped]}))
    assert found["sdf"]["p_auroc"] > 0.9


@pytest.mark.usefixtures("loads")
def test_the_report_is_one_page_that_needs_no_other_file(tmp_path: Path) -> None:
    evaluate(Request(dataset(tmp_path, WHOLE), "plate", tmp_path, report=tmp_path / "report"))
    page = (tmp_path / "report" / "report.html").read_text()
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["report.html"]
    assert page.count("data:image/png;base64,") == 2 + 6 * 5
    assert "http" not in page.replace("data:image", "")
    for expected in ("Best maps", "bump/000: OK", "stain/000: NotOK", "fused, brightness matched", "AU-PRO 1 %"):
        assert expected in page


@pytest.mark.usefixtures("loads")
def test_names_of_folders_do_not_become_markup(tmp_path: Path) -> None:
    evaluate(Request(dataset(tmp_path, {"good": [good], "<b>": [bumped]}), "plate", tmp_path, report=tmp_path / "report"))
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<b>" not in page
    assert "&lt;b&gt;/000" in page


@pytest.mark.usefixtures("loads")
def test_a_broken_file_ends_the_evaluation_by_name(tmp_path: Path) -> None:
    root = dataset(tmp_path, WHOLE)
    path = root / "test/bump/xyz/000.tiff"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(BadInput, match=f"{path}: cannot be read as a TIFF"):
        measured(root)
    assert not (root / "out" / "evaluation.json").exists()


@pytest.mark.usefixtures("loads")
def test_the_verb_prints_a_table(tmp_path: Path) -> None:
    arguments = ["--data", str(dataset(tmp_path, WHOLE)), "--recipe", "plate", "--store", str(tmp_path), "--json", str(tmp_path / "e.json")]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "fused_brightness_matched" in result.output
