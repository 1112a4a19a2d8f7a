"""The networks of the shape branch: a point encoder, and a network that says of any place near a patch what is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mdss.method.eight_bits import chain, rectified
from mdss.method.recipe import ShapeSettings
from mdss.method.rectifier import highest
from mdss.method.torch_device import exactly
from mdss.method.usual import CLASSES

LAST_LAYER_DEVIATION = 0.01  # an open surface starts near distance 0 everywhere, not as a sphere


def through(layers: Iterable[nn.Module], values: Tensor) -> Tensor:
    """Return what layers with a rectifier behind each make of values that are not negative."""
    for layer in layers:
        values = rectified(layer, values)
    return values


class Waves(nn.Module):
    """Coordinates and their sines and cosines at doubling frequencies: what lets a small network see sharp edges."""

    frequencies: Tensor

    def __init__(self, octaves: int) -> None:
        super().__init__()
        self._octaves, self.width = octaves, 3 + 6 * octaves
        self.register_buffer("frequencies", (torch.pi * 2.0 ** torch.arange(octaves)).repeat_interleave(3), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """Return (..., 3 + 6 octaves) features of points (..., 3)."""
        if not self._octaves:
            return points
        angles = torch.cat([points] * self._octaves, dim=-1) * self.frequencies  # rows of three by themselves are slow to multiply
        return torch.cat([points, angles.sin(), angles.cos()], dim=-1)


class PointLayers(nn.Module):
    """One multilayer perceptron for every point; the first layer in float32."""

    def __init__(self, inlet: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inner, outer) for inner, outer in zip((inlet, *widths[:-1]), widths, strict=True))

    def forward(self, features: Tensor) -> Tensor:
        """Return (P, K, C) of features (P, K, F)."""
        first, *others = self.layers
        return through(others, F.relu(exactly(first, features), inplace=True))


class PatchEncoder(nn.Module):
    """PointNet: one code of a patch, from the maximum over its points."""

    def __init__(self, inlet: int, settings: ShapeSettings) -> None:
        super().__init__()
        self.points = PointLayers(inlet, settings.encoder)
        self.code = nn.Linear(settings.encoder[-1], settings.code)

    def forward(self, waves: Tensor) -> Tensor:
        """Return the codes (P, C) of patches whose points have these coordinates and waves (P, K, F)."""
        return exactly(self.code, highest(self.points(waves)))


class Said(NamedTuple):
    """What the network says of queries, one value each."""

    distance: Tensor  # signed, to the surface; patch lengths
    presence: Tensor  # the logit of a good part having a measured point there


class SignedDistanceNetwork(nn.Module):
    """Point encoder and distance network (paper, 3.2): the signed distance of any point to a patch's surface.

    The first layer's half for the code is computed once per patch, the half for the point once per point; together they
    are one layer on both, side by side.
    """

    patch_mm: Tensor  # how long a patch of a good part usually is
    peaks: Tensor  # the highest value that each wide layer is given in batches as it learned from; there if the branch scores in eight bits
    usual: Tensor  # what distances of good parts come to where so much around a point was measured; there if the branch weighs by it
    border_usual: Tensor  # the same, then, of points so near to the grid's border
    void_usual: Tensor  # the same of evidence in voids
    void_unit: Tensor  # what one unit of evidence in a void is worth, in the unit of the map

    def __init__(self, settings: ShapeSettings) -> None:
        super().__init__()
        self._blind_spot = settings.blind_spot
        self.waves = Waves(settings.octaves)
        self.encoder = PatchEncoder(self.waves.width, settings)
        self.from_code = nn.Linear(settings.code, settings.width)
        self.from_point = nn.Linear(self.waves.width, settings.width, bias=False)
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

    def forward(self, patches: Tensor, queries: Tensor) -> Said:
        """Return what is at queries (P, Q, 3) near the surfaces of patches (P, K, 3), both in the patches' frames."""
        return self.ask(self.code_halves(patches)[:, None], queries)

    def code_halves(self, patches: Tensor) -> Tensor:
        """Return the first layer's half for the code of each of the patches (P, K, 3): (P, C).

        Patches have the points nearest their centres first; those in the blind spot are not shown, so that what is asked about there
        has to follow from its surroundings (decision 31).
        """
        return exactly(self.from_code, self.encoder(self.waves(patches[:, self._blind_spot :])))

    def ask(self, halves: Tensor, queries: Tensor) -> Said:
        """Return what is at queries (..., 3) near the surfaces of patches, whose `halves` (..., C) are as many or spread over them."""
        return self._said(exactly(self.from_point, self.waves(queries)).add_(halves))

    def ask_each(self, halves: Tensor, queries: Tensor) -> Said:
        """Return the same of queries (M, 3) with halves (M, C) of their own, which are written over: one pass over them less."""
        return self._said(halves.addmm_(self.waves(queries), self.from_point.weight.T))

    def _said(self, first: Tensor) -> Said:
        """Return what follows from the first layer's sums (..., C)."""
        return Said(*self._last(through(self.hidden, F.relu(first, inplace=True))).unbind(-1))

    def _last(self, x: Tensor) -> Tensor:
        """Return distance and presence (..., 2) in float32: both heads at once, because x is large and read once so."""
        heads = (self.distance, self.presence)
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), torch.cat([head.weight for head in heads]), torch.cat([head.bias for head in heads]))

    def wide_layers(self) -> Sequence[nn.Linear]:
        """Return the layers between the first, which reads coordinates, and the last, which says distances."""
        return [*self.encoder.points.layers[1:], *self.hidden]

    def to_eight_bits(self) -> None:
        """Let these layers compute in eight bits from now on; the network can no longer learn."""
        points, wide, peaks = self.encoder.points, self.wide_layers(), self.peaks.tolist()
        others = len(points.layers) - 1
        points.layers = nn.ModuleList([points.layers[0], *chain(wide[:others], peaks[:others])])
        self.hidden = nn.ModuleList(chain(wide[others:], peaks[others:]))
