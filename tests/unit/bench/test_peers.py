"""The memory banks beside a champion: what they remember, how near they find it, and what the table says of them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from bench import peers
from bench.feature_bank import Describer, FeatureBank
from bench.fpfh_bank import FpfhBank, describe, pitch_of
from bench.memory_bank import BLOCK, MemoryBank, candidates_of, coreset
from bench.peers import Comparison, Row, costs_of, main, table
from mdss.method.grid import is_measured
from mdss.method.model_store import open_champion
from mdss.method.point_cloud import Prepared
from mdss.method.student_teacher import StudentTeacher
from mdss.method.teacher import load_teacher
from tests.lines import write_tiny_line
from tests.station import NAME, Trained, small_recipe, write_teacher
from trainer.dataset import Dataset
from trainer.evaluation import Model
from trainer.synthetic import LineSize
from trainer.train import prepare_all
from trainer.train_rgb import measure_teacher

SIZE = LineSize(train=4, validation=1, good=3, defective=2)


def parts_of(data: Path, teacher: Path) -> tuple[list[Prepared], list[Prepared], list[Prepared], Describer]:
    """Return the training parts, good and defective test parts, and what describes them."""
    recipe, dataset = small_recipe(write_teacher(teacher)), Dataset.open(data, "m")
    good, defective = ([scan for scan in dataset.test if scan.is_good == is_good] for is_good in (True, False))
    training, sound, faulty = (prepare_all(dataset, scans, recipe) for scans in (dataset.train, good, defective))
    networks = StudentTeacher(recipe.rgb)
    networks.teacher.load_state_dict(load_teacher(recipe.rgb.teacher)[0].state_dict())
    measure_teacher(networks, training, recipe.rgb, "cpu")
    return training, sound, faulty, Describer(networks.eval(), recipe.rgb, "cpu")


def test_distances_are_those_of_brute_force() -> None:
    random = np.random.default_rng(0)
    entries, queries = (random.normal(100, 1, (count, 7)).astype(np.float32) for count in (30, BLOCK + 5))
    brute = np.linalg.norm(queries[:, None].astype(np.float64) - entries[None], axis=2).min(axis=1)
    np.testing.assert_allclose(MemoryBank(torch.from_numpy(entries)).distances(queries), brute, rtol=1e-5)


@pytest.mark.parametrize("dimensions", [3, 384])
def test_a_coreset_keeps_something_of_every_cluster_however_small(dimensions: int) -> None:
    random = np.random.default_rng(0)
    centres = 50 * random.standard_normal((5, dimensions))
    of_cluster = np.repeat(np.arange(5), (500, 200, 30, 3, 1))
    points = (centres[of_cluster] + random.standard_normal((len(of_cluster), dimensions))).astype(np.float32)
    chosen = coreset(torch.from_numpy(points), 5 / len(points))
    assert sorted(of_cluster[chosen.numpy()]) == [0, 1, 2, 3, 4]


def test_a_share_of_one_keeps_everything() -> None:
    assert coreset(torch.rand(20, 3), 1.0).tolist() == list(range(20))


def test_candidates_are_equally_many_of_each_part_and_not_more_than_the_most() -> None:
    parts = [np.full((100, 2), number, np.float32) for number in range(4)]
    found = candidates_of(iter(parts), len(parts), most=40)
    assert np.unique(found[:, 0], return_counts=True)[1].tolist() == [10, 10, 10, 10]
    assert len(candidates_of(iter(parts), len(parts), most=1000)) == 400


def test_the_feature_bank_scores_a_painted_part_above_all_good_ones(trained: Trained, tmp_path: Path) -> None:
    training, sound, faulty, describer = parts_of(trained.data, tmp_path / "teacher.safetensors")
    bank = FeatureBank.fit(describer, training, 0.1)
    good, painted = ([float(bank.map_of(part).max()) for part in parts] for parts in (sound, faulty))
    assert min(painted) > 1.2 * max(good)


def test_the_feature_bank_finds_what_it_remembers_and_nothing_beside_the_part(trained: Trained, tmp_path: Path) -> None:
    training, _, faulty, describer = parts_of(trained.data, tmp_path / "teacher.safetensors")
    bank = FeatureBank.fit(describer, training, 1.0)
    assert bank.map_of(training[0]).max() < 1e-3 * bank.map_of(faulty[0]).max()
    nothing = np.zeros_like(training[0].mask)
    assert not bank.map_of(dataclasses.replace(training[0], mask=nothing)).any()
    cells = sum(np.count_nonzero(part.mask[::4, ::4]) for part in training)
    assert bank.size_mb == pytest.approx(describer.size_mb + cells * 384 * 4 / 1e6)


def test_the_pitch_is_the_distance_of_neighbours_in_a_row(trained: Trained) -> None:
    dataset = Dataset.open(trained.data, "m")
    (part,) = prepare_all(dataset, dataset.train[:1], small_recipe(Path("none")))
    pitch_mm = pitch_of([part])
    rows = part.xyz[..., 0][np.isfinite(part.xyz[..., 0]).any(axis=1)]
    widest = max(np.nanmax(row) - np.nanmin(row) for row in rows)
    columns = np.ptp(np.flatnonzero(np.isfinite(part.xyz[..., 0]).any(axis=0)))
    assert pitch_mm == pytest.approx(widest / columns, rel=0.1)


def test_the_fpfh_bank_scores_a_bump_above_good_parts(tmp_path: Path) -> None:
    pytest.importorskip("open3d", reason="an extra: pip install -e '.[peers]'")
    write_tiny_line(tmp_path / "line", size=SIZE)
    training, sound, faulty, _ = parts_of(tmp_path / "line", tmp_path / "teacher.safetensors")
    bank = FpfhBank.fit(training, 0.1)
    assert float(bank.map_of(faulty[0]).max()) > max(float(bank.map_of(part).max()) for part in sound)


def test_the_pitch_is_that_of_most_neighbours_in_a_row_of_all_parts_whatever_is_missing(trained: Trained) -> None:
    dataset = Dataset.open(trained.data, "m")
    (part,) = prepare_all(dataset, dataset.train[:1], small_recipe(Path("none")))
    across, down = np.meshgrid(np.arange(10, dtype=np.float32), np.arange(10, dtype=np.float32))
    near, far = (np.stack([pitch_mm * across, 7 * down, np.zeros_like(down)], axis=2) for pitch_mm in (2, 3))
    near[:, 0, 2] = 1000  # a step in the middle of nowhere
    near[3, 3] = far[5] = np.nan
    parts = [dataclasses.replace(part, xyz=xyz) for xyz in (near, far, far)]
    assert (pitch_of(parts[:1]), pitch_of(parts)) == (2, 3)


def measured_parts(folder: Path) -> list[Prepared]:
    """Return three parts of a line, all of the same product."""
    write_tiny_line(folder, size=SIZE)
    dataset = Dataset.open(folder, "m")
    return prepare_all(dataset, dataset.train[:3], small_recipe(Path("none")))


def test_the_fpfh_bank_finds_what_it_remembers_and_nothing_beside_the_part(tmp_path: Path) -> None:
    pytest.importorskip("open3d", reason="an extra: pip install -e '.[peers]'")
    *known, other = measured_parts(tmp_path / "line")
    bank = FpfhBank.fit(known, 1.0)
    points = [int(is_measured(part.xyz).sum()) for part in known]
    assert bank.size_mb == pytest.approx(sum(points) * 33 * 4 / 1e6)
    heat = bank.map_of(other)
    assert heat.shape == other.xyz.shape[:2] and max(bank.map_of(part).max() for part in known) < 1e-3 * heat.max()
    left = int(np.flatnonzero(is_measured(other.xyz).any(axis=0))[0])
    assert heat[:, left:].any() and not heat[:, : left - 20].any() and heat[:, left - 4].any()  # the blur is some pixels wide
    assert FpfhBank.fit(known, 0.1).size_mb == pytest.approx(0.1 * bank.size_mb, rel=0.01)


def test_fpfh_describes_a_part_alike_in_every_size_and_wherever_the_camera_stands(tmp_path: Path) -> None:
    pytest.importorskip("open3d", reason="an extra: pip install -e '.[peers]'")
    part, *_ = measured_parts(tmp_path / "line")
    pitch_mm = pitch_of([part])
    usual = describe(part.xyz, pitch_mm)
    assert usual.shape == (is_measured(part.xyz).sum(), 33)
    turned = part.xyz @ np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0], [0.48, 0.64, 0.6]], np.float32)
    for xyz, pitch in ((100 * part.xyz, 100 * pitch_mm), (turned, pitch_mm)):
        away = np.linalg.norm(describe(xyz, pitch) - usual, axis=1)
        assert np.median(away) < 0.01 * np.median(np.linalg.norm(usual, axis=1))
    large = dataclasses.replace(part, xyz=100 * part.xyz)
    bank = FpfhBank.fit([large, large], 1.0)
    assert bank.pitch_mm == pytest.approx(100 * pitch_mm) and bank.map_of(large).max() < 0.01 * np.median(np.linalg.norm(usual, axis=1))


def test_fpfh_describes_a_point_by_what_lies_up_to_fourteen_pixels_away() -> None:
    pytest.importorskip("open3d", reason="an extra: pip install -e '.[peers]'")
    across, down = np.meshgrid(np.arange(61, dtype=np.float32), np.arange(61, dtype=np.float32))
    before = np.stack([across, down, 500 + np.sin(across) * np.cos(down)], axis=2)
    after = before.copy()
    after[30, 30, 2] += 1
    is_other = np.linalg.norm(describe(after, 1.0) - describe(before, 1.0), axis=1).reshape(61, 61) > 1e-3
    assert 13 < np.hypot(across - 30, down - 30)[is_other].max() < 15  # 100 neighbours of 100 neighbours, whose normals are of 30


def test_without_open3d_the_command_says_how_to_install_it_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    options = ["--data", str(tmp_path / "none"), "--recipe", "part", "--store", str(tmp_path), "--json", str(tmp_path / "out.json")]
    assert main(options) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "pip install -e '.[peers]'" in said[0]
    assert "--without-fpfh" in said[0]
    assert not list(tmp_path.iterdir())


def test_the_command_measures_champion_and_bank_on_the_same_scans(trained: Trained, tmp_path: Path) -> None:
    options = ["--data", str(trained.data), "--recipe", NAME, "--store", str(trained.store), "--without-fpfh"]
    assert main([*options, "--json", str(tmp_path / "a" / "peers.json"), "--markdown", str(tmp_path / "peers.md")]) == 0
    found = json.loads((tmp_path / "a" / "peers.json").read_text())
    rows = {row["method"]: row for row in found["rows"]}
    assert list(rows) == ["MDSS, rgb", "MDSS, sdf", "MDSS, fused", "feature bank (PatchCore)"]
    bank = rows["feature bank (PatchCore)"]
    assert bank["i_auroc"] == 1.0
    assert bank["aupro_30"] > 0.8
    assert all(row["ms_per_part"] > 0 and row["fit_s"] is not None and row["kept_mb"] > 0 for row in rows.values())
    ours = [rows[f"MDSS, {branch}"]["kept_mb"] for branch in ("rgb", "sdf", "fused")]
    assert ours[2] == pytest.approx(ours[0] + ours[1])
    lines = (tmp_path / "peers.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:6]] == [f"| {name}" for name in rows]


def test_where_the_card_does_not_say_how_long_a_branch_was_fitted_nobody_knows_it_of_both_and_the_table_says_so(trained: Trained) -> None:
    folder = open_champion(trained.store, NAME)
    card = msgspec.structs.replace(folder.card, training={"rgb": {"seconds": 12.0}})  # as an earlier release may have written it
    costs = costs_of(dataclasses.replace(folder, card=card))
    assert [costs[branch].fit_s for branch in ("rgb", "sdf", "fused")] == [12.0, None, None]
    row = Row(method="x", i_auroc=None, aupro_30=0.9, aupro_05=0.8, ms_per_part=7.0, fit_s=costs["fused"].fit_s, kept_mb=3.0)
    found = Comparison(model=Model("part", "0001", "abc"), device="cpu", bank_share=0.1, training_scans=4, test_scans=5, rows=(row,))
    assert "| x | - | 0.900 | 0.800 | 7.0 | - | 3.0 |" in table(found)


def test_the_table_is_shown_though_the_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Comparison(model=Model("part", "0001", "abc"), device="cpu", bank_share=0.1, training_scans=4, test_scans=5, rows=())
    monkeypatch.setattr(peers, "compare", lambda _: found)
    (tmp_path / "taken").touch()
    assert main(["--data", "x", "--recipe", "x", "--store", "x", "--json", str(tmp_path / "taken" / "peers.json")]) == 1
    said = capsys.readouterr()
    assert "4 training scans; 5 test scans" in said.out
    assert said.err == f"peers: {tmp_path / 'taken'}: File exists\n"


def test_a_wrong_share_is_a_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", "x", "--recipe", "x", "--store", "x", "--bank-share", "0"]) == 2
    assert "--bank-share" in capsys.readouterr().err
