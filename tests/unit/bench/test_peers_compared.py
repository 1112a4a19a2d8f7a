"""A champion beside a feature bank: both as the model folder and the scans make them, and what each of them costs."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import cv2
import msgspec
import numpy as np
import pytest

from bench.feature_bank import Describer, FeatureBank
from bench.peers import OURS, ComparedScorer, Request, banks_of, costs_of, main, rows_of
from mdss.method.description_network import CHANNELS, STRIDE_PX
from mdss.method.student_teacher import WEIGHTS, StudentTeacher, Window, window_pixels
from mdss.method.weights import read_weights
from tests.station import NAME, Trained
from trainer import champion as champion_module
from trainer.champion import Champion
from trainer.dataset import Dataset
from trainer.train import prepare_all


@pytest.fixture
def champion(trained: Trained) -> Champion:
    """Return the line's champion."""
    return Champion.load(trained.store, NAME, "cpu")


def test_a_part_is_described_by_the_words_of_the_model_s_own_teacher_for_each_of_its_cells(trained: Trained, champion: Champion) -> None:
    recipe, dataset = champion.folder.recipe, Dataset.open(trained.data, "m")
    (part,) = prepare_all(dataset, dataset.test[:1], recipe)
    networks = StudentTeacher(recipe.rgb)
    read_weights(networks, champion.folder.path / WEIGHTS)
    cells = part.mask[::STRIDE_PX, ::STRIDE_PX]
    whole = networks.describe(window_pixels(Window.whole(len(cells)), part.rgb, recipe.rgb.border, "cpu"))[0].numpy()
    described, where = Describer.load(champion.folder.path, recipe, "cpu").describe(part.rgb, part.mask)
    assert (where == cells).all()
    np.testing.assert_allclose(described, whole[:, cells].T, rtol=1e-3, atol=1e-3)


def test_a_bank_needs_the_teacher_and_its_statistics_and_not_the_student(champion: Champion) -> None:
    describer = Describer.load(champion.folder.path, champion.folder.recipe, "cpu")
    of_teacher = sum(weights.numel() for weights in describer.networks.teacher.parameters())
    assert describer.size_mb == pytest.approx(4 * (of_teacher + 2 * CHANNELS) / 1e6)


def test_a_feature_bank_s_heat_is_smooth_and_reaches_a_few_pixels_beyond_the_part(trained: Trained, champion: Champion) -> None:
    recipe, dataset = champion.folder.recipe, Dataset.open(trained.data, "m")
    training, painted = (prepare_all(dataset, scans, recipe) for scans in (dataset.train, dataset.test[-1:]))
    bank = FeatureBank.fit(Describer.load(champion.folder.path, recipe, "cpu"), training, 0.1)
    heat, mask = bank.map_of(painted[0]), painted[0].mask
    away_px = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_C, cv2.DIST_MASK_3)
    assert heat[away_px == 1].min() > 0
    assert not heat[away_px > 16].any()  # four deviations of the blur


def test_a_bank_is_fitted_on_the_training_scans_and_aligned_on_the_validation_scans(trained: Trained, champion: Champion) -> None:
    recipe, dataset = champion.folder.recipe, Dataset.open(trained.data, "m")
    request = Request(trained.data, NAME, trained.store, bank_share=1.0, without_fpfh=True)
    bank = banks_of(dataset, champion, request, "cpu").champion
    training, validation = (prepare_all(dataset, scans, recipe) for scans in (dataset.train, dataset.validation))
    assert bank.colour_map(training[0]).max() < 1e-3 * bank.colour_map(validation[0]).max()
    aligned = [bank.fuse(bank.colour_map(part), bank.shape_map(part)).rgb for part in validation]
    on_parts = np.concatenate([heat[part.mask] for heat, part in zip(aligned, validation, strict=True)])
    assert (on_parts.mean(), on_parts.std()) == pytest.approx((0, 1), abs=1e-3)


def test_what_is_measured_says_from_how_many_scans_and_what_each_contestant_took_and_keeps(
    trained: Trained, champion: Champion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(trained.data), "--recipe", NAME, "--store", str(trained.store), "--without-fpfh", "--bank-share", "0.5"]
    started_s = time.perf_counter()
    assert main([*options, "--json", str(tmp_path / "peers.json")]) == 0
    spent_s = time.perf_counter() - started_s
    assert "Banks keep 50%" in capsys.readouterr().out
    found = json.loads((tmp_path / "peers.json").read_text())
    assert (found["training_scans"], found["test_scans"], found["bank_share"]) == (8, 5, 0.5)
    folder, rows = champion.folder, {row["method"]: row for row in found["rows"]}
    rgb, sdf, _, bank = rows.values()
    for row, branch in ((rgb, "rgb"), (sdf, "sdf")):
        assert row["kept_mb"] == pytest.approx((folder.path / f"{branch}.safetensors").stat().st_size / 1e6)
        assert row["fit_s"] == folder.card.training[branch]["seconds"]
    assert bank["fit_s"] < spent_s
    dataset = Dataset.open(trained.data, "m")
    cells = sum(np.count_nonzero(part.mask[::4, ::4]) for part in prepare_all(dataset, dataset.train, folder.recipe))
    of_teacher = Describer.load(folder.path, folder.recipe, "cpu").size_mb
    assert bank["kept_mb"] == pytest.approx(of_teacher + round(0.5 * cells) * CHANNELS * 4 / 1e6)


def test_both_branches_together_took_the_time_of_each_to_train(champion: Champion) -> None:
    card = msgspec.structs.replace(champion.folder.card, training={"rgb": {"seconds": 12.0}, "sdf": {"seconds": 5.0}})
    assert costs_of(dataclasses.replace(champion.folder, card=card))["fused"].fit_s == 17


def test_the_time_of_a_part_is_that_of_the_stages_it_went_through_and_not_of_all_parts(
    trained: Trained, champion: Champion, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()
    monkeypatch.setattr(champion_module, "time", SimpleNamespace(perf_counter=lambda: next(ticks) / 1000))
    contestant = ComparedScorer(champion, OURS, costs_of(champion.folder))
    rows = rows_of(contestant, Dataset.open(trained.data, "m"))
    assert [row.ms_per_part for row in rows] == pytest.approx([1, 1, 3])


def test_banks_without_validation_scans_are_refused_before_anything_is_fitted(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained.data, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "validation")
    options = ["--data", str(tmp_path / "data"), "--recipe", NAME, "--store", str(trained.store), "--without-fpfh"]
    assert main(options) == 2
    assert "validation" in capsys.readouterr().err
