"""What the colour branch's student is asked for: the teacher's words in units of their usual spread, and silence on other photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from mdss.method.description_network import STRIDE_PX
from mdss.method.grid import Grid
from mdss.method.recipe import GENERATED, ColourSettings, Recipe
from mdss.method.student_teacher import StudentTeacher, Window, window_pixels
from trainer.branch_inputs import BranchInput
from trainer.colour_windows import Windows, cell_mask
from trainer.generated_pictures import GeneratedPictures
from trainer.train_rgb import loss_of, measure_teacher

SIZE_PX = 96
SMALL = ColourSettings(batch=3, window_px=48, student_width=0.25, steps=10)


def parts() -> list[BranchInput]:
    """Return two parts of different size, whose surroundings look otherwise than they do."""
    random, found = np.random.default_rng(0), []
    for side in (30, 60):
        mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
        mask[20 : 20 + side, 10 : 10 + side] = True
        rgb = np.where(mask[..., None], random.integers(0, 255, (SIZE_PX, SIZE_PX, 3)), 40).astype(np.uint8)
        found.append(BranchInput(rgb, mask, np.empty(0, np.float32), Grid.filled(SIZE_PX)))
    return found


@torch.inference_mode()
def said_of(networks: StudentTeacher, part: BranchInput, settings: ColourSettings) -> Tensor:
    """Return what the teacher says (N, C) of the cells that its statistics are to be taken over."""
    cells = SIZE_PX // STRIDE_PX
    said: Tensor = networks.teacher(window_pixels(Window.whole(cells), part.rgb, settings.border, "cpu"))[0].permute(1, 2, 0)
    mask = cell_mask(part.mask, settings.mask_sampling)[::STRIDE_PX, ::STRIDE_PX] > 0
    return said[torch.from_numpy(mask)] if settings.teacher_statistics == "foreground" else said.flatten(0, 1)


@pytest.mark.parametrize("over", ["foreground", "all"])
def test_a_channel_counts_in_its_own_mean_and_deviation_over_the_parts(over: Any) -> None:
    torch.manual_seed(0)
    settings = msgspec.structs.replace(SMALL, teacher_statistics=over)
    networks = StudentTeacher(settings)
    measure_teacher(networks, parts(), settings, "cpu")
    said = torch.cat([said_of(networks, part, settings) for part in parts()]).double()
    torch.testing.assert_close(networks.mean.flatten(), said.mean(dim=0).float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(networks.deviation.flatten(), said.std(dim=0, correction=0).float(), rtol=1e-3, atol=1e-6)


def write_photograph(folder: Path) -> None:
    cv2.imwrite(str(folder / "somewhere.png"), np.random.default_rng(0).integers(0, 255, (140, 140, 3), np.uint8))


@pytest.mark.parametrize(("window_px", "side"), [(48, 48), (96, 96), (512, 256), (None, 256)])
def test_crops_of_photographs_are_no_larger_than_windows_so_that_they_cost_a_step_no_more(
    window_px: int | None, side: int, tmp_path: Path
) -> None:
    write_photograph(tmp_path)
    settings = msgspec.structs.replace(SMALL, penalty_photographs=str(tmp_path), window_px=window_px)
    photographs = Windows(parts(), Recipe(rgb=settings)).batch(0).photographs
    assert photographs is not None
    assert photographs.shape == (settings.batch, 3, side, side)


def test_drawn_pictures_stand_in_for_photographs_and_are_the_same_in_every_training_whatever_its_seed() -> None:
    settings = msgspec.structs.replace(SMALL, penalty_photographs=GENERATED)
    first, again, other = (Windows(parts(), Recipe(rgb=settings, seed=seed)) for seed in (0, 0, 1))
    shown, as_shown, next_ones = first.batch(0).photographs, again.batch(0).photographs, first.batch(1).photographs
    assert shown is not None and as_shown is not None and next_ones is not None
    assert shown.shape == (settings.batch, 3, 48, 48) and shown.min() >= 0 and shown.max() <= 1
    assert torch.equal(shown, as_shown)
    assert not torch.equal(shown, next_ones)
    assert other.batch(0).photographs is not None
    pictures = GeneratedPictures()
    one, same = (pictures.crops(4, 0.0, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(one, same) and torch.equal(one, GeneratedPictures().crops(4, 0.0, np.random.default_rng(3)))
    assert len({crop.sum().item() for crop in one}) == 4


def test_what_a_student_says_of_other_photographs_adds_to_its_loss(tmp_path: Path) -> None:
    write_photograph(tmp_path)
    settings = msgspec.structs.replace(SMALL, penalty_photographs=str(tmp_path))
    torch.manual_seed(0)
    networks, windows = StudentTeacher(settings), Windows(parts(), Recipe(rgb=settings))
    batch = windows.batch(0)
    assert batch.photographs is not None
    whole, alone = (loss_of(networks, windows, 0, each).item() for each in (batch, replace(batch, photographs=None)))
    assert whole - alone == pytest.approx(networks.student(batch.photographs).square().mean().item(), rel=0.02)
