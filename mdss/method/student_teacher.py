"""The colour branch: a student that describes good parts as its teacher does, and a map of where it cannot."""

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
from mdss.method.torch_device import Precision, exactly, for_scoring
from mdss.method.usual import CLASSES, Usual
from mdss.method.weights import read_weights

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

WEIGHTS = "rgb.safetensors"


class StudentTeacher(nn.Module):
    """Teacher, its channel statistics, and the student of the same structure (paper, 3.1)."""

    mean: Tensor
    deviation: Tensor
    brightness: Tensor  # mean of the training parts, 0 to 255, that new images are brought to; there if the branch levels
    usual: Tensor  # what maps of good parts reach at a contrast; there if the branch weighs by it
    border_usual: Tensor  # the same, then, of pixels so near to the grid's border
    peaks: Tensor  # the highest value that each wide layer is given for good parts; there if the branch scores in eight bits

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
        if settings.scores_in == "int8":
            self.register_buffer("peaks", torch.zeros(len(self.wide_layers())))

    def describe(self, images: Tensor) -> Tensor:
        """Return the teacher's normalised description (B, C, h, w) of images (B, 3, H, W) in 0..1."""
        with torch.no_grad():
            described: Tensor = exactly(self.teacher, images) if self.teacher.is_rounded else self.teacher(images)
            return (described - self.mean) / self.deviation

    def wide_layers(self) -> Sequence[nn.Conv2d]:
        """Return the layers of both that need not score in float32."""
        return *self.teacher.wide_layers(), *self.student.wide_layers()

    def to_eight_bits(self) -> None:
        """Let these layers compute in eight bits from now on; the student can no longer learn."""
        for network, peaks in zip((self.teacher, self.student), self.peaks.view(2, -1).tolist(), strict=True):
            network.to_eight_bits(peaks)

    def forward(self, images: Tensor, distance: str, described: Tensor | None = None) -> Tensor:
        """Return D (B, C, h, w): how far the student is from its teacher, squared or absolute, for each channel.

        `described` is what the teacher says of the images, where that is known.
        """
        said: Tensor = self.student(images)
        difference = (self.describe(images) if described is None else described) - said.float()
        return difference.square() if distance == "squared" else difference.abs()


@dataclass(frozen=True)
class Window:
    """The outputs that a crop of the padded image gives: rows and columns of the map with one cell per 4 pixels."""

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def whole(cls, cells: int) -> Window:
        """Return the window of all outputs."""
        return cls(0, 0, cells, cells)

    @classmethod
    def around(cls, mask: Bool, cells: int) -> Window:
        """Return the smallest window that holds every cell whose surroundings touch the mask; all cells where it is empty."""
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        if len(rows) == 0:
            return cls.whole(cells)
        top, left = rows[0] // STRIDE_PX, columns[0] // STRIDE_PX
        bottom, right = (min(cells, int(side[-1]) // STRIDE_PX + 2) for side in (rows, columns))
        return cls(int(top), int(left), bottom - int(top), right - int(left))

    @classmethod
    def scored(cls, mask: Bool, settings: ColourSettings) -> Window:
        """Return the window that is computed of a new part: its mask's, or all."""
        cells = len(mask) // STRIDE_PX
        return cls.around(mask, cells) if settings.mask_scoring else cls.whole(cells)

    def crop(self, padded: Tensor) -> Tensor:
        """Return the pixels (B, 3, h, w) that exactly this window's outputs look at."""
        rows = slice(STRIDE_PX * self.top, STRIDE_PX * (self.top + self.height) + FIELD_PX - 1)
        columns = slice(STRIDE_PX * self.left, STRIDE_PX * (self.left + self.width) + FIELD_PX - 1)
        return padded[:, :, rows, columns]


def padded_image(rgb: Image, border: str) -> Float:
    """Return the image (3, S + 32, S + 32) in 0..1, mirrored or black beyond its border; output t is centred on pixel 4 t."""
    how = cv2.BORDER_REFLECT_101 if border == "reflect" else cv2.BORDER_CONSTANT
    around = cv2.copyMakeBorder(rgb, CENTRE_PX, CENTRE_PX, CENTRE_PX, CENTRE_PX, how)
    return np.ascontiguousarray(around.transpose(2, 0, 1), np.float32) / np.float32(255)


def seen_through(window: Window, rgb: Image, border: str, device: str) -> Tensor:
    """Return the pixels (1, 3, h, w) of an image (S, S, 3) that a window's outputs look at, laid out as convolutions like them."""
    padded = torch.from_numpy(padded_image(rgb, border))[None].to(device)
    return window.crop(padded).contiguous(memory_format=torch.channels_last)


def enlarge(cells: Float) -> Float:
    """Return a map (S/4, S/4) at image size (S, S): bilinear, with cell t exactly on pixel 4 t, where its field is centred."""
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

    @classmethod
    def load(cls, folder: Path, recipe: Recipe, device: str, precision: Precision = "auto") -> ColourBranch:
        """Return the branch of a model folder; ModelRefused names the file that does not fit."""
        networks = StudentTeacher(recipe.rgb)
        read_weights(networks, folder / WEIGHTS)
        return cls(networks, recipe.rgb, device, precision)

    def map_of(self, part: Prepared) -> Float:
        """Return `score_map` of a prepared part."""
        return self.score_map(part.rgb, part.mask, part.grid)

    def score_map(self, rgb: Image, mask: Bool, grid: Grid | None = None) -> Float:
        """Return how unlike good parts each pixel is, (S, S): D averaged over the channels (paper, 3.1).

        rgb (S, S, 3), mask (S, S) the dilated foreground, `grid` how they were sampled; without one the image is square. Where the
        recipe asks for it, in the light of the training parts, and over what is usual at a place's contrast and so near to the border.
        """
        seen = self.levelled(rgb, mask)
        heat = self.unweighed(seen, mask)
        if self._usual is not None:
            heat = heat / self._usual.at(contrast(seen, mask))
        if self._border_usual is not None:
            heat = heat / self._border_usual.at(near_border(grid or Grid.filled(len(heat))))
        return heat

    def levelled(self, rgb: Image, mask: Bool) -> Image:
        """Return the image as the networks see it: in the light of the training parts, where the recipe asks for it."""
        most = self._settings.levelling
        return match_brightness(rgb, mask, self._brightness, most) if most else rgb

    @torch.inference_mode()
    def unweighed(self, rgb: Image, mask: Bool) -> Float:
        """Return the map (S, S) of an image as the networks see it, whatever its contrast.

        Only the mask's box is computed: the networks have no padding, so its values are those of the whole image.
        """
        settings, cells = self._settings, rgb.shape[0] // STRIDE_PX
        window = Window.scored(mask, settings)
        crop = seen_through(window, rgb, settings.border, self._device)
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
    """Return by how much a map exceeds a share of its own median on the part, nowhere less than 0."""
    return np.maximum(heat - np.float32(share) * np.median(heat[mask]), 0) if share and mask.any() else heat


def without_rim(cells: Float) -> Float:
    """Return the map with 0 where the field of view leaves the image, as when a map without padding is padded."""
    rim = CENTRE_PX // STRIDE_PX
    kept = np.zeros_like(cells)
    kept[rim:-rim, rim:-rim] = cells[rim:-rim, rim:-rim]
    return kept
