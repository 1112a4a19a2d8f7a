"""The colour branch: a student network imitates a fixed teacher on good parts; the map shows where it fails to do so on a new part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mdss.method.border import near_border
from mdss.method.brightness import match_brightness
from mdss.method.contrast import contrast
from mdss.method.description_network import CENTRE_PX, CHANNELS, FIELD_PX, STRIDE_PX, PatchDescriptionNetwork
from mdss.method.grid import Grid
from mdss.method.heat import blurred
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import ColourSettings, Recipe
from mdss.method.surroundings import surroundings
from mdss.method.torch_device import Precision, for_scoring, in_float32
from mdss.method.usual import CLASSES, Usual
from mdss.method.weights import read_weights

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

WEIGHTS = "rgb.safetensors"
MOST_LEVEL = 2.0  # of the usual one


class StudentTeacher(nn.Module):
    """Teacher, its channel statistics, and the student of the same structure (paper, 3.1)."""

    mean: Tensor
    deviation: Tensor
    brightness: Tensor  # mean brightness of the training parts, 0 to 255, to which new images are scaled; only with `levelling`
    usual: Tensor  # a stored `Usual`: what maps of good parts reach, by contrast; only with `by_contrast`
    border_usual: Tensor  # the same, by nearness to the image's border; only with `by_border`
    level: Tensor  # how high maps of good parts usually reach around a place; only with `by_surroundings`
    peaks: Tensor  # the highest input of each wide layer on good parts; only with `scores_in: int8`

    def __init__(self, settings: ColourSettings) -> None:
        super().__init__()
        self.teacher = PatchDescriptionNetwork().requires_grad_(requires_grad=False)
        self.student = PatchDescriptionNetwork(width=settings.student_width)
        self.register_buffer("mean", torch.zeros(1, CHANNELS, 1, 1))
        self.register_buffer("deviation", torch.ones(1, CHANNELS, 1, 1))
        if settings.levelling:
            self.register_buffer("brightness", torch.zeros(()))
        if settings.by_contrast:
            self.register_buffer("usual", torch.ones(2, CLASSES))
        if settings.by_border:
            self.register_buffer("border_usual", torch.ones(2, CLASSES))
        if settings.by_surroundings:
            self.register_buffer("level", torch.zeros(()))
        if settings.scores_in == "int8":
            self.register_buffer("peaks", torch.zeros(len(self.wide_layers())))

    def describe(self, images: Tensor) -> Tensor:
        """Return the teacher's description (B, C, h, w) of images (B, 3, H, W) in 0..1, normalised with the channel statistics."""
        with torch.no_grad():
            described: Tensor = in_float32(self.teacher, images) if self.teacher.is_rounded else self.teacher(images)
            return (described - self.mean) / self.deviation

    def wide_layers(self) -> Sequence[nn.Conv2d]:
        """Return the layers of both networks that may score in less than float32."""
        return *self.teacher.wide_layers(), *self.student.wide_layers()

    def to_eight_bits(self) -> None:
        """Switch the wide layers of both networks to eight bits, for good: the student can no longer learn."""
        for network, peaks in zip((self.teacher, self.student), self.peaks.view(2, -1).tolist(), strict=True):
            network.to_eight_bits(peaks)

    def forward(self, images: Tensor, distance: str, described: Tensor | None = None) -> Tensor:
        """Return D (B, C, h, w): the difference between student and teacher in each channel, squared or absolute.

        `described` is the teacher's description of the images, where the caller has it already.
        """
        student_output: Tensor = self.student(images)
        difference = (self.describe(images) if described is None else described) - student_output.float()
        return difference.square() if distance == "squared" else difference.abs()


@dataclass(frozen=True)
class Window:
    """A rectangle of the map's cells (one per 4 pixels). Only the crop of the padded image that these cells look at is computed."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def whole(cls, cells: int) -> Window:
        """Return the window of all cells."""
        return cls(0, 0, cells, cells)

    @classmethod
    def around(cls, mask: Bool, cells: int) -> Window:
        """Return the smallest window with every cell that can influence a pixel of the mask; the whole map if the mask is empty."""
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        if len(rows) == 0:
            return cls.whole(cells)
        top, left = rows[0] // STRIDE_PX, columns[0] // STRIDE_PX
        bottom, right = (min(cells, int(side[-1]) // STRIDE_PX + 2) for side in (rows, columns))
        return cls(int(top), int(left), bottom - int(top), right - int(left))

    @classmethod
    def to_score(cls, mask: Bool, settings: ColourSettings) -> Window:
        """Return the window to compute for a new part: around its mask, or the whole map if the map is not masked."""
        cells = len(mask) // STRIDE_PX
        return cls.around(mask, cells) if settings.mask_scoring else cls.whole(cells)

    def crop(self, padded: Tensor) -> Tensor:
        """Return the pixels (B, 3, h, w) that this window's cells look at, and no others."""
        rows = slice(STRIDE_PX * self.top, STRIDE_PX * (self.top + self.height) + FIELD_PX - 1)
        columns = slice(STRIDE_PX * self.left, STRIDE_PX * (self.left + self.width) + FIELD_PX - 1)
        return padded[:, :, rows, columns]


def padded_image(rgb: Image, border: str) -> Float:
    """Return the image (3, S + 32, S + 32) in 0..1, mirrored or black beyond its border; cell t is centred on pixel 4 t."""
    how = cv2.BORDER_REFLECT_101 if border == "reflect" else cv2.BORDER_CONSTANT
    around = cv2.copyMakeBorder(rgb, CENTRE_PX, CENTRE_PX, CENTRE_PX, CENTRE_PX, how)
    return np.ascontiguousarray(around.transpose(2, 0, 1), np.float32) / np.float32(255)


