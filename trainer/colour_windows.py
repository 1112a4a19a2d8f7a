"""What the colour branch learns from at each step: windows of the training parts, or whole images cropped to their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.method.description_network import CENTRE_PX, CHANNELS, FIELD_PX, STRIDE_PX, positions
from mdss.method.recipe import GENERATED, ColourSettings, Recipe
from mdss.method.student_teacher import StudentTeacher, Window, padded_image
from trainer.branch_inputs import Part
from trainer.distributed import own_rows
from trainer.generated_pictures import GeneratedPictures
from trainer.photographs import Photographs
from trainer.teacher_answers import TeacherOutputs, fits_into_memory
from trainer.turned_parts import turned

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Index = NDArray[np.int64]
Cells = tuple[int, Window]  # number of the part, and the cells of its map

VIEWS = 8  # sets the random numbers of how parts are shown apart from those of their shifts
LEAST_LEFT = 0.5  # of a part: where turning leaves less of it in the image, it is shown as it came


def cell_mask(mask: Bool, how: str) -> Float:
    """Return the mask value of the cell that begins at each pixel: that pixel, the cell's mean, or whether any of its pixels is inside."""
    values = mask.astype(np.float32)
    if how == "area":
        return np.asarray(cv2.blur(values, (STRIDE_PX, STRIDE_PX), anchor=(0, 0)), np.float32)
    return np.asarray(cv2.dilate(values, np.ones((STRIDE_PX, STRIDE_PX), np.uint8), anchor=(0, 0)), np.float32) if how == "any" else values


def every_cell(pixels: NDArray[np.generic], border: str) -> Window:
    """Return the cells of a whole image (S, S) to learn from: all, but with a black border not those that look beyond the image."""
    cells, rim = len(pixels) // STRIDE_PX, CENTRE_PX // STRIDE_PX if border == "zero" else 0
    return Window(rim, rim, cells - 2 * rim, cells - 2 * rim)


