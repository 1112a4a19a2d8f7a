"""The shape branch: a network that knows a patch's surface as good parts have it, and how far the scan's points lie from it."""

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
from mdss.method.checkerboard import Asked, squares
from mdss.method.distance_network import SignedDistanceNetwork
from mdss.method.eight_bits import multiplies_eight_bits
from mdss.method.grid import Grid, all_three
from mdss.method.heat import blurred, on_grid
from mdss.method.neighbours import neighbours_of
from mdss.method.patch_frame import PatchFrames
from mdss.method.patch_pairs import Pairs
from mdss.method.patches import away_from_centre, cut_patches
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
AT_ONCE_ON_GPU, AT_ONCE_IN_FLOAT = 32768, 2048  # queries; on a CPU, what they become stays in a core's cache
BYTES_AT_ONCE = 6144 * 256  # the same where a query becomes one byte for each of a layer's outputs
QUERIES_STEP, PATCHES_STEP = 512, 4  # see `pieces`
RIM_PX = 3.0  # the deviation of the weights by which a point's surroundings count
MIN_WEIGHT = 0.1  # of the blur's reach: with less of it measured, a pixel has no value
SUREST = 1e-3  # a point is never expected with more certainty than all but this


@dataclass(frozen=True)
class PartPoints:
    """The points of one part and the pixels they came from."""

    points: Float  # (N, 3) mm
    pixels: Index  # (N,) flat index into the cloud that they are of

    @classmethod
    def of(cls, xyz: Float) -> PartPoints:
        """Take every finite point of an organised cloud (h, w, 3)."""
        flat = xyz.reshape(-1, 3)
        pixels = np.flatnonzero(all_three(np.isfinite(flat)))
        return cls(np.ascontiguousarray(flat[pixels], np.float32), pixels)


@dataclass(frozen=True)
class Cutting:
    """The part's box on the grid, as wide as voids reach around it: nothing is computed beyond, and nothing is lost."""

    top: int
    left: int
    xyz: Float  # (h, w, 3)
    size: int  # of the whole grid

    @classmethod
    def around(cls, xyz: Float) -> Cutting:
        """Cut a cloud (S, S, 3), NaN without a point; one without any point stays whole."""
        measured, size = all_three(np.isfinite(xyz)), len(xyz)
        rows, columns = (np.flatnonzero(measured.any(axis=axis)) for axis in (1, 0))
        if len(rows) == 0:
            return cls(0, 0, xyz, size)
        top, left = (max(0, int(side[0]) - REACH_PX) for side in (rows, columns))
        bottom, right = (int(side[-1]) + REACH_PX + 1 for side in (rows, columns))
        return cls(top, left, np.ascontiguousarray(xyz[top:bottom, left:right]), size)

    @cached_property
    def measured(self) -> Float:
        """How much around each of the box's pixels was measured, flat; computed where it is asked for, once."""
        return measured_around(self.xyz)

    def whole(self, pixels: Index) -> Index:
        """Return flat indices into the whole grid for those into the cutting."""
        rows, columns = np.divmod(pixels, self.xyz.shape[1])
        return np.asarray((rows + self.top) * self.size + columns + self.left, np.intp)


@dataclass(frozen=True)
class Readings:
    """What the network says of the points and voids that are asked about, once for each patch that they are asked about in."""

    distances: Tensor  # (M,) signed
    points: Tensor  # (M,) which of those points that is of
    log_odds: Tensor  # (V',) of a point
    voids: Tensor  # (V',) which of those voids that is of


@dataclass(frozen=True)
class PartReading:
    """One part: how far off each of its points is, and how surprising it is that there is none."""

    distances: Float  # (N,) not negative
    pixels: Index  # (N,)
    surprise: Float  # (V,)
    void_pixels: Index  # (V,)


def merge(distances: Tensor, points: Tensor, count: int, settings: ShapeSettings) -> Tensor:
    """Return one distance, not negative, for each of so many points from all that were read (M,) and the points that they are of (M,).

    By `overlap`: the mean of the signed distances, so that what patches disagree on cancels out; the mean of their sizes; or the smallest.
    For `nearest_centre` nothing but that patch was read (of several that are equally near: their mean).
    """
    if settings.overlap in ("mean", "nearest_centre"):
        return counted(_mean(distances, points, count), settings.sign)
    sizes = counted(distances, settings.sign)
    if settings.overlap == "mean_size":
        return _mean(sizes, points, count)
    return sizes.new_full((count,), math.inf).scatter_reduce_(0, points, sizes, "amin")


