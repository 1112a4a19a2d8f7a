"""Products that `mdss synthetic` does not know: drawn parts that the station finds, two of them cut off by the image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.other_products import OTHERS, main
from mdss.method.point_cloud import prepare
from mdss.method.recipe import PointCloudSettings
from trainer import synthetic_products
from trainer.dataset import GOOD, Dataset
from trainer.synthetic import Line
from trainer.synthetic_camera import View

VIEW = View(160, 200)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget these products after each test."""
    for name, product in OTHERS.items():
        monkeypatch.setitem(synthetic_products.PRODUCTS, name, product)


@pytest.mark.parametrize("product", OTHERS)
def test_parts_are_found_on_their_table_and_differ_from_one_another(product: str) -> None:
    scans = [Line(product, 3, view=VIEW).scan("train", GOOD, index) for index in range(2)]
    parts = [prepare(scan.rgb, scan.xyz_mm, PointCloudSettings()) for scan in scans]
    assert all(part.has_table and 0.04 < part.mask.mean() < 0.6 for part in parts)
    assert not np.array_equal(parts[0].mask, parts[1].mask)
    is_cut_off = all(part.mask[:, side].any() for part in parts for side in (0, -1))
    assert is_cut_off == (product in ("rope", "foam"))


def test_a_line_has_every_kind_that_shows_and_the_same_seed_gives_it_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert main(["--product", "tire", "--out", str(tmp_path / name), "--seed", "2", "--height", "96", "--width", "96"]) == 0
    dataset = Dataset.open(tmp_path / "a", "m", needs=("test",))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (60, 30, 80)
    assert "missing_piece" not in {scan.kind for scan in dataset.test} and len({scan.kind for scan in dataset.test}) == 8
    assert json.loads((tmp_path / "a" / "line.json").read_text())["product"] == "tire"
    for file in (tmp_path / "a").rglob("005.*"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


def test_only_the_kinds_that_are_asked_for_are_drawn(tmp_path: Path) -> None:
    asked = ["--kind", "dent", "--kind", "stain"]
    assert main(["--product", "tire", "--out", str(tmp_path / "a"), "--height", "96", "--width", "96", *asked]) == 0
    kinds = [scan.kind for scan in Dataset.open(tmp_path / "a", "m", needs=("test",)).test if not scan.is_good]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"dent": 20, "stain": 20}
