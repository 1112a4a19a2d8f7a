"""The shape branch: a network knows the surface that good parts have in a patch; the map shows how far the scan's points lie from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.method.border import near_border
from mdss.method.checkerboard import AskedPixels, askable_pixels
from mdss.method.distance_network import SignedDistanceNetwork
from mdss.method.eight_bits import multiplies_eight_bits
from mdss.method.grid import Grid, all_three
from mdss.method.heat import blurred, on_grid
from mdss.method.part_patches import PartPatches, Queries
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import Recipe, ShapeSettings
from mdss.method.torch_device import Precision, for_scoring
from mdss.method.usual import Usual
from mdss.method.viewing import viewing_direction
from mdss.method.voids import REACH_PX, Voids
from mdss.method.weights import read_weights

Float = NDArray[np.float32]
Index = NDArray[np.intp]
Bool = NDArray[np.bool_]

WEIGHTS = "sdf.safetensors"
AT_ONCE_ON_GPU, AT_ONCE_IN_FLOAT = 32768, 2048  # queries per call; on a CPU their activations then fit into a core's cache
BYTES_AT_ONCE = 6144 * 256  # the same for eight-bit layers, where a query becomes one byte for each of a layer's outputs
QUERIES_STEP, PATCHES_STEP = 512, 4  # sizes of pieces are multiples of these; see `pieces`
RIM_PX = 3.0  # deviation of the Gaussian that says how much around a point was measured
MIN_WEIGHT = 0.1  # of the blur's weight: a pixel with less of it on measured points has the value 0
LEAST_DOUBT = 1e-3  # the probability of a point counts as at most 1 - LEAST_DOUBT


@dataclass(frozen=True)
class PartPoints:
    """The points of one part and the pixels they came from."""

    points: Float  # (N, 3) mm
    pixels: Index  # (N,) flat indices into the cloud

    @classmethod
    def of(cls, xyz: Float) -> PartPoints:
        """Take every finite point of an organised cloud (h, w, 3)."""
        flat = xyz.reshape(-1, 3)
        pixels = np.flatnonzero(all_three(np.isfinite(flat)))
        return cls(np.ascontiguousarray(flat[pixels], np.float32), pixels)


@dataclass(frozen=True)
class PartBox:
    """The part's box on the grid, widened by the reach of voids. The branch computes inside it alone, without loss."""

    top: int
    left: int
    xyz: Float  # (h, w, 3)
    size: int  # of the whole grid

    @classmethod
    def around(cls, xyz: Float) -> PartBox:
        """Cut a cloud (S, S, 3) with at least one point, NaN where there is none."""
        measured, size = all_three(np.isfinite(xyz)), len(xyz)
        rows, columns = (np.flatnonzero(measured.any(axis=axis)) for axis in (1, 0))
        top, left = (max(0, int(side[0]) - REACH_PX) for side in (rows, columns))
        bottom, right = (int(side[-1]) + REACH_PX + 1 for side in (rows, columns))
        return cls(top, left, np.ascontiguousarray(xyz[top:bottom, left:right]), size)

    @cached_property
    def measured_share(self) -> Float:
        """How much around each of the box's pixels was measured, 0 to 1, flat; computed at the first use."""
        return measured_around(self.xyz)

    def to_grid(self, pixels: Index) -> Index:
        """Return flat indices into the whole grid for flat indices into the box."""
        rows, columns = np.divmod(pixels, self.xyz.shape[1])
        return np.asarray((rows + self.top) * self.size + columns + self.left, np.intp)


@dataclass(frozen=True)
class Readings:
    """What the network says of the points and voids asked about: one reading for each pair of a place and a patch."""

    distances: Tensor  # (M,) signed
    points: Tensor  # (M,) the point of each reading, numbered among those asked about
    log_odds: Tensor  # (V',) log odds that a good part has a point there
    voids: Tensor  # (V',) the void of each reading, numbered among those asked about


@dataclass(frozen=True)
class PartReading:
    """One part: how far its points lie off the surface, and how surprising its missing points are."""

    distances: Float  # (N,) not negative
    pixels: Index  # (N,)
    surprise: Float  # (V,)
    void_pixels: Index  # (V,)


def merged_distances(distances: Tensor, points: Tensor, count: int, settings: ShapeSettings) -> Tensor:
    """Return one distance (count,), not negative, for each point, from readings (M,) and the points (M,) that they are of.

    `overlap` says how: `mean` averages the signed distances, so that what patches disagree on cancels out; `mean_size` averages their
    sizes; `min` takes the smallest size. For `nearest_centre` only the nearest patch was read; several equally near ones are averaged.
    """
    if settings.overlap in ("mean", "nearest_centre"):
        return unsigned(_mean(distances, points, count), settings.sign)
    sizes = unsigned(distances, settings.sign)
    if settings.overlap == "mean_size":
        return _mean(sizes, points, count)
    return sizes.new_full((count,), math.inf).scatter_reduce_(0, points, sizes, "amin")


