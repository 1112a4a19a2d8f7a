"""The networks of the shape branch: a point encoder makes a code of a patch; a distance network says what is at any place near it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mdss.method.eight_bits import apply_rectified, chain
from mdss.method.recipe import ShapeSettings
from mdss.method.rectifier import max_over_points
from mdss.method.torch_device import in_float32
from mdss.method.usual import CLASSES

LAST_LAYER_DEVIATION = 0.01  # so that f starts near 0 everywhere: a camera sees an open surface, not a sphere


def apply_layers(layers: Iterable[nn.Module], values: Tensor) -> Tensor:
    """Return the output of layers with a rectifier behind each, for values that are not negative."""
    for layer in layers:
        values = apply_rectified(layer, values)
    return values


class PositionalEncoding(nn.Module):
    """Coordinates with their sines and cosines at doubling frequencies: they let a small network learn sharp edges."""

    frequencies: Tensor

    def __init__(self, octaves: int) -> None:
        super().__init__()
        self._octaves, self.width = octaves, 3 + 6 * octaves
        self.register_buffer("frequencies", (torch.pi * 2.0 ** torch.arange(octaves)).repeat_interleave(3), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """Return (..., 3 + 6 octaves) features of points (..., 3)."""
        if not self._octaves:
            return points
        angles = torch.cat([points] * self._octaves, dim=-1) * self.frequencies  # multiplying rows of three one by one is slow
        return torch.cat([points, angles.sin(), angles.cos()], dim=-1)


class PointLayers(nn.Module):
    """One multilayer perceptron, applied to every point; its first layer always computes in float32."""

    def __init__(self, inlet: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inner, outer) for inner, outer in zip((inlet, *widths[:-1]), widths, strict=True))

    def forward(self, features: Tensor) -> Tensor:
        """Return (P, K, C) of features (P, K, F)."""
        first, *others = self.layers
        return apply_layers(others, F.relu(in_float32(first, features), inplace=True))


class PatchEncoder(nn.Module):
    """A PointNet: the code of a patch comes from the maximum over its points."""

    def __init__(self, inlet: int, settings: ShapeSettings) -> None:
        super().__init__()
        self.points = PointLayers(inlet, settings.encoder)
        self.code = nn.Linear(settings.encoder[-1], settings.code)

    def forward(self, encoded: Tensor) -> Tensor:
        """Return the codes (P, C) of patches, given the coordinates and waves of their points (P, K, F)."""
        return in_float32(self.code, max_over_points(self.points(encoded)))


class Prediction(NamedTuple):
    """What the network says of queries, one value for each."""

    distance: Tensor  # signed distance to the surface, in patch lengths
    presence: Tensor  # log odds that a good part has a measured point there


class SignedDistanceNetwork(nn.Module):
    """Point encoder and distance network (paper, 3.2): the signed distance of any point to a patch's surface.

    The first layer takes a code and a point side by side. It is computed as a sum of two halves, so that the code's half is computed once
    per patch and the point's half once per query.
    """

    patch_mm: Tensor  # the usual length of a good part's patch
    peaks: Tensor  # the highest input of each wide layer in training batches; only with `scores_in: int8`
    usual: Tensor  # a stored `Usual`: what distances of good parts reach, by how much around was measured; only with `by_rim`
    border_usual: Tensor  # the same, by nearness to the image's border; only with `by_border`
    void_usual: Tensor  # the same of the evidence in voids, by how much around was measured; only with `voids_by_rim`
    void_unit: Tensor  # what one unit of evidence in a void is worth in the unit of the map

    def __init__(self, settings: ShapeSettings) -> None:
        super().__init__()
        self._blind_spot = settings.blind_spot
        self.encoding = PositionalEncoding(settings.octaves)
        self.encoder = PatchEncoder(self.encoding.width, settings)
        self.from_code = nn.Linear(settings.code, settings.width)
        self.from_point = nn.Linear(self.encoding.width, settings.width, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(settings.width, settings.width) for _ in range(settings.depth - 1))
        self.distance, self.presence = nn.Linear(settings.width, 1), nn.Linear(settings.width, 1)
        for head in (self.distance, self.presence):
            nn.init.normal_(head.weight, std=LAST_LAYER_DEVIATION)
            nn.init.zeros_(head.bias)
        self.register_buffer("patch_mm", torch.ones(()))
        self.register_buffer("void_unit", torch.zeros(()))
        if settings.by_rim:
            self.register_buffer("usual", torch.ones(2, CLASSES))
        if settings.by_border:
            self.register_buffer("border_usual", torch.ones(2, CLASSES))
        if settings.voids_by_rim:
            self.register_buffer("void_usual", torch.ones(2, CLASSES))
        if settings.scores_in == "int8":
            self.register_buffer("peaks", torch.zeros(len(self.wide_layers())))

    def forward(self, patches: Tensor, queries: Tensor) -> Prediction:
        """Return what is at queries (P, Q, 3) near the surfaces of patches (P, K, 3), both in the patches' frames."""
        return self.predict(self.code_halves(patches)[:, None], queries)

    def code_halves(self, patches: Tensor) -> Tensor:
        """Return what the codes of patches (P, K, 3) contribute to the first layer: (P, C).

        The points of a patch are sorted, those nearest its centre first. The encoder is not shown those in the blind spot, so that what
        is asked about there has to follow from its surroundings (decision 31).
        """
        return in_float32(self.from_code, self.encoder(self.encoding(patches[:, self._blind_spot :])))

    def predict(self, halves: Tensor, queries: Tensor) -> Prediction:
        """Return what is at queries (..., 3) near the surfaces of patches, given their code halves (..., C) in a shape that broadcasts."""
        return self._predict_from(in_float32(self.from_point, self.encoding(queries)).add_(halves))

    def predict_each(self, halves: Tensor, queries: Tensor) -> Prediction:
        """Return the same for queries (M, 3) with one code half each (M, C). `halves` is overwritten, which saves one pass over it."""
        return self._predict_from(halves.addmm_(self.encoding(queries), self.from_point.weight.T))

    def _predict_from(self, first: Tensor) -> Prediction:
        """Return what the network says, given the sums (..., C) that enter the first layer's rectifier."""
        return Prediction(*self._heads(apply_layers(self.hidden, F.relu(first, inplace=True))).unbind(-1))

    def _heads(self, x: Tensor) -> Tensor:
        """Return distance and presence (..., 2) in float32. Both heads are computed at once, so that x, which is large, is read once."""
        heads = (self.distance, self.presence)
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), torch.cat([head.weight for head in heads]), torch.cat([head.bias for head in heads]))

    def wide_layers(self) -> Sequence[nn.Linear]:
        """Return the layers that may score in less than float32: all but the first ones, which read coordinates, and the heads."""
        return [*self.encoder.points.layers[1:], *self.hidden]

    def to_eight_bits(self) -> None:
        """Switch the wide layers to eight bits, for good: the network can no longer learn."""
        points, wide, peaks = self.encoder.points, self.wide_layers(), self.peaks.tolist()
        others = len(points.layers) - 1
        points.layers = nn.ModuleList([points.layers[0], *chain(wide[:others], peaks[:others])])
        self.hidden = nn.ModuleList(chain(wide[others:], peaks[others:]))
