"""Synthetic lines: seeded, in the dataset's layout, and their defective parts differ from good ones by the defect alone."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from mdss.cli import main
from mdss.errors import BadInput
from mdss.method.grid import is_measured
from mdss.method.point_cloud import prepare
from mdss.method.recipe import PointCloudSettings
from tests.lines import TINY, write_tiny_line
from trainer.dataset import GOOD, Dataset, Unit
from trainer.synthetic import Line, LineSize, write_line
from trainer.synthetic_camera import View
from trainer.synthetic_defects import KINDS, VISIBLE_MM
from trainer.synthetic_products import PRODUCTS
from trainer.synthetic_scan import SyntheticScan, draw_scan, draw_subject
from trainer.synthetic_surface import Surface

SMALL = View(160, 160)
EACH_PART = [(product, kind) for product in PRODUCTS for kind in KINDS]
SEEDS = range(3)
SHADOW_MM = 14.0  # as far as a changed height can throw its shadow


@dataclass(frozen=True)
class Damage:
    """A surface before and after a defect came upon it."""

    before: Surface
    after: Surface
    truth: NDArray[np.bool_]

    @property
    def height_change_mm(self) -> NDArray[np.float32]:
        return np.asarray(np.abs(self.after.height_mm - self.before.height_mm), np.float32)

    @property
    def colour_change(self) -> NDArray[np.float32]:
        return np.asarray(np.abs(self.after.colour - self.before.colour).max(axis=2), np.float32)


def damages(product: str, kind: str, view: View = SMALL) -> Iterator[Damage]:
    """Yield a few parts with that defect, before any camera."""
    for seed in SEEDS:
        seeds = np.random.SeedSequence(seed).spawn(3)
        subject = draw_subject(product, view, seeds[0], seeds[1])
        yield Damage(subject.surface, *KINDS[kind].draw(subject.surface, subject.place, np.random.default_rng(seeds[2])))


@functools.cache
def scan_of(product: str, kind: str, seed: int) -> SyntheticScan:
    """Return a scan; the same seed gives the same part of every kind."""
    return draw_scan(product, kind, SMALL, [seed])


def widened(mask: NDArray[np.bool_], by_mm: float, view: View = SMALL) -> NDArray[np.bool_]:
    """Return the mask with a margin."""
    side = 2 * int(np.ceil(by_mm / view.pitch_mm)) + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)).astype(np.bool_)


def files(root: Path) -> dict[str, bytes]:
    """Return every file's content by its name below the root."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def brightness(scan: SyntheticScan) -> float:
    """Return the mean brightness of the part alone."""
    part = prepare(scan.rgb, scan.xyz_mm, PointCloudSettings())
    return float(part.rgb[part.mask].mean())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_tiny_line(tmp_path / name, seed=seed)
    first, again, other = (files(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert not [name for name in first if "/gt/" not in name and first[name] == other[name]]


def test_counts_and_kinds_do_not_change_the_scans_that_both_lines_have(tmp_path: Path) -> None:
    view = View(96, 96)
    write_line(Line("mat", 3, LineSize(1, 1, 1, 2), view, ("dent", "crack")), tmp_path / "short")
    write_line(Line("mat", 3, LineSize(2, 2, 3, 6), view, ("crack", "stain", "dent")), tmp_path / "long")
    short, long = files(tmp_path / "short"), files(tmp_path / "long")
    del short["line.json"]
    assert {name: long[name] for name in short} == short


def test_parts_of_one_line_differ_in_pose_shape_colour_and_light() -> None:
    scans = [Line("potato", 0, view=SMALL).scan("train", GOOD, index) for index in range(6)]
    found = [prepare(scan.rgb, scan.xyz_mm, PointCloudSettings()) for scan in scans]
    centres = np.array([np.argwhere(part.mask).mean(axis=0) for part in found])
    assert np.ptp(centres, axis=0).min() > 3
    assert len({int(np.count_nonzero(part.mask)) for part in found}) == 6
    assert 0.5 < np.std([brightness(scan) for scan in scans]) < 8


def test_defective_parts_are_spread_evenly_over_the_kinds() -> None:
    counts = Line("flange", 0, LineSize(7, 5, 3, 20)).counts()
    assert [counts["train", GOOD], counts["validation", GOOD], counts["test", GOOD]] == [7, 5, 3]
    assert [counts["test", kind] for kind in KINDS] == [3, 3, 3, 3, 2, 2, 2, 2]
    assert ("test", "crack") not in Line("flange", 0, LineSize(1, 1, 1, 3)).counts()


@pytest.mark.parametrize("unit", ["m", "mm"])
def test_a_line_is_a_dataset_that_the_trainer_reads(tmp_path: Path, unit: Unit) -> None:
    line = write_tiny_line(tmp_path / "line", "potato", unit)
    dataset = Dataset.open(tmp_path / "line", unit, needs=("train", "validation", "test"))
    assert [len(dataset.train), len(dataset.validation), len(dataset.test)] == [2, 1, 3]
    assert dataset.has_truth
    for scan in (*dataset.train, *dataset.validation, *dataset.test):
        loaded, drawn = dataset.load(scan), line.scan(scan.split, scan.kind, int(scan.name))
        np.testing.assert_array_equal(loaded.rgb, drawn.rgb)
        np.testing.assert_allclose(loaded.xyz_mm, drawn.xyz_mm, rtol=1e-6)
        np.testing.assert_array_equal(loaded.truth, drawn.truth)
        assert loaded.truth.any() != scan.is_good


def test_the_wrong_unit_is_noticed_when_the_line_is_read(tmp_path: Path) -> None:
    write_tiny_line(tmp_path / "line", unit="mm")
    dataset = Dataset.open(tmp_path / "line", "m")
    with pytest.raises(BadInput, match="unit mm would fit"):
        dataset.load(dataset.train[0])


def test_the_card_says_what_was_made(tmp_path: Path) -> None:
    write_tiny_line(tmp_path / "line", seed=9)
    assert json.loads((tmp_path / "line/line.json").read_bytes()) == {
        "product": "flange",
        "seed": 9,
        "view": {"height_px": 96, "width_px": 96, "unit": "m", "tilt_deg": 1.0},
        "counts": {"train/good": 2, "validation/good": 1, "test/good": 1, "test/stain": 1, "test/bump": 1},
    }


@pytest.mark.parametrize(("product", "kind"), EACH_PART)
def test_a_defect_changes_only_what_its_kind_says(product: str, kind: str) -> None:
    for damage in damages(product, kind):
        before, after = damage.before, damage.after
        assert damage.height_change_mm.any() == KINDS[kind].shape
        assert damage.colour_change.any() == KINDS[kind].colour
        if not (KINDS[kind].colour and KINDS[kind].shape):
            np.testing.assert_array_equal(after.inside, before.inside)
            np.testing.assert_array_equal(after.gloss, before.gloss)
        assert not after.colour[~after.inside].any() and not after.height_mm[~after.inside].any()


@pytest.mark.parametrize(("product", "kind"), EACH_PART)
def test_the_truth_is_where_the_surface_changed(product: str, kind: str) -> None:
    for damage in damages(product, kind):
        changed = (damage.height_change_mm > VISIBLE_MM) | (damage.colour_change > 0.08)
        assert not (changed & ~widened(damage.truth, 1.0)).any()
        assert np.mean(changed[damage.truth]) > 0.9
        assert (damage.truth <= damage.before.inside).all()


@pytest.mark.parametrize(("product", "kind"), EACH_PART)
def test_a_defective_scan_is_the_good_one_but_for_the_defect_and_its_shadow(product: str, kind: str) -> None:
    for seed in SEEDS:
        good, bad = (scan_of(product, name, seed) for name in (GOOD, kind))
        far = ~widened(bad.truth, SHADOW_MM)
        np.testing.assert_array_equal(bad.rgb[far], good.rgb[far])
        np.testing.assert_array_equal(bad.xyz_mm[far], good.xyz_mm[far])
        if not KINDS[kind].shape:
            np.testing.assert_array_equal(bad.xyz_mm, good.xyz_mm)


@pytest.mark.parametrize(("product", "kind"), EACH_PART)
def test_a_defect_is_seen_and_of_the_size_of_a_defect(product: str, kind: str) -> None:
    for seed in SEEDS:
        good, bad = (scan_of(product, name, seed) for name in (GOOD, kind))
        levels = np.abs(bad.rgb[bad.truth].astype(int) - good.rgb[bad.truth]).max(axis=1)
        assert np.median(levels) >= (18 if KINDS[kind].colour else 2)
        z_good, z_bad = (np.nan_to_num(scan.xyz_mm[bad.truth][:, 2]) for scan in (good, bad))
        assert (np.median(np.abs(z_good - z_bad)) > VISIBLE_MM) == KINDS[kind].shape
        assert 2.5 <= np.count_nonzero(bad.truth) * SMALL.pitch_mm**2 <= 50
        assert np.ptp(np.argwhere(bad.truth), axis=0).max() * SMALL.pitch_mm < 14


@pytest.mark.parametrize("kind", ["bump", "dent"])
def test_neither_brightness_nor_missing_points_tell_parts_with_another_shape_from_good_ones(kind: str) -> None:
    line = Line("potato", 11, view=View(96, 96))
    scans = [line.scan("test", name, index) for name in (GOOD, kind) for index in range(40)]
    is_bad = [False] * 40 + [True] * 40
    assert 0.3 < roc_auc_score(is_bad, [brightness(scan) for scan in scans]) < 0.7  # chance: 0.5 with a deviation of 0.065
    assert 0.3 < roc_auc_score(is_bad, [np.isnan(scan.xyz_mm[..., 2]).mean() for scan in scans]) < 0.7


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize(
    "view",
    [
        View(300, 300, "m", 0),
        View(400, 400, "mm", 6),
        View(480, 640, "m", 3),
        View(640, 480, "mm", 6),
        View(96, 96),
        View(64, 64),
    ],
)
def test_the_part_is_found_whole_and_without_its_table(product: str, view: View) -> None:
    seeds = np.random.SeedSequence(1).spawn(3)
    inside = draw_subject(product, view, seeds[0], seeds[1]).surface.inside
    scan = draw_scan(product, GOOD, view, [1])
    part = prepare(scan.rgb, scan.xyz_mm, PointCloudSettings())
    on_part = part.grid.sample(inside & is_measured(scan.xyz_mm), fill=False)
    found = is_measured(part.xyz)
    assert part.has_table
    assert np.mean(found[on_part]) > 0.99
    assert not (found & ~part.grid.sample(inside, fill=False)).any()
    assert part.invalid_point_ratio < 0.15


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("view", [View(300, 300), View(400, 400, "mm", 6)])
def test_defects_lie_in_the_mask_of_the_part(product: str, view: View) -> None:
    for kind in KINDS.keys() - {"missing_piece"}:
        scan = draw_scan(product, kind, view, [7])
        part = prepare(scan.rgb, scan.xyz_mm, PointCloudSettings())
        assert np.mean(part.mask[part.grid.sample(scan.truth, fill=False)]) > 0.99


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view", [View(64, 64), View(64, 200), View(480, 640), View(600, 200)])
def test_every_kind_can_be_drawn_at_any_size(kind: str, view: View) -> None:
    for product in PRODUCTS:
        scan = draw_scan(product, kind, view, [0])
        assert scan.rgb.shape == scan.xyz_mm.shape == (view.height_px, view.width_px, 3)
        assert scan.truth.any()


def test_a_folder_with_files_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(BadInput, match="found files in it, expected a new or empty folder"):
        write_tiny_line(tmp_path)
    assert list(files(tmp_path)) == ["mine.txt"]


def test_a_folder_that_was_empty_takes_the_line_again_after_its_writer_was_killed(tmp_path: Path) -> None:
    begin = "with filled_folder(Path.cwd()) as partial: (partial / 'train').mkdir(); os.kill(os.getpid(), 9)"
    script = f"import os; from pathlib import Path; from mdss.whole_files import filled_folder\n{begin}"
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == -9
    assert list(tmp_path.rglob("train")) != []
    write_tiny_line(tmp_path)
    assert list(tmp_path.glob(".*")) == [] and Dataset.open(tmp_path, "m").train


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (Line("cup", 0), "product: found 'cup', expected one of flange, potato, mat"),
        (Line("mat", 0, kinds=("bump", "rust")), "kinds: found 'rust', expected some of stain"),
        (Line("mat", 0, kinds=("bump", "stain", "bump")), "kinds: found 'bump' twice, expected each once"),
        (Line("mat", 0, kinds=()), "kinds: found none, expected some of stain"),
        (Line("mat", 0, LineSize(0, 0, 0, 0)), "train, validation, good, defective: found 0 parts in all, expected at least one"),
    ],
)
def test_an_unknown_product_or_kind_is_refused_before_anything_is_written(tmp_path: Path, line: Line, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        write_line(line, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_verb_makes_the_line_that_its_options_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = ["--train", "2", "--validation", "1", "--good", "1", "--defective", "2", "--kinds", "stain, bump"]
    sizes = ["--height", "96", "--width", "96", "--unit", "mm", "--tilt-deg", "1"]
    code = main(["synthetic", "--product", "flange", "--out", str(tmp_path / "verb"), "--seed", "4", *counts, *sizes])
    assert code == 0
    assert capsys.readouterr().out == f"{tmp_path / 'verb'}: 6 scans of a flange, 2 of them defective\n"
    write_tiny_line(tmp_path / "function", "flange", "mm", TINY, seed=4)
    assert files(tmp_path / "verb") == files(tmp_path / "function")


@pytest.mark.parametrize("wrong", [["--kinds", "rust"], ["--product", "cup"], ["--height", "20"], ["--unit", "cm"]])
def test_the_verb_refuses_what_it_does_not_know(tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synthetic", "--product", "mat", "--out", str(tmp_path / "out"), *wrong]) == 2
    assert wrong[1] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
