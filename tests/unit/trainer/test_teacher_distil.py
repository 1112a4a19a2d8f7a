"""Distillation: what the teacher learns, from which photographs, and that a stopped run loses nothing."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mdss.errors import BadInput
from mdss.method.teacher import load_teacher
from mdss.scan_files import png
from tests.teachers import backbone_arrays, interrupting, weights, write_backbone, write_photographs
from trainer import photographs as photographs_module
from trainer.backbone import MobileNetV2Features
from trainer.backbone_target import BackboneTarget, sample_layer
from trainer.checkpoint import Checkpoint
from trainer.distil_teacher import Distillation, distil
from trainer.photographs import Photographs, read_photograph


@pytest.fixture
def settings(tmp_path: Path) -> Distillation:
    """Return a distillation of three small steps."""
    folder, backbone = write_photographs(tmp_path / "photographs"), write_backbone(tmp_path / "backbone.npz")
    return Distillation(folder, backbone, steps=3, batch=2, warmup_steps=1, statistics_batches=1)


def test_a_teacher_is_distilled_and_its_details_say_how(settings: Distillation, tmp_path: Path) -> None:
    network, details = distil(settings, tmp_path / "run.checkpoint")
    assert not network.training
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 384, 8, 8)
    assert details["backbone"] == "backbone.npz" and details["photographs"] == 4 and details["steps"] == 3
    assert 0 < details["error_of_variance_1"] < 10 and 0 < details["variance_kept"] <= 1


@pytest.mark.parametrize("slow", [{"learning_rate": 1e-9}, {"warmup_steps": 1_000_000}])
def test_a_distillation_begins_with_the_weights_of_the_teacher_it_is_told(
    settings: Distillation, tmp_path: Path, slow: dict[str, Any]
) -> None:
    settings = replace(settings, start="procedural", **slow)
    network, details = distil(settings, tmp_path / "run.checkpoint")
    assert torch.allclose(weights(network), weights(load_teacher("procedural")[0]), atol=1e-6)
    assert details["start"] == "procedural"


def test_what_is_learned_is_the_target_of_the_crops_that_the_network_sees_at_half_their_size(
    settings: Distillation, tmp_path: Path
) -> None:
    settings = replace(settings, start="procedural", steps=1, seed=7)
    _, details = distil(settings, tmp_path / "run.checkpoint")
    photographs = Photographs(settings.photographs)
    target = BackboneTarget(MobileNetV2Features.load(settings.backbone), photographs, seed=7, batches=1)
    crops = photographs.crops(2, 0.1, np.random.default_rng((7, 0)))
    said = load_teacher("procedural")[0](F.avg_pool2d(crops, 2))
    assert details["error_of_variance_1"] == pytest.approx(float(F.mse_loss(said, target(crops))), rel=0.01)
    assert details["variance_kept"] == pytest.approx(target.variance_kept, abs=1e-3)


def test_the_card_names_all_that_a_resumed_run_must_share_and_any_gpu_for_another(settings: Distillation) -> None:
    described = replace(settings, start="default", seed=7).described(4, "cuda:1")
    assert described == {
        "backbone": "backbone.npz", "start": "default", "photographs": 4, "steps": 3, "batch": 2, "crop_px": 128, "learning_rate": 1e-3,
        "seed": 7, "device": "cuda",
    }  # fmt: skip


def test_a_run_stopped_and_resumed_gives_the_weights_of_an_unbroken_one(
    settings: Distillation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, _ = distil(settings, tmp_path / "unbroken.checkpoint")
    stopped = tmp_path / "stopped.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(Photographs, "crops", interrupting(Photographs.crops, call=2))  # call 1 is for the statistics
        with pytest.raises(KeyboardInterrupt):
            distil(settings, stopped)
    assert Checkpoint.read(stopped).settings["steps"] == 3
    resumed, _ = distil(settings, stopped)
    assert torch.equal(weights(resumed), weights(unbroken))


def test_a_run_is_not_resumed_with_another_seed_and_nobody_waits_to_be_told(
    settings: Distillation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    distil(replace(settings, steps=1), tmp_path / "run.checkpoint")
    assert "backbone statistics" in capsys.readouterr().err
    with pytest.raises(BadInput, match=r"run\.checkpoint: found a checkpoint with seed 0, expected 7"):
        distil(replace(settings, steps=1, seed=7), tmp_path / "run.checkpoint")
    assert "backbone statistics" not in capsys.readouterr().err  # which take a minute


def test_a_run_is_not_resumed_with_what_would_have_given_another_teacher(settings: Distillation, tmp_path: Path) -> None:
    first, checkpoint = replace(settings, steps=1), tmp_path / "run.checkpoint"
    distil(first, checkpoint)
    for change, found in (
        ({"batch": 3}, "batch 2, expected 3"),
        ({"learning_rate": 2e-3}, "learning_rate 0.001, expected 0.002"),
        ({"start": "procedural"}, "start random, expected procedural"),
        ({"photographs": write_photographs(tmp_path / "others", count=5)}, "photographs 4, expected 5"),
    ):
        changed = replace(first, **change)
        with pytest.raises(BadInput, match=rf"run\.checkpoint: found a checkpoint with {found}"):
            distil(changed, checkpoint)


def test_a_run_is_not_resumed_with_another_backbone_of_the_same_name_or_as_many_other_photographs(
    settings: Distillation, tmp_path: Path
) -> None:
    first, checkpoint = replace(settings, steps=1), tmp_path / "run.checkpoint"
    distil(first, checkpoint)
    (tmp_path / "other").mkdir()
    backbone = write_backbone(tmp_path / "other" / settings.backbone.name, backbone_arrays(seed=1))
    copy = write_photographs(tmp_path / "copy")
    distil(replace(first, photographs=copy), checkpoint)
    max(copy.iterdir()).write_bytes(min(copy.iterdir()).read_bytes())
    for other, name in ((replace(first, backbone=backbone), "backbone"), (replace(first, photographs=copy), "photographs")):
        with pytest.raises(BadInput, match=rf"found a checkpoint with {name}_checksum \w{{16}}, expected \w{{16}}; resume with the same"):
            distil(other, checkpoint)
    before = Checkpoint.read(checkpoint)
    known = {name: value for name, value in before.settings.items() if not name.endswith("_checksum")}
    replace(before, settings=known).write(checkpoint)  # as an earlier release wrote it
    distil(first, checkpoint)


def test_a_run_that_begins_anew_asks_nothing_of_the_one_before(settings: Distillation, tmp_path: Path) -> None:
    once, other = tmp_path / "once.checkpoint", replace(settings, steps=1, seed=7)
    distil(replace(settings, steps=1), once)
    anew, _ = distil(other, once, anew=True)
    first, _ = distil(other, tmp_path / "other.checkpoint")
    assert torch.equal(weights(anew), weights(first))


def test_every_step_and_every_seed_draws_other_crops_and_the_same_ones_again(
    settings: Distillation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops, seen, asked = Photographs.crops, list[torch.Tensor](), list[tuple[int, float]]()
    settings = replace(settings, greyscale_share=0.5, statistics_batches=2)

    def noted(photographs: Photographs, count: int, share: float, random: np.random.Generator) -> torch.Tensor:
        seen.append(crops(photographs, count, share, random))
        asked.append((count, share))
        return seen[-1]

    monkeypatch.setattr(Photographs, "crops", noted)
    for number, seed in enumerate((0, 0, 7)):
        distil(replace(settings, seed=seed), tmp_path / f"{number}.checkpoint")
    assert asked == 3 * [*2 * [(16, 0.1)], *3 * [(2, 0.5)]]  # the first crops of a run are for the statistics
    first, again, other = (seen[start : start + 5] for start in (0, 5, 10))
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not any(torch.equal(*pair) for pair in combinations([*first, *other], 2))


def test_the_target_weighs_all_channels_alike(settings: Distillation) -> None:
    photographs = Photographs(settings.photographs)
    target = BackboneTarget(MobileNetV2Features.load(settings.backbone), photographs, seed=0, batches=1)
    said = target(photographs.crops(16, 0.1, np.random.default_rng(0)))  # the crops that the statistics saw
    assert said.shape == (16, 384, 24, 24)
    assert target.variance_kept > 0.5  # in half of the directions, those in which features vary most
    assert said.mean((0, 2, 3)).abs().max() < 0.25  # a third of the positions was measured
    assert (said.std((0, 2, 3)) - 1).abs().max() < 0.25


def test_the_target_tells_as_much_of_both_layers_as_it_says_and_most_of_what_varies_most(settings: Distillation) -> None:
    photographs, backbone = Photographs(settings.photographs), MobileNetV2Features.load(settings.backbone)
    target = BackboneTarget(backbone, photographs, seed=0, batches=1)
    crops = photographs.crops(16, 0.1, np.random.default_rng(0))  # the crops that the statistics saw
    layers = (sample_layer(layer, stride, 128) for layer, stride in zip(backbone(crops), (8, 16), strict=True))
    features, said = (each.permute(0, 2, 3, 1).flatten(0, 2).double() for each in (torch.cat(list(layers), 1), target(crops)))
    features = (features - features.mean(0)) / features.std(0).clamp_min(1e-6)
    untold = features - said @ torch.linalg.lstsq(said, features).solution
    assert float(1 - untold.square().sum() / features.square().sum()) == pytest.approx(target.variance_kept, abs=0.03)
    assert torch.linalg.eigvalsh(torch.cov(said.T))[-1] > 10  # no direction is made as large as every other


def test_the_target_moves_with_what_is_seen(settings: Distillation) -> None:
    photographs = Photographs(settings.photographs)
    target = BackboneTarget(MobileNetV2Features.load(settings.backbone), photographs, seed=0, batches=1)
    crops = photographs.crops(4, 0, np.random.default_rng(5))
    large = torch.cat([torch.cat(list(pair), 2) for pair in (crops[:2], crops[2:])], 1)[None]
    before, after = target(large[..., :496, :496])[..., 2:, 2:], target(large[..., 16:, 16:])[..., :-2, :-2]  # by two positions
    far = slice(18, -18)  # from the edges, which the backbone fills up
    away = (before - after)[..., far, far].square().mean() / before.var()
    assert away < 0.01


def test_crops_are_seeded_and_varied(settings: Distillation) -> None:
    photographs = Photographs(settings.photographs)
    first, again, other = (photographs.crops(3, 0.5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.shape == (3, 3, 256, 256) and first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_as_many_crops_are_grey_as_asked(settings: Distillation, share: float) -> None:
    crops = Photographs(settings.photographs).crops(6, share, np.random.default_rng(0))
    is_grey = [torch.allclose(crop[0], crop[2], atol=1e-5) for crop in crops]
    assert sum(is_grey) == 6 * share


def test_of_very_many_photographs_evenly_spaced_ones_are_read(settings: Distillation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs_module, "MAX_PHOTOGRAPHS", 2)
    assert len(Photographs(settings.photographs)) == 2


def test_a_folder_that_is_named_like_an_image_is_a_folder_of_photographs(settings: Distillation) -> None:
    folder = settings.photographs
    write_photographs(folder / "scans.tif", count=2)
    assert len(Photographs(folder)) == 6


def test_a_photograph_whose_link_leads_nowhere_is_named_and_not_passed_over(settings: Distillation) -> None:
    (settings.photographs / "lost.png").symlink_to("nowhere.png")
    with pytest.raises(BadInput, match=r"lost\.png: cannot be read as an image"):
        Photographs(settings.photographs)


def test_hidden_files_and_folders_among_photographs_are_other_programs(settings: Distillation) -> None:
    folder = settings.photographs
    (folder / "more" / ".thumbnails").mkdir(parents=True)
    for name in ("._0.jpg", "more/._1.png", "more/.thumbnails/2.jpg"):
        (folder / name).write_bytes(b"no image")
    kept = folder.rename(folder.with_name(".photographs"))  # a hidden folder that is asked for is no other program's
    assert len(Photographs(kept)) == 4


def test_a_photograph_s_name_may_be_in_any_encoding(settings: Distillation) -> None:
    first = min(settings.photographs.iterdir())
    before, after = read_photograph(first), first.with_stem(os.fsdecode("Stück".encode("latin-1")))
    assert (read_photograph(first.rename(after)) == before).all()


def test_a_large_photograph_is_kept_smaller(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "large.jpg"), np.full((800, 1200, 3), (200, 100, 50), np.uint8))
    image = read_photograph(tmp_path / "large.jpg")
    assert image.shape == (384, 576, 3)
    assert np.abs(image[100, 100].astype(int) - [50, 100, 200]).max() <= 3


def test_photographs_that_cannot_be_used_are_named(settings: Distillation, tmp_path: Path) -> None:
    bad, empty = settings.photographs / "bad.jpg", tmp_path / "empty"
    empty.mkdir()
    cases = {
        empty: f"{empty}: no photographs found, expected files ending in .jpg",
        tmp_path / "none": f"{tmp_path / 'none'}: no such folder; expected photographs in it",
    }
    for folder, sentence in cases.items():
        with pytest.raises(BadInput) as refused:
            Photographs(folder)
        assert str(refused.value).startswith(sentence)
    bad.write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"bad\.jpg: cannot be read as an image; expected a photograph"):
        Photographs(settings.photographs)
    assert cv2.imwrite(str(bad), np.zeros((127, 300, 3), np.uint8))
    with pytest.raises(BadInput, match=r"bad\.jpg: found 127 x 300 px, expected at least 128 on each side"):
        Photographs(settings.photographs)
    whole = png(np.zeros((128, 128, 3), np.uint8))
    bad.write_bytes(whole[:16] + struct.pack(">II", 20_000, 20_000) + whole[24:])
    with pytest.raises(BadInput, match=r"bad\.jpg: found 20000 x 20000 px, expected at most 200 million pixels"):
        Photographs(settings.photographs)
