"""Trains the colour branch: teacher statistics, then the student with the dynamic loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.method.border import near_border
from mdss.method.brightness import usual_brightness
from mdss.method.contrast import contrast
from mdss.method.description_network import CENTRE_PX, CHANNELS, STRIDE_PX, positions
from mdss.method.eight_bits import highest_inputs
from mdss.method.recipe import ColourSettings, Recipe
from mdss.method.student_teacher import (
    ColourBranch,
    StudentTeacher,
    Window,
    dynamic_factor,
    dynamic_loss,
    padded_image,
    seen_through,
)
from mdss.method.teacher import load_teacher
from mdss.method.torch_device import for_scoring, learning_precision
from mdss.method.usual import Usual
from trainer.distributed import share
from trainer.drawn_ahead import drawn
from trainer.handed_parts import Part, some_of
from trainer.photographs import Photographs
from trainer.progress import tracked
from trainer.teacher_answers import TeacherAnswers, fits_into_memory
from trainer.training import Schedule, Training, channels_last

Float = NDArray[np.float32]
Index = NDArray[np.int64]
Cells = tuple[int, int, int, int]  # of which part, the first row and column on its grid, and how many


def train_colour(parts: Sequence[Part], recipe: Recipe, device: str, checkpoint: Path) -> tuple[StudentTeacher, Training]:
    """Return the trained networks and their training; continues from the checkpoint where it exists."""
    torch.manual_seed(recipe.seed)
    settings = recipe.rgb
    networks = StudentTeacher(settings)
    networks.teacher.load_state_dict(load_teacher(settings.teacher)[0].state_dict())
    if settings.levelling:
        networks.brightness.fill_(usual_brightness(parts))
    channels_last(networks).to(device)
    training = Training(networks, Schedule.of("colour branch", settings), checkpoint)
    if training.step == 0:
        measure_teacher(networks, parts, settings, device)
    windows, teacher = Windows(parts, recipe), as_it_scores(networks, parts, settings, device)
    batches = drawn(windows.batch, range(training.step, settings.steps), device)
    training.run(lambda step: loss_of(networks, windows, step, next(batches), teacher))
    if settings.scores_in == "int8":
        measure_peaks(networks, parts, settings, device)
    networks.eval()
    measure_usual(networks, parts, settings, device)
    return networks, training


def loss_of(networks: StudentTeacher, windows: Windows, step: int, batch: Batch, asked: StudentTeacher | None = None) -> Tensor:
    """Return the loss of one step's batch (paper, eq. 1); `asked` is whose teacher describes the parts, if not that of the networks."""
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
    loss = dynamic_loss(distances, factor, settings.quantile_domain)
    return loss if elsewhere is None else loss + elsewhere.square().mean()


@torch.inference_mode()
def measure_teacher(networks: StudentTeacher, parts: Sequence[Part], settings: ColourSettings, device: str) -> None:
    """Set mean and deviation of each teacher channel over the training parts."""
    count = 0.0
    total, squares = (torch.zeros_like(networks.mean, dtype=torch.float64) for _ in range(2))
    for part in tracked(parts, "teacher statistics", len(parts)):
        cells = part.rgb.shape[0] // STRIDE_PX
        window = Window.around(part.mask, cells) if settings.teacher_statistics == "foreground" else Window.whole(cells)
        features = networks.teacher(seen_through(window, part.rgb, settings.border, device)).double()
        mask = torch.from_numpy(cell_mask(part.mask, settings.mask_sampling)[::STRIDE_PX, ::STRIDE_PX]).to(device)
        inside = mask[window.top : window.top + window.height, window.left : window.left + window.width]
        weights = inside if settings.teacher_statistics == "foreground" else torch.ones_like(inside)
        count += float(weights.sum())
        total += (features * weights).sum(dim=(2, 3), keepdim=True)
        squares += (features.square() * weights).sum(dim=(2, 3), keepdim=True)
    mean = total / count
    networks.mean.copy_(mean)
    networks.deviation.copy_((squares / count - mean.square()).clamp_min(1e-12).sqrt())