def whole_images(parts: Sequence[Part], settings: ColourSettings) -> list[Window]:
    """Return the cells to compute of each whole image: a window around its part, for all of the size that the largest part needs.

    The networks have no padding, and D (x) M is 0 elsewhere whatever they say, so nothing is lost (`Windows.beyond` counts the zeros). If
    the background is learned from, too, these are all cells.
    """
    every = every_cell(parts[0].mask, settings.border)
    if not settings.mask_training:
        return [every] * len(parts)
    boxes = [Window.around(part.mask, len(part.mask) // STRIDE_PX) for part in parts]
    height, width = min(every.height, max(box.height for box in boxes)), min(every.width, max(box.width for box in boxes))
    last_top, last_left = every.top + every.height - height, every.left + every.width - width
    return [Window(min(max(box.top, every.top), last_top), min(max(box.left, every.left), last_left), height, width) for box in boxes]


@dataclass(frozen=True)
class Batch:
    """The data of one step of the colour branch."""

    images: Tensor  # (B, 3, H, W)
    masks: Tensor  # (B, h, w), one value for each of the map's cells
    cells: list[Cells]
    photographs: Tensor | None  # for the penalty, (B, 3, side, side)


@dataclass(frozen=True)
class Crop:
    """One window of one part."""

    image: Float  # (3, H, W)
    mask: Float  # (h, w)
    cells: Cells


@dataclass(frozen=True)
class PartView:
    """One part, and how far it is turned."""

    number: int
    angle_deg: float = 0.0


@dataclass(frozen=True)
class ShownPart:
    """One part as it is shown."""

    view: PartView
    image: Float  # (3, S + 32, S + 32), padded
    mask: Bool  # (S, S)

    @classmethod
    def of(cls, part: Part, view: PartView, border: str) -> ShownPart:
        """Turn a part, unless it is to be shown as it came."""
        rgb, mask = part.rgb, part.mask
        if view.angle_deg:
            image, covered = turned(rgb, mask, view.angle_deg)
            if np.count_nonzero(covered) >= LEAST_LEFT * np.count_nonzero(mask):
                rgb, mask = image, covered
        return cls(view, padded_image(rgb, border), mask)


@dataclass(frozen=True)
class CropPlace:
    """Origin and size of a crop, in pixels of the padded image."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, window: Window) -> CropPlace:
        """Return the pixels that a window's cells look at."""
        height, width = (STRIDE_PX * side + FIELD_PX - 1 for side in (window.height, window.width))
        return cls(STRIDE_PX * window.top, STRIDE_PX * window.left, height, width)


def photographs_of(settings: ColourSettings) -> Photographs | GeneratedPictures | None:
    """Return the pictures on which the student is to say nothing; None without the penalty."""
    if not settings.penalty_photographs:
        return None
    return GeneratedPictures() if settings.penalty_photographs == GENERATED else Photographs(Path(settings.penalty_photographs))


class Windows:
    """Crops of the training parts: random ones on the part, or whole images. The same step always gives the same batch."""

    def __init__(self, parts: Sequence[Part], recipe: Recipe) -> None:
        self.settings, self._seed = recipe.rgb, recipe.seed
        self._parts, self._turned, self._turned_on = parts, dict[int, ShownPart](), -1
        self._as_they_came = [ShownPart.of(part, PartView(number), recipe.rgb.border) for number, part in enumerate(parts)]
        self._whole = whole_images(parts, recipe.rgb) if recipe.rgb.window_px is None else None
        self._photographs = photographs_of(recipe.rgb)
        self._answers: TeacherOutputs | None = None
        self._asked: int | None = None

    def progress(self, step: int) -> float:
        """Return the progress of the training from 0 to 1, in single steps or in whole epochs."""
        steps = self.settings.steps
        if self.settings.factor_every == "epoch":
            step -= step % max(1, len(self._parts) // self.settings.batch)
        return step / max(1, steps - 1)

    @property
    def beyond(self) -> int:
        """How many elements of D (x) M each image has outside its crop: all are 0, but the quantile counts them."""
        if self._whole is None:
            return 0
        every, some = every_cell(self._parts[0].mask, self.settings.border), self._whole[0]
        return CHANNELS * (every.height * every.width - some.height * some.width)

    def ask(self, networks: StudentTeacher, step: int) -> None:
        """Let the teacher describe every part on the grid of this step; nothing to do if it did, or if crops are not on a grid."""
        grid = self._grid_of(step)
        if grid is None or grid == self._asked:
            return
        self._asked, shifts, shown = grid, self._shifts(grid), [self._shown(view, grid) for view in self._views(step)]
        cells = [self._cells(part)[down::STRIDE_PX, right::STRIDE_PX] > 0 for part, (down, right) in zip(shown, shifts, strict=True)]
        if not self.settings.mask_training:
            cells = [np.ones_like(each) for each in cells]
        images = [part.image[:, down:, right:] for part, (down, right) in zip(shown, shifts, strict=True)]
        is_kept = self.settings.light_variation == 0 and fits_into_memory(cells, CHANNELS)
        self._answers = TeacherOutputs.of(networks, images, cells) if is_kept else None

    def _grid_of(self, step: int) -> int | None:
        if self._whole is not None:
            return 0
        return None if self.settings.shift_every is None else step // self.settings.shift_every

    def _shifts(self, grid: int) -> Index:
        """Return the offset (N, 2) in pixels, 0 to 3, of each part's windows from the cells of its map; 0 for whole images."""
        count = len(self._parts)
        if self._whole is not None:
            return np.zeros((count, 2), np.int64)
        return np.random.default_rng((self._seed, grid, STRIDE_PX)).integers(STRIDE_PX, size=(count, 2))

    def _views(self, step: int) -> list[PartView]:
        """Return how each part is shown. Whole images are never turned, because their windows lie where the parts do."""
        count, most_deg = len(self._parts), self.settings.turned_deg
        if self._whole is not None or not self.settings.turned:
            return [PartView(number) for number in range(count)]
        random = np.random.default_rng((self._seed, step // (self.settings.shift_every or 1), VIEWS))
        angles_deg = random.uniform(-most_deg, most_deg, count)
        angles_deg[random.random(count) >= self._share_turned(step)] = 0
        return [PartView(number, angle_deg) for number, angle_deg in enumerate(angles_deg.tolist())]

    def _share_turned(self, step: int) -> float:
        """Return the share of parts that are shown turned: all at the beginning. All steps on one grid have the share of its first."""
        first = step - step % (self.settings.shift_every or 1)
        return 1 + (self.settings.turned_last - 1) * self.progress(first)

    def _shown(self, view: PartView, grid: int | None) -> ShownPart:
        """Return a part as it is shown on a grid. A turned one is kept until the next grid: one grid has many batches."""
        if not view.angle_deg:
            return self._as_they_came[view.number]
        if grid is None:
            return ShownPart.of(self._parts[view.number], view, self.settings.border)
        if grid != self._turned_on:
            self._turned, self._turned_on = {}, grid
        if view.number not in self._turned:
            self._turned[view.number] = ShownPart.of(self._parts[view.number], view, self.settings.border)
        return self._turned[view.number]

    def _cells(self, part: ShownPart) -> Float:
        return cell_mask(part.mask, self.settings.mask_sampling)

    def batch(self, step: int) -> Batch:
        """Return a step's crops, their masks and cells, and photographs for the penalty."""
        random = np.random.default_rng((self._seed, step))
        numbers = random.integers(len(self._parts), size=self.settings.batch).tolist()
        grid = self._grid_of(step)
        shifts = None if grid is None else self._shifts(grid)
        views = self._views(step)
        crops = own_rows(
            [self._crop(self._shown(views[number], grid), None if shifts is None else shifts[number], random) for number in numbers]
        )
        images, masks = (torch.from_numpy(np.stack(each)) for each in zip(*((crop.image, crop.mask) for crop in crops), strict=True))
        return Batch(images, masks, [crop.cells for crop in crops], self._elsewhere(random))

    def _elsewhere(self, random: np.random.Generator) -> Tensor | None:
        """Return as many crops of photographs as a batch has windows, no larger than those: larger ones would take most of a step."""
        if self._photographs is None:
            return None
        side = self.settings.window_px
        return self._photographs.crops(self.settings.batch, 0.3, random)[:, :, :side, :side].contiguous()

    def described(self, batch: Batch, device: torch.device) -> Tensor | None:
        """Return the teacher's description of a batch (B, C, h, w); None if it was not computed beforehand."""
        if self._answers is None:
            return None
        return torch.stack([self._answers.crop(*cells) for cells in batch.cells]).to(device).permute(0, 3, 1, 2)

    def _crop(self, part: ShownPart, shift: Index | None, random: np.random.Generator) -> Crop:
        mask, place = self._cells(part), self._place(part, shift, random)
        crop = part.image[:, place.top : place.top + place.height, place.left : place.left + place.width]
        height, width = positions(place.height), positions(place.width)
        rows, columns = (slice(start, start + STRIDE_PX * count, STRIDE_PX) for start, count in ((place.top, height), (place.left, width)))
        light = 1 + self.settings.light_variation * random.uniform(-1, 1)
        cells = part.view.number, Window(place.top // STRIDE_PX, place.left // STRIDE_PX, height, width)
        return Crop(np.clip(crop * np.float32(light), 0, 1), mask[rows, columns], cells)

    def _place(self, part: ShownPart, shift: Index | None, random: np.random.Generator) -> CropPlace:
        if self._whole is not None:
            return CropPlace.of(self._whole[part.view.number])
        size = part.image.shape[1]
        side = min(self.settings.window_px or size, size if shift is None else size - STRIDE_PX)
        inside = np.flatnonzero(part.mask)  # a tenth of the time of np.nonzero's rows and columns
        centre = np.array(divmod(inside[random.integers(len(inside))], len(part.mask)))
        at = centre + CENTRE_PX - side // 2 + random.integers(-side // 4, side // 4, size=2)
        if shift is None:
            top, left = np.clip(at, 0, size - side).tolist()
        else:
            top, left = (shift + STRIDE_PX * np.clip((at - shift) // STRIDE_PX, 0, (size - side - shift) // STRIDE_PX)).tolist()
        return CropPlace(top, left, side, side)
