"""Trains the colour branch: measures the teacher's channel statistics, then trains the student with the dynamic loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdss.method.border import near_border
from mdss.method.contrast import contrast
from mdss.method.description_network import STRIDE_PX
from mdss.method.dynamic_loss import dynamic_factor, dynamic_loss
from mdss.method.eight_bits import highest_inputs
from mdss.method.heat import on_grid
from mdss.method.recipe import ColourSettings, Recipe
from mdss.method.student_teacher import ColourBranch, StudentTeacher, Window, window_pixels
from mdss.method.surroundings import surroundings
from mdss.method.teacher import load_teacher
from mdss.method.torch_device import for_scoring, learning_precision
from mdss.method.usual import Usual
from trainer.branch_inputs import Part, mean_brightness, sample_parts
from trainer.colour_windows import Batch, Windows, cell_mask
from trainer.prefetch import prefetched
from trainer.progress import tracked
from trainer.training import Schedule, Training, channels_last


def train_colour(parts: Sequence[Part], recipe: Recipe, device: str, checkpoint: Path) -> tuple[StudentTeacher, Training]:
    """Return the trained networks and their training; continues from the checkpoint if it exists."""
    torch.manual_seed(recipe.seed)
    settings = recipe.rgb
    networks = StudentTeacher(settings)
    networks.teacher.load_state_dict(load_teacher(settings.teacher)[0].state_dict())
    if settings.levelling:
        networks.brightness.fill_(mean_brightness(parts))
    channels_last(networks).to(device)
    training = Training(networks, Schedule.of("colour branch", settings), checkpoint)
    if training.step == 0:
        measure_teacher(networks, parts, settings, device)
    windows, teacher = Windows(parts, recipe), with_scoring_teacher(networks, parts, settings, device)
    batches = prefetched(windows.batch, range(training.step, settings.steps), device)
    training.run(lambda step: loss_of(networks, windows, step, next(batches), teacher))
    if settings.scores_in == "int8":
        measure_peaks(networks, parts, settings, device)
    networks.eval()
    measure_usual(networks, parts, settings, device)
    return networks, training


def loss_of(networks: StudentTeacher, windows: Windows, step: int, batch: Batch, asked: StudentTeacher | None = None) -> Tensor:
    """Return the loss of one step's batch (paper, eq. 1). The teacher of `asked` describes the images, or that of `networks` if None."""
    device, settings, teaching = networks.mean.device, windows.settings, asked or networks
    windows.ask(teaching, step)
    described, images = windows.described(batch, device), batch.images.to(device, memory_format=torch.channels_last)
    with learning_precision(device.type):
        if described is None:
            described = teaching.describe(images)
        distances = networks(images, settings.distance, described).float()
        elsewhere = None if batch.photographs is None else networks.student(batch.photographs.to(device)).float()
    if settings.mask_training:
        distances = distances * batch.masks.to(device)[:, None]
    factor = dynamic_factor(windows.progress(step), settings.factor_first, settings.factor_last)
    loss = dynamic_loss(distances, factor, settings.quantile_domain, windows.beyond)
    return loss if elsewhere is None else loss + elsewhere.square().mean()


@torch.inference_mode()
def measure_teacher(networks: StudentTeacher, parts: Sequence[Part], settings: ColourSettings, device: str) -> None:
    """Set the channel statistics: mean and deviation of each teacher channel over the training parts."""
    count = 0.0
    total, squares = (torch.zeros_like(networks.mean, dtype=torch.float64) for _ in range(2))
    for part in tracked(parts, "teacher statistics"):
        cells = part.rgb.shape[0] // STRIDE_PX
        window = Window.around(part.mask, cells) if settings.teacher_statistics == "foreground" else Window.whole(cells)
        features = networks.teacher(window_pixels(window, part.rgb, settings.border, device)).double()
        mask = torch.from_numpy(cell_mask(part.mask, settings.mask_sampling)[::STRIDE_PX, ::STRIDE_PX]).to(device)
        inside = mask[window.top : window.top + window.height, window.left : window.left + window.width]
        weights = inside if settings.teacher_statistics == "foreground" else torch.ones_like(inside)
        count += float(weights.sum())
        total += (features * weights).sum(dim=(2, 3), keepdim=True)
        squares += (features.square() * weights).sum(dim=(2, 3), keepdim=True)
    mean = total / count
    networks.mean.copy_(mean)
    networks.deviation.copy_((squares / count - mean.square()).clamp_min(1e-12).sqrt())


def with_scoring_teacher(networks: StudentTeacher, parts: Sequence[Part], settings: ColourSettings, device: str) -> StudentTeacher:
    """Return networks whose teacher computes as it will on new parts: in eight bits, which also takes a third of the time."""
    if settings.scores_in == "float":
        return networks
    measure_peaks(networks, parts, settings, device)
    return for_scoring(networks, device, "auto", settings.scores_in)


def measure_peaks(networks: StudentTeacher, parts: Sequence[Part], settings: ColourSettings, device: str) -> None:
    """Set the highest input of each wide layer on good parts, measured in float32."""
    chosen = sample_parts(parts)

    def show_all() -> None:
        for part in tracked(chosen, "peaks"):
            networks(window_pixels(Window.to_score(part.mask, settings), part.rgb, settings.border, device), settings.distance)

    networks.peaks.copy_(highest_inputs(networks.wide_layers(), show_all))


def measure_usual(networks: StudentTeacher, parts: Sequence[Part], settings: ColourSettings, device: str) -> None:
    """Set what maps of good parts reach at each contrast, then as near to the border, then around a place, where the recipe asks."""
    if not (settings.by_contrast or settings.by_border or settings.by_surroundings):
        return
    branch, chosen = ColourBranch(networks, settings, device), sample_parts(parts)
    contrasts, heats = [], []
    for part in tracked(chosen, "usual places"):
        seen = branch.levelled(part.rgb, part.mask)
        contrasts.append(contrast(seen, part.mask)[part.mask])
        heats.append(branch.map_before_division(seen, part.mask)[part.mask])
    if settings.by_contrast:
        usual = Usual.of(contrasts, heats)
        networks.usual.copy_(torch.from_numpy(usual.stored()))
        heats = [found / usual.at(cues) for found, cues in zip(heats, contrasts, strict=True)]
    if settings.by_border:
        near = [near_border(part.grid)[part.mask] for part in chosen]
        usual = Usual.of(near, heats)
        networks.border_usual.copy_(torch.from_numpy(usual.stored()))
        heats = [found / usual.at(cues) for found, cues in zip(heats, near, strict=True)]
    if settings.by_surroundings:
        maps = [on_grid(found, np.flatnonzero(part.mask), part.mask.shape) for found, part in zip(heats, chosen, strict=True)]
        around = [surroundings(heat, part.mask)[part.mask] for heat, part in zip(maps, chosen, strict=True)]
        networks.level.fill_(float(np.median([np.median(found) for found in around])))