def window_pixels(window: Window, rgb: Image, border: str, device: str) -> Tensor:
    """Return the pixels (1, 3, h, w) of an image (S, S, 3) that a window's cells look at, in channels-last order for the convolutions."""
    padded = torch.from_numpy(padded_image(rgb, border))[None].to(device)
    return window.crop(padded).contiguous(memory_format=torch.channels_last)


def enlarge(cells: Float) -> Float:
    """Return a map (S/4, S/4) at image size (S, S): bilinear, with cell t exactly on pixel 4 t, the centre of its field of view."""
    size = STRIDE_PX * cells.shape[0]
    at = np.minimum(np.arange(size, dtype=np.float32) / STRIDE_PX, cells.shape[0] - 1)
    columns, rows = np.meshgrid(at, at)
    return np.asarray(cv2.remap(cells, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


class ColourBranch:
    """A trained student-teacher pair that scores one prepared image at a time."""

    def __init__(self, networks: StudentTeacher, settings: ColourSettings, device: str, precision: Precision = "auto") -> None:
        copied = for_scoring(networks, device, precision, settings.scores_in)
        self._networks = copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub knows no such call on modules
        self._settings, self._device = settings, device
        self._brightness = float(networks.brightness) if settings.levelling else 0.0
        self._usual = Usual.read(networks.usual) if settings.by_contrast else None
        self._border_usual = Usual.read_unless_flat(networks.border_usual) if settings.by_border else None
        self._usual_level = float(networks.level) if settings.by_surroundings else 0.0

    @classmethod
    def load(cls, folder: Path, recipe: Recipe, device: str, precision: Precision = "auto") -> ColourBranch:
        """Return the branch of a model folder. ModelRefused names the file that does not fit."""
        networks = StudentTeacher(recipe.rgb)
        read_weights(networks, folder / WEIGHTS)
        return cls(networks, recipe.rgb, device, precision)

    def map_of(self, part: Prepared) -> Float:
        """Return `score_map` of a prepared part."""
        return self.score_map(part.rgb, part.mask, part.grid)

    def score_map(self, rgb: Image, mask: Bool, grid: Grid | None = None) -> Float:
        """Return the colour map (S, S), how unlike good parts each pixel is: D averaged over the channels (paper, 3.1).

        rgb (S, S, 3); mask (S, S), the dilated foreground; `grid` says how both were sampled (None: the frame is square). Where the
        recipe asks for it, the image is levelled first, and the map is divided by what good parts reach at the same contrast and as near
        to the border, and by what it reaches itself around each place.
        """
        seen = self.levelled(rgb, mask)
        heat = self.map_before_division(seen, mask)
        if self._usual is not None:
            heat = heat / self._usual.at(contrast(seen, mask))
        if self._border_usual is not None:
            heat = heat / self._border_usual.at(near_border(grid or Grid.filled(len(heat))))
        return by_surroundings(heat, mask, self._usual_level, self._settings.by_surroundings)

    def levelled(self, rgb: Image, mask: Bool) -> Image:
        """Return the image as the networks see it: scaled to the brightness of the training parts, where the recipe asks for it."""
        most = self._settings.levelling
        return match_brightness(rgb, mask, self._brightness, most) if most else rgb

    @torch.inference_mode()
    def map_before_division(self, rgb: Image, mask: Bool) -> Float:
        """Return the map (S, S) of a levelled image before it is divided by what good parts reach.

        Only the mask's box is computed. The networks have no padding, so its values are the same as those of the whole image.
        """
        settings, cells = self._settings, rgb.shape[0] // STRIDE_PX
        window = Window.to_score(mask, settings)
        crop = window_pixels(window, rgb, settings.border, self._device)
        found = np.zeros((cells, cells), np.float32)
        inside = np.s_[window.top : window.top + window.height, window.left : window.left + window.width]
        found[inside] = self._networks(crop, settings.distance).mean(dim=1)[0].cpu().numpy()
        if settings.border == "zero":
            found = without_rim(found)
        heat = enlarge(found)
        if settings.mask_scoring:
            heat[~mask] = 0
        return above_median(blurred(heat, settings.blur_px), mask, settings.median_share)


def above_median(heat: Float, mask: Bool, share: float) -> Float:
    """Return by how much a map exceeds a share of its own median on the part, at least 0."""
    return np.maximum(heat - np.float32(share) * np.median(heat[mask]), 0) if share and mask.any() else heat


def by_surroundings(heat: Float, mask: Bool, usual: float, power: float) -> Float:
    """Return a map divided by this power of what it reaches around each place over what is usual, at most MOST_LEVEL up or down.

    Where a student errs a little more than usual all around, a place must not stand out for that; what is wrong throughout must. A map
    stays as it is where nothing is usual, and where the part has no pixel.
    """
    if not (usual and mask.any()):
        return heat
    level = np.clip(surroundings(heat, mask) / np.float32(usual), 1 / MOST_LEVEL, MOST_LEVEL)
    return np.asarray(heat / level ** np.float32(power), np.float32)


def without_rim(cells: Float) -> Float:
    """Return the map with 0 wherever the field of view leaves the image."""
    rim = CENTRE_PX // STRIDE_PX
    kept = np.zeros_like(cells)
    kept[rim:-rim, rim:-rim] = cells[rim:-rim, rim:-rim]
    return kept
