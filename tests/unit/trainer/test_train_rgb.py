"""The training of the colour branch: where windows lie, and a teacher that is asked once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mdss.method import torch_device
from mdss.method.border import BORDER_PX, near_border
from mdss.method.contrast import contrast
from mdss.method.description_network import STRIDE_PX, PatchDescriptionNetwork
from mdss.method.dynamic_loss import dynamic_loss
from mdss.method.grid import Grid
from mdss.method.recipe import ColourSettings, Recipe
from mdss.method.student_teacher import ColourBranch, StudentTeacher, Window, window_pixels
from mdss.method.surroundings import surroundings
from mdss.method.torch_device import learning_precision
from mdss.method.usual import SHARES, Usual
from tests.precision import needs_bfloat16
from trainer import teacher_answers
from trainer.branch_inputs import BranchInput
from trainer.colour_windows import PartView, Windows, cell_mask
from trainer.train_rgb import loss_of, measure_teacher, train_colour, with_scoring_teacher

SIZE_PX = 96
CPU = torch.device("cpu")
SMALL = ColourSettings(batch=3, window_px=48, student_width=0.25, steps=10, shift_every=3)
CHANGED: dict[str, dict[str, Any]] = {"light": {"light_variation": 0.2}, "any pixel": {"shift_every": None}}


def parts() -> list[BranchInput]:
    """Return three parts, two of them in corners of their images."""
    random, found = np.random.default_rng(0), []
    for rows, columns in ((slice(30, 80), slice(20, 61)), (slice(0, 45), slice(0, 50)), (slice(53, SIZE_PX), slice(50, SIZE_PX))):
        mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
        mask[rows, columns] = True
        image = random.integers(0, 255, (SIZE_PX, SIZE_PX, 3), np.uint8)
        found.append(BranchInput(image, mask, np.empty(0, np.float32), Grid.filled(SIZE_PX)))
    return found


def windows_of(settings: ColourSettings) -> Windows:
    return Windows(parts(), Recipe(rgb=settings))


@pytest.fixture(scope="module")
def networks() -> StudentTeacher:
    """Return networks whose teacher says something else at every place."""
    torch.manual_seed(0)
    made = StudentTeacher(SMALL)
    measure_teacher(made, parts(), SMALL, "cpu")
    return made


@pytest.mark.parametrize(("mask_training", "turned"), [(True, False), (False, False), (True, True)])
def test_answers_that_were_kept_are_those_of_asking_at_each_step(
    networks: StudentTeacher, monkeypatch: pytest.MonkeyPatch, mask_training: bool, turned: bool
) -> None:
    settings = msgspec.structs.replace(SMALL, mask_training=mask_training, turned=turned)
    keeping, asking = windows_of(settings), windows_of(settings)
    monkeypatch.setattr(asking, "ask", lambda *_: None)
    for step in range(5):
        batch = keeping.batch(step)
        loss = loss_of(networks, keeping, step, batch).item()
        described = keeping.described(batch, CPU)
        assert described is not None
        with learning_precision("cpu"):
            missed = networks.describe(batch.images) - described
        if mask_training:
            assert batch.masks.any()
            missed *= batch.masks[:, None]
        assert missed.square().mean().sqrt() < 0.01
        assert loss == pytest.approx(loss_of(networks, asking, step, batch).item(), rel=2e-3)


def test_the_teacher_is_asked_once_for_each_part_and_shift(networks: StudentTeacher, monkeypatch: pytest.MonkeyPatch) -> None:
    windows, asked, describe = windows_of(SMALL), Counter[int](), networks.describe

    def counted(images: Tensor) -> Tensor:
        asked[step] += 1
        return describe(images)

    monkeypatch.setattr(networks, "describe", counted)
    for step in range(7):
        loss_of(networks, windows, step, windows.batch(step))
    assert asked == {0: 3, 3: 3, 6: 3}


@pytest.mark.parametrize(
    "change", [{}, {"border": "zero"}, {"border": "zero", "quantile_domain": "image"}, {"mask_sampling": "any"}, {"mask_training": False}]
)
def test_whole_images_that_are_computed_around_the_part_alone_teach_the_same(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_device, "cpu_gains_by_bfloat16", lambda: False)
    settings = msgspec.convert({**msgspec.to_builtins(SMALL), "window_px": None, "batch": 6, **change}, ColourSettings)
    torch.manual_seed(0)
    learner, windows = StudentTeacher(settings), windows_of(settings)
    batch = windows.batch(0)
    assert {number for number, _ in batch.cells} == {0, 1, 2}
    loss, expected = loss_of(learner, windows, 0, batch), loss_of_whole(learner, [number for number, _ in batch.cells], settings)
    found, sought = (torch.autograd.grad(each, learner.student.conv2.weight)[0] for each in (loss, expected))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert (found - sought).norm() < 0.01 * sought.norm()
    assert batch.masks.shape[1:] == ((14, 14) if settings.mask_training else (24, 24))


def loss_of_whole(networks: StudentTeacher, numbers: list[int], settings: ColourSettings) -> Tensor:
    """Return the loss of the first step where all of each image is computed."""
    whole, rim = Window.whole(SIZE_PX // STRIDE_PX), 4 if settings.border == "zero" else 0
    kept = slice(rim, SIZE_PX // STRIDE_PX - rim)
    chosen = [parts()[number] for number in numbers]
    images = torch.cat([window_pixels(whole, part.rgb, settings.border, "cpu") for part in chosen])
    distances = networks(images, settings.distance)[:, :, kept, kept]
    if settings.mask_training:
        masks = [cell_mask(part.mask, settings.mask_sampling)[::STRIDE_PX, ::STRIDE_PX][kept, kept] for part in chosen]
        distances = distances * torch.from_numpy(np.stack(masks))[:, None]
    return dynamic_loss(distances, settings.factor_first, settings.quantile_domain)


def test_of_whole_images_the_teacher_is_asked_once(networks: StudentTeacher, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = windows_of(msgspec.structs.replace(SMALL, window_px=None, shift_every=None))
    windows.ask(networks, 0)
    assert windows.described(windows.batch(7), CPU) is not None
    monkeypatch.setattr(networks, "describe", None)
    windows.ask(networks, 7)


def test_windows_lie_on_one_grid_of_each_part_until_the_shift_changes() -> None:
    windows, random = windows_of(SMALL), np.random.default_rng(0)
    seen = set()
    for grid in range(20):
        for number, shift in enumerate(windows._shifts(grid)):
            places = [windows._place(windows._shown(PartView(number), grid), shift, random) for _ in range(20)]
            assert {(place.top % STRIDE_PX, place.left % STRIDE_PX) for place in places} == {tuple(shift)}
            assert all(0 <= start <= SIZE_PX + 32 - 48 for place in places for start in (place.top, place.left))
            seen.add((number, *shift))
    assert len(seen) > 20


def test_the_progress_of_a_training_goes_from_nothing_to_all_in_steps_or_in_whole_epochs() -> None:
    assert [windows_of(SMALL).progress(step) for step in (0, 3, 9)] == [0.0, 3 / 9, 1.0]
    by_epoch = windows_of(msgspec.structs.replace(SMALL, factor_every="epoch", batch=1))  # three parts: three steps
    assert [by_epoch.progress(step) for step in range(7)] == [0.0] * 3 + [3 / 9] * 3 + [6 / 9]


def test_crops_of_varied_light_are_as_often_darker_as_lighter_by_no_more_than_their_share() -> None:
    varied, plain = (windows_of(msgspec.structs.replace(SMALL, light_variation=share)) for share in (0.2, 0.0))
    lights = []
    for step in range(30):
        as_recorded, shown = plain.batch(step).images, varied.batch(step).images
        lights += [float(bright[dim < 0.8].mean() / dim[dim < 0.8].mean()) for bright, dim in zip(shown, as_recorded, strict=True)]
    assert 0.8 <= min(lights) < 0.85 and 1.15 < max(lights) <= 1.2
    assert np.mean(lights) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("change", CHANGED)
def test_a_teacher_that_is_shown_something_new_is_asked_at_each_step(networks: StudentTeacher, change: str) -> None:
    windows = windows_of(msgspec.convert({**msgspec.to_builtins(SMALL), **CHANGED[change]}, ColourSettings))
    windows.ask(networks, 0)
    assert windows.described(windows.batch(0), CPU) is None


def test_answers_that_do_not_fit_into_memory_are_not_kept(networks: StudentTeacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_answers, "MOST_BYTES", 1000)
    windows = windows_of(SMALL)
    windows.ask(networks, 0)
    assert windows.described(windows.batch(0), CPU) is None


@pytest.mark.parametrize("narrow", [False, pytest.param(True, marks=needs_bfloat16)])
def test_where_a_model_scores_in_eight_bits_its_student_learns_what_the_teacher_says_in_them(
    narrow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_device, "cpu_gains_by_bfloat16", lambda: narrow)
    settings = msgspec.structs.replace(SMALL, scores_in="int8", mask_training=False)
    torch.manual_seed(0)
    learner, windows = StudentTeacher(settings), windows_of(settings)
    measure_teacher(learner, parts(), settings, "cpu")
    scoring, batch = with_scoring_teacher(learner, parts(), settings, "cpu"), windows.batch(0)
    loss_of(learner, windows, 0, batch, scoring)
    described = windows.described(batch, CPU)
    assert described is not None
    missed, rounding = ((made.describe(batch.images) - described).square().mean().sqrt() for made in (scoring, learner))
    assert missed < 0.3 * rounding


def test_a_teacher_that_is_asked_at_each_step_speaks_as_it_will_score() -> None:
    settings = msgspec.structs.replace(SMALL, scores_in="int8", shift_every=None, mask_training=False)
    torch.manual_seed(0)
    learner, windows = StudentTeacher(settings), windows_of(settings)
    measure_teacher(learner, parts(), settings, "cpu")
    scoring, batch = with_scoring_teacher(learner, parts(), settings, "cpu"), windows.batch(0)
    found = loss_of(learner, windows, 0, batch, scoring).item()
    rounded, exact = (
        dynamic_loss(learner(batch.images, "squared", each.describe(batch.images)), 0.5).item() for each in (scoring, learner)
    )
    assert abs(found - rounded) < 0.1 * abs(exact - rounded)


def test_in_float_there_is_one_teacher(networks: StudentTeacher) -> None:
    assert with_scoring_teacher(networks, parts(), SMALL, "cpu") is networks


def test_a_branch_that_scores_in_eight_bits_keeps_the_highest_values_that_good_parts_give(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SMALL, steps=2, scores_in="int8")
    learned, _ = train_colour(parts(), Recipe(rgb=settings), "cpu", tmp_path / "checkpoint")
    expected = [max(given_to_second(network, part) for part in parts()) for network in (learned.teacher, learned.student)]
    assert learned.peaks[[0, 3]].tolist() == pytest.approx(expected)
    assert learned.peaks.shape == (6,) and (learned.peaks > 0).all()


@torch.inference_mode()
def given_to_second(network: PatchDescriptionNetwork, part: BranchInput) -> float:
    """Return the highest value that the first layer hands on for a part."""
    seen = window_pixels(Window.around(part.mask, SIZE_PX // STRIDE_PX), part.rgb, "reflect", "cpu")
    return float(F.avg_pool2d(F.relu(network.conv1((seen - network.mean) / network.std)), 2).max())


def test_the_light_that_new_images_are_brought_to_is_that_of_the_training_parts_which_are_learned_from_as_they_are(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SMALL, steps=2)
    levelled, plain = (
        train_colour(parts(), Recipe(rgb=msgspec.structs.replace(settings, levelling=share)), "cpu", tmp_path / f"{share}.checkpoint")[0]
        for share in (0.5, 0.0)
    )
    assert levelled.brightness.item() == pytest.approx(np.mean([part.rgb[part.mask].mean() for part in parts()]), abs=1e-4)
    torch.testing.assert_close({name: value for name, value in levelled.state_dict().items() if name != "brightness"}, plain.state_dict())


def test_what_good_parts_reach_at_a_contrast_is_measured_on_maps_as_they_score(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SMALL, steps=2, levelling=0.5, median_share=0.5, by_contrast=True)
    learned, _ = train_colour(parts(), Recipe(rgb=settings), "cpu", tmp_path / "checkpoint")
    branch = ColourBranch(learned, settings, "cpu")
    levelled = [replace(part, rgb=branch.levelled(part.rgb, part.mask)) for part in parts()]
    heats = [branch.map_before_division(part.rgb, part.mask)[part.mask] for part in levelled]
    cues = [contrast(part.rgb, part.mask)[part.mask] for part in levelled]
    np.testing.assert_allclose(learned.usual.numpy(), Usual.of(cues, heats).stored(), rtol=1e-5)
    contrasts, usual = learned.usual.numpy()
    assert (np.diff(contrasts) > 0).all() and contrasts[0] > 0
    sizes = np.diff([0, *SHARES, 1])
    assert np.average(usual, weights=sizes) == pytest.approx(1.0, abs=1e-3)
    weighed = np.concatenate([branch.score_map(part.rgb, part.mask)[part.mask] for part in parts()])
    assert weighed.mean() == pytest.approx(np.concatenate(heats).mean(), rel=0.05)


def test_what_good_parts_reach_at_the_border_is_measured_once_their_contrast_counts(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SMALL, steps=2, by_contrast=True, by_border=True)
    learned, _ = train_colour(parts(), Recipe(rgb=settings), "cpu", tmp_path / "checkpoint")
    of_contrast = ColourBranch(learned, msgspec.structs.replace(settings, by_border=False), "cpu")
    held = [of_contrast.score_map(part.rgb, part.mask)[part.mask] for part in parts()]
    near = [near_border(Grid.filled(SIZE_PX))[part.mask] for part in parts()]
    np.testing.assert_allclose(learned.border_usual.numpy(), Usual.of(near, held).stored(), rtol=1e-5)
    assert learned.border_usual[0].max() > BORDER_PX / 2  # one part lies in the corner


def test_the_usual_level_is_measured_last_of_all(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SMALL, steps=2, by_contrast=True, by_border=True, by_surroundings=0.5)
    learned, _ = train_colour(parts(), Recipe(rgb=settings), "cpu", tmp_path / "checkpoint")
    map_of = ColourBranch(learned, msgspec.structs.replace(settings, by_surroundings=0), "cpu").score_map
    reached = [np.median(surroundings(map_of(part.rgb, part.mask), part.mask)[part.mask]) for part in parts()]
    assert float(learned.level) == pytest.approx(np.median(reached), rel=1e-5)