def pieces(count: int, at_once: int, step: int, device: str = "cpu") -> Iterator[Tensor]:
    """Return the numbers below `count` in pieces of `at_once`, a multiple of `step`; the last is filled up to one with its last number.

    A processor's library prepares itself for each size that it has not met, which takes longer than a few values more.
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
    """Return for each of the voids (V,) how surprising it is that nothing was measured, 0 where a point is not to be expected.

    -log(1 - p), less that of p = 1/2; p is the mean of the patches that it was asked about in, or has the mean of their log odds.
    """
    if overlap == "log_odds":
        odds = _mean(readings.log_odds.clamp(math.log(SUREST), -math.log(SUREST)), readings.voids, count)
        return torch.nn.functional.softplus(odds).clamp(math.log(2), -math.log(SUREST)) - math.log(2)
    mean = _mean(readings.log_odds.sigmoid(), readings.voids, count)
    return (math.log(0.5) - (1 - mean).clamp_min(SUREST).log()).clamp_min(0)


def to_map(values: Float, pixels: Index, size: int, settings: ShapeSettings) -> Float:
    """Return the points' values on the grid (S, S), blurred; pixels without a point count as 0, or take the mean of those around.

    The highest value may stay as it was before the blur, so that it is the branch's score.
    """
    heat = on_grid(values, pixels, (size, size))
    soft = spread(heat, pixels, settings)
    return np.where(heat == heat.max(), np.maximum(heat, soft), soft) if settings.keep_peak else soft


def spread(heat: Float, pixels: Index, settings: ShapeSettings) -> Float:
    """Return the blurred map; `pixels` are those with a measured point."""
    if settings.missing == "zero" or not settings.blur_px:
        return blurred(heat, settings.blur_px)
    weight = blurred(on_grid(np.ones(len(pixels), np.float32), pixels, heat.shape), settings.blur_px)
    return np.where(weight > MIN_WEIGHT, blurred(heat, settings.blur_px) / weight.clip(MIN_WEIGHT), 0).astype(np.float32)


def measured_around(xyz: Float) -> Float:
    """Return how much around each pixel was measured, 0 to 1, flat; xyz (h, w, 3), NaN without a point.

    At the rim of what was measured a point is less sure, and so is the surface that the network expects there.
    """
    return blurred(all_three(np.isfinite(xyz)).astype(np.float32), RIM_PX).ravel()


def counted(distances: Tensor, sign: str) -> Tensor:
    """Return how far points are off the surface: on either side of it, or on one alone."""
    return distances.abs() if sign == "both" else (distances if sign == "positive" else -distances).clamp_min(0)


def queries_at_once(device: str, settings: ShapeSettings) -> int:
    """Return how many queries a device is asked at a time."""
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
        """Return the branch of a model folder; ModelRefused names the file that does not fit."""
        network = SignedDistanceNetwork(recipe.sdf)
        read_weights(network, folder / WEIGHTS)
        return cls(network, recipe.sdf, device, precision)

    def map_of(self, part: Prepared) -> Float:
        """Return `score_map` of a prepared part."""
        return self.score_map(part.xyz, part.grid)

    def score_map(self, xyz: Float, grid: Grid | None = None) -> Float:
        """Return how far each pixel's point lies from the surface that good parts would have there, (S, S).

        xyz (S, S, 3) mm, NaN without a point, `grid` how it was sampled; without one the image is square. Every point is queried in
        the patches that it is in (paper, 3.2), or in the nearest of them, or every second one is and the others take their mean; the
        unit is that of the recipe. Where a point is missing that good parts have, the map says so in the same unit: a pixel has the
        larger of both.
        """
        surface, missing = self.maps(self.read(xyz, grid), xyz.shape[0])
        return np.asarray(np.maximum(surface, missing * float(self._network.void_unit)), np.float32)

    def maps(self, part: PartReading, size: int) -> tuple[Float, Float]:
        """Return the two halves of the map (S, S): how far points are off, and how surprising it is that there is none."""
        surprise = on_grid(part.surprise, part.void_pixels, (size, size))
        return to_map(part.distances, part.pixels, size, self._settings), blurred(surprise, self._settings.blur_px)

    @torch.inference_mode()
    def read(self, xyz: Float, grid: Grid | None = None) -> PartReading:
        """Return what the network says of the points and voids of an organised cloud (S, S, 3) mm."""
        box, settings = Cutting.around(xyz), self._settings
        part = PartPoints.of(box.xyz)
        voids = Voids.of(box.xyz) if settings.void_weight else Voids.nowhere()
        wanted = squares(int(part.pixels[0]), (box.xyz.shape[0], box.xyz.shape[1]), settings.asked_at)
        points, missing = (Asked.of(pixels, wanted) for pixels in (part.pixels, voids.pixels))
        readings = self._read(part.points, viewing_direction(box.xyz), points.chosen, voids.some(missing.chosen))
        distances = merge(readings.distances, readings.points, int(points.chosen.sum()), settings)
        evidence = evidence_of(readings, int(missing.chosen.sum()), settings.void_overlap)
        off, surprise = points.filled(distances.cpu().numpy()), missing.filled(evidence.cpu().numpy())
        if self._usual is not None:
            off = off / self._usual.at(box.measured[part.pixels])
        if self._border_usual is not None:
            off = off / self._border_usual.at(near_border(grid or Grid.filled(box.size)).ravel()[box.whole(part.pixels)])
        if self._void_usual is not None:
            surprise = surprise / self._void_usual.at(box.measured[voids.pixels])
        return PartReading(off, box.whole(part.pixels), surprise, box.whole(voids.pixels))

    def _read(self, points: Float, towards: NDArray[np.float64], asked: Bool, voids: Voids) -> Readings:
        """Return what the network says of those of a part's points (N, 3) mm that are asked about (N,), and of voids within reach."""
        settings = self._settings
        cut = cut_patches(points, settings.points_per_patch, settings.density, self._device)
        members, cloud, chosen, places = (torch.from_numpy(each).to(self._device) for each in (cut, points, asked, voids.places))
        patches = cloud[members]
        frames, away = PatchFrames.of(patches, towards, settings), away_from_centre(patches)
        measured, inside = Pairs.of_members(members, away, len(points)), frames.into(patches)
        among = torch.nonzero(chosen[measured.places]).flatten()
        among = among[measured.some(among).nearest(1 if settings.overlap == "nearest_centre" else settings.asked_in)]
        measured = measured.some(among)
        within = neighbours_of(voids.places, self._device).within(points[cut[:, 0]], away.amax(dim=1).cpu().numpy())
        holders, held = (torch.from_numpy(each).to(self._device) for each in within)
        missing = Pairs.of_places(holders, held, places, patches[:, 0])
        missing = missing.some(missing.nearest(settings.asked_in))
        halves = self._code_halves(inside)
        distances, _ = self._ask(halves, measured, inside.flatten(0, 1)[among])
        _, log_odds = self._ask(halves, missing, frames.of_each(missing.patches).into(places[missing.places][:, None])[:, 0])
        numbers = chosen.cumsum(0) - 1  # of the points, among those that are asked about
        return Readings(distances * self._unit(frames.lengths)[measured.patches], numbers[measured.places], log_odds, missing.places)

    def _code_halves(self, patches: Tensor) -> Tensor:
        """Return the first layer's halves (P, C) for the codes of patches (P, K, 3) in their frames."""
        at_once = max(1, self._at_once // (patches.shape[1] - self._settings.blind_spot) // PATCHES_STEP) * PATCHES_STEP
        halves = torch.empty(len(patches), self._network.from_code.out_features, device=self._device)
        for piece in pieces(len(patches), at_once, PATCHES_STEP, self._device):
            halves[piece] = self._network.code_halves(patches[piece])
        return halves

    def _ask(self, halves: Tensor, pairs: Pairs, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far queries (M, 3) are off, one for each pair and in its patch's frame, and the log odds of a point, (M,) each."""
        distance, log_odds = (torch.empty(len(queries), device=self._device) for _ in range(2))
        for piece in pieces(len(queries), self._at_once, QUERIES_STEP, self._device):
            said = self._network.ask_each(halves.index_select(0, pairs.patches[piece]), queries[piece])
            distance[piece], log_odds[piece] = said.distance, said.presence
        return distance, log_odds

    def _unit(self, lengths: Tensor) -> Tensor:
        """Return what one patch length counts (P,), for patches of these lengths (P,) in mm."""
        if self._settings.score_unit == "mm":
            return lengths
        return torch.full_like(lengths, float(self._network.patch_mm) if self._settings.score_unit == "usual_mm" else 1)