def pieces(count: int, at_once: int, step: int, device: str = "cpu") -> Iterator[Tensor]:
    """Yield the numbers below `count` in pieces of `at_once`, a multiple of `step`.

    The last piece repeats its last number up to a multiple of `step`: a CPU's library prepares itself for each size that it meets for the
    first time, which takes longer than computing a few values more.
    """
    for start in range(0, count, at_once):
        size = min(at_once, count - start)
        yield torch.arange(start, start + -(-size // step) * step, device=device).clamp_max(count - 1)


def _mean(values: Tensor, index: Tensor, count: int) -> Tensor:
    summed, counted = (values.new_zeros(count, dtype=torch.float64) for _ in range(2))
    summed.index_add_(0, index, values.double())
    counted.index_add_(0, index, torch.ones_like(values, dtype=torch.float64))
    return (summed / counted.clamp_min(1)).float()


def evidence_of(readings: Readings, count: int, overlap: str) -> Tensor:
    """Return for each void (count,) how surprising the missing point is; 0 where good parts have none either.

    The evidence is -log(1 - p) - log 2, at least 0. p combines the patches asked about the void: the mean of their probabilities, or of
    their log odds.
    """
    if overlap == "log_odds":
        odds = _mean(readings.log_odds.clamp(math.log(LEAST_DOUBT), -math.log(LEAST_DOUBT)), readings.voids, count)
        return torch.nn.functional.softplus(odds).clamp(math.log(2), -math.log(LEAST_DOUBT)) - math.log(2)
    mean = _mean(readings.log_odds.sigmoid(), readings.voids, count)
    return (math.log(0.5) - (1 - mean).clamp_min(LEAST_DOUBT).log()).clamp_min(0)


def to_map(values: Float, pixels: Index, size: int, settings: ShapeSettings) -> Float:
    """Return the points' values as a blurred map (S, S). `missing` says what pixels without a point count as.

    With `keep_peak` the highest value stays as it was before the blur, so that it is the branch's score.
    """
    heat = on_grid(values, pixels, (size, size))
    soft = blurred_over_points(heat, pixels, settings)
    return np.where(heat == heat.max(), np.maximum(heat, soft), soft) if settings.keep_peak else soft


def blurred_over_points(heat: Float, pixels: Index, settings: ShapeSettings) -> Float:
    """Return the blurred map (S, S). Pixels not in `pixels` have no point: they count as 0, or take the mean of the points around."""
    if settings.missing == "zero" or not settings.blur_px:
        return blurred(heat, settings.blur_px)
    weight = blurred(on_grid(np.ones(len(pixels), np.float32), pixels, heat.shape), settings.blur_px)
    return np.where(weight > MIN_WEIGHT, blurred(heat, settings.blur_px) / weight.clip(MIN_WEIGHT), 0).astype(np.float32)


def measured_around(xyz: Float) -> Float:
    """Return how much around each pixel was measured, 0 to 1, flat; xyz (h, w, 3), NaN without a point.

    At the rim of the measured area a point is less sure, and so is the surface that the network expects there.
    """
    return blurred(all_three(np.isfinite(xyz)).astype(np.float32), RIM_PX).ravel()


def unsigned(distances: Tensor, sign: str) -> Tensor:
    """Return how far points lie off the surface: on both sides, or on one side alone with 0 for the other."""
    return distances.abs() if sign == "both" else (distances if sign == "positive" else -distances).clamp_min(0)


def queries_at_once(device: str, settings: ShapeSettings) -> int:
    """Return how many queries the network is asked in one call on a device."""
    if device != "cpu":
        return AT_ONCE_ON_GPU
    if settings.scores_in == "float" or not multiplies_eight_bits():
        return AT_ONCE_IN_FLOAT
    return max(1, BYTES_AT_ONCE // settings.width // QUERIES_STEP) * QUERIES_STEP


class ShapeBranch:
    """A trained signed distance network that scores one prepared cloud at a time."""

    def __init__(self, network: SignedDistanceNetwork, settings: ShapeSettings, device: str, precision: Precision = "auto") -> None:
        self._network, self._settings, self._device = for_scoring(network, device, precision, settings.scores_in), settings, device
        self._at_once = queries_at_once(device, settings)
        self._usual = Usual.read(network.usual) if settings.by_rim else None
        self._border_usual = Usual.read_unless_flat(network.border_usual) if settings.by_border else None
        self._void_usual = Usual.read(network.void_usual) if settings.voids_by_rim else None

    @classmethod
    def load(cls, folder: Path, recipe: Recipe, device: str, precision: Precision = "auto") -> ShapeBranch:
        """Return the branch of a model folder. ModelRefused names the file that does not fit."""
        network = SignedDistanceNetwork(recipe.sdf)
        read_weights(network, folder / WEIGHTS)
        return cls(network, recipe.sdf, device, precision)

    def map_of(self, part: Prepared) -> Float:
        """Return `score_map` of a prepared part."""
        return self.score_map(part.xyz, part.grid)

    def score_map(self, xyz: Float, grid: Grid | None = None) -> Float:
        """Return the shape map (S, S): how far each pixel's point lies from the surface that good parts would have there (paper, 3.2).

        xyz (S, S, 3) mm, NaN without a point; `grid` says how it was sampled (None: the frame is square). Values are in the recipe's
        `score_unit`. Missing points that good parts have are brought to the same unit; a pixel takes the larger of both. The recipe says
        which pixels are asked about, and in how many of their patches.
        """
        surface, missing = self.maps(self.examine(xyz, grid), xyz.shape[0])
        return np.asarray(np.maximum(surface, missing * float(self._network.void_unit)), np.float32)

    def maps(self, part: PartReading, size: int) -> tuple[Float, Float]:
        """Return the two maps (S, S) behind `score_map`: how far points lie off the surface, and how surprising missing points are."""
        surprise = on_grid(part.surprise, part.void_pixels, (size, size))
        return to_map(part.distances, part.pixels, size, self._settings), blurred(surprise, self._settings.blur_px)

    @torch.inference_mode()
    def examine(self, xyz: Float, grid: Grid | None = None) -> PartReading:
        """Return what the network says of the points and voids of an organised cloud (S, S, 3) mm."""
        box, settings = PartBox.around(xyz), self._settings
        part = PartPoints.of(box.xyz)
        voids = Voids.of(box.xyz) if settings.void_weight else Voids.empty()
        wanted = askable_pixels(int(part.pixels[0]), (box.xyz.shape[0], box.xyz.shape[1]), settings.asked_at)
        asked_points, asked_voids = (AskedPixels.of(pixels, wanted) for pixels in (part.pixels, voids.pixels))
        readings = self._ask_network(part.points, viewing_direction(box.xyz), asked_points.chosen, voids.select(asked_voids.chosen))
        distances = merged_distances(readings.distances, readings.points, int(asked_points.chosen.sum()), settings)
        evidence = evidence_of(readings, int(asked_voids.chosen.sum()), settings.void_overlap)
        off, surprise = asked_points.interpolated(distances.cpu().numpy()), asked_voids.interpolated(evidence.cpu().numpy())
        if self._usual is not None:
            off = off / self._usual.at(box.measured_share[part.pixels])
        if self._border_usual is not None:
            off = off / self._border_usual.at(near_border(grid or Grid.filled(box.size)).ravel()[box.to_grid(part.pixels)])
        if self._void_usual is not None:
            surprise = surprise / self._void_usual.at(box.measured_share[voids.pixels])
        return PartReading(off, box.to_grid(part.pixels), surprise, box.to_grid(voids.pixels))

    def _ask_network(self, points: Float, view_direction: NDArray[np.float64], is_asked: Bool, voids: Voids) -> Readings:
        """Return the readings of the chosen points (`is_asked`, (N,)) of a part (N, 3) mm, and of the voids inside its patches."""
        settings = self._settings
        patches = PartPatches.cut(points, view_direction, settings, self._device)
        chosen = torch.from_numpy(is_asked).to(self._device)
        about_points = patches.ask_points(chosen, 1 if settings.overlap == "nearest_centre" else settings.asked_in)
        about_voids = patches.ask_voids(voids.places, settings.asked_in)
        halves = self._code_halves(patches.in_frames)
        distances, _ = self._predict(halves, about_points)
        _, log_odds = self._predict(halves, about_voids)
        numbers = chosen.cumsum(0) - 1  # of the points, counted among those asked about
        units = self._unit(patches.frames.lengths)[about_points.pairs.patches]
        return Readings(distances * units, numbers[about_points.pairs.places], log_odds, about_voids.pairs.places)

    def _code_halves(self, patches: Tensor) -> Tensor:
        """Return what the codes of patches (P, K, 3), in their frames, contribute to the first layer: (P, C)."""
        at_once = max(1, self._at_once // (patches.shape[1] - self._settings.blind_spot) // PATCHES_STEP) * PATCHES_STEP
        halves = torch.empty(len(patches), self._network.from_code.out_features, device=self._device)
        for piece in pieces(len(patches), at_once, PATCHES_STEP, self._device):
            halves[piece] = self._network.code_halves(patches[piece])
        return halves

    def _predict(self, halves: Tensor, queries: Queries) -> tuple[Tensor, Tensor]:
        """Return the distance and the log odds of a point for each query, (M,) both; `halves` (P, C) are those of the patches."""
        distance, log_odds = (torch.empty(len(queries.points), device=self._device) for _ in range(2))
        for piece in pieces(len(queries.points), self._at_once, QUERIES_STEP, self._device):
            predicted = self._network.predict_each(halves.index_select(0, queries.pairs.patches[piece]), queries.points[piece])
            distance[piece], log_odds[piece] = predicted.distance, predicted.presence
        return distance, log_odds

    def _unit(self, lengths: Tensor) -> Tensor:
        """Return what one patch length counts in the score's unit (P,), for patches of these lengths (P,) mm."""
        if self._settings.score_unit == "mm":
            return lengths
        return torch.full_like(lengths, float(self._network.patch_mm) if self._settings.score_unit == "usual_mm" else 1)