def as_it_scores(networks: StudentTeacher, parts: Sequence[Part], settings: ColourSettings, device: str) -> StudentTeacher:
    """Return networks whose teacher says what it will say of new parts: in eight bits, it takes a third of the time, too."""
    if settings.scores_in == "float":
        return networks
    measure_peaks(networks, parts, settings, device)
    return for_scoring(networks, device, "auto", settings.scores_in)


def measure_peaks(networks: StudentTeacher, parts: Sequence[Part], settings: ColourSettings, device: str) -> None:
    """Set the highest value that each wide layer is given for good parts, in float32."""
    chosen = some_of(parts)

    def show_all() -> None:
        for part in tracked(chosen, "peaks", len(chosen)):
            networks(seen_through(Window.scored(part.mask, settings), part.rgb, settings.border, device), settings.distance)

    networks.peaks.copy_(highest_inputs(networks.wide_layers(), show_all))


def measure_usual(networks: StudentTeacher, parts: Sequence[Part], settings: ColourSettings, device: str) -> None:
    """Set what maps of good parts, as they score, reach at each contrast and, after that, so near to the border, if the recipe asks."""
    if not (settings.by_contrast or settings.by_border):
        return
    branch, chosen = ColourBranch(networks, settings, device), some_of(parts)
    contrasts, heats = [], []
    for part in tracked(chosen, "usual places", len(chosen)):
        seen = branch.levelled(part.rgb, part.mask)
        contrasts.append(contrast(seen, part.mask)[part.mask])
        heats.append(branch.unweighed(seen, part.mask)[part.mask])
    if settings.by_contrast:
        usual = Usual.of(contrasts, heats)
        networks.usual.copy_(torch.from_numpy(usual.stored()))
        heats = [found / usual.at(cues) for found, cues in zip(heats, contrasts, strict=True)]
    if settings.by_border:
        near = [near_border(part.grid)[part.mask] for part in chosen]
        networks.border_usual.copy_(torch.from_numpy(Usual.of(near, heats).stored()))


def cell_mask(mask: NDArray[np.bool_], how: str) -> Float:
    """Return what the mask says of a map's cell that begins at each pixel: its centre, its mean, or whether any of it is inside."""
    values = mask.astype(np.float32)
    if how == "area":
        return np.asarray(cv2.blur(values, (STRIDE_PX, STRIDE_PX), anchor=(0, 0)), np.float32)
    return np.asarray(cv2.dilate(values, np.ones((STRIDE_PX, STRIDE_PX), np.uint8), anchor=(0, 0)), np.float32) if how == "any" else values


@dataclass(frozen=True)
class Batch:
    """What one step of the colour branch learns from."""

    images: Tensor  # (B, 3, w, w)
    masks: Tensor  # (B, h, h) at the map's cells
    cells: list[Cells]
    photographs: Tensor | None  # for the penalty


@dataclass(frozen=True)
class Crop:
    """One window of one part."""

    image: Float  # (3, w, w)
    mask: Float  # (h, h)
    cells: Cells


@dataclass(frozen=True)
class Place:
    """Where a crop begins, in pixels of the padded image, and how large it is."""

    top: int
    left: int
    side: int


class Windows:
    """Crops of the training parts: random ones on the part, or whole images; the same step always gives the same batch."""

    def __init__(self, parts: Sequence[Part], recipe: Recipe) -> None:
        self.settings, self._seed = recipe.rgb, recipe.seed
        self._images = [padded_image(part.rgb, recipe.rgb.border) for part in parts]
        self._masks = [cell_mask(part.mask, recipe.rgb.mask_sampling) for part in parts]
        self._inside = [np.argwhere(part.mask) for part in parts]
        folder = recipe.rgb.penalty_photographs
        self._photographs = Photographs(Path(folder)) if folder else None
        self._answers: TeacherAnswers | None = None
        self._asked: int | None = None

    def progress(self, step: int) -> float:
        """Return how far the training is, from 0 to 1: step by step, or in whole rounds through the parts."""
        steps = self.settings.steps
        if self.settings.factor_every == "epoch":
            step -= step % max(1, len(self._images) // self.settings.batch)
        return step / max(1, steps - 1)

    def ask(self, networks: StudentTeacher, step: int) -> None:
        """Let the teacher describe every part on the grid of this step, unless it did so before or will be shown something else."""
        grid = self._grid_of(step)
        if grid is None or grid == self._asked:
            return
        self._asked, shifts = grid, self._shifts(grid)
        cells = [mask[down::STRIDE_PX, right::STRIDE_PX] > 0 for mask, (down, right) in zip(self._masks, shifts, strict=True)]
        if not self.settings.mask_training:
            cells = [np.ones_like(each) for each in cells]
        images = [image[:, down:, right:] for image, (down, right) in zip(self._images, shifts, strict=True)]
        is_kept = self.settings.light_variation == 0 and fits_into_memory(cells, CHANNELS)
        self._answers = TeacherAnswers.of(networks, images, cells) if is_kept else None

    def _grid_of(self, step: int) -> int | None:
        every = self.settings.shift_every
        return None if every is None or self.settings.window_px is None else step // every

    def _shifts(self, grid: int) -> Index:
        """Return by how many pixels (N, 2), 0 to 3, each part's windows lie beside the cells of its map."""
        return np.random.default_rng((self._seed, grid, STRIDE_PX)).integers(STRIDE_PX, size=(len(self._images), 2))

    def batch(self, step: int) -> Batch:
        """Return crops, their masks, where they lie, and photographs for the penalty."""
        random = np.random.default_rng((self._seed, step))
        numbers = random.integers(len(self._images), size=self.settings.batch).tolist()
        grid = self._grid_of(step)
        shifts = None if grid is None else self._shifts(grid)
        crops = share([self._crop(number, None if shifts is None else shifts[number], random) for number in numbers])
        images, masks = (torch.from_numpy(np.stack(each)) for each in zip(*((crop.image, crop.mask) for crop in crops), strict=True))
        photographs = self._photographs.crops(self.settings.batch, 0.3, random) if self._photographs else None
        return Batch(images, masks, [crop.cells for crop in crops], photographs)

    def described(self, batch: Batch, device: torch.device) -> Tensor | None:
        """Return what the teacher says of a batch (B, C, h, h); None where it was not asked beforehand."""
        if self._answers is None:
            return None
        return torch.stack([self._answers.crop(*cells) for cells in batch.cells]).to(device).permute(0, 3, 1, 2)

    def _crop(self, number: int, shift: Index | None, random: np.random.Generator) -> Crop:
        image, mask = self._images[number], self._masks[number]
        place = self._place(number, shift, random)
        crop = image[:, place.top : place.top + place.side, place.left : place.left + place.side]
        cells = positions(place.side)
        rows, columns = (slice(start, start + STRIDE_PX * cells, STRIDE_PX) for start in (place.top, place.left))
        light = 1 + self.settings.light_variation * random.uniform(-1, 1)
        at = number, place.top // STRIDE_PX, place.left // STRIDE_PX, cells
        return Crop(np.clip(crop * np.float32(light), 0, 1), mask[rows, columns], at)

    def _place(self, number: int, shift: Index | None, random: np.random.Generator) -> Place:
        size = self._images[number].shape[1]
        if self.settings.window_px is None:
            return Place(CENTRE_PX, CENTRE_PX, size - 2 * CENTRE_PX) if self.settings.border == "zero" else Place(0, 0, size)
        side = min(self.settings.window_px, size if shift is None else size - STRIDE_PX)
        inside = self._inside[number]
        at = inside[random.integers(len(inside))] + CENTRE_PX - side // 2 + random.integers(-side // 4, side // 4, size=2)
        if shift is None:
            top, left = np.clip(at, 0, size - side).tolist()
        else:
            top, left = (shift + STRIDE_PX * np.clip((at - shift) // STRIDE_PX, 0, (size - side - shift) // STRIDE_PX)).tolist()
        return Place(top, left, side)
