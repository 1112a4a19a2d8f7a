"""The networks of the shape branch: a point encoder, and a network that says of any place near a patch what is there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mdss.method.recipe import ShapeSettings

LAST_LAYER_DEVIATION = 0.01  # an open surface starts near distance 0 everywhere, not as a sphere
USUAL_AT_FIRST = -4.0  # logarithm of patch lengths
GRID_SIDE = 1.2  # patch lengths that the cells cover; the longest diagonal of a patch sticks out and goes to the outermost ones


def exactly(layer: nn.Module, values: Tensor) -> Tensor:
    """Apply a layer in float32, whatever precision surrounds it: coordinates and distances need more than eight bits."""
    with torch.autocast(values.device.type, enabled=False):
        result: Tensor = layer(values.float())
        return result


class Waves(nn.Module):
    """Coordinates and their sines and cosines at doubling frequencies: what lets a small network see sharp edges."""

    frequencies: Tensor

    def __init__(self, octaves: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.pi * 2.0 ** torch.arange(octaves), persistent=False)
        self.width = 3 + 6 * octaves

    def forward(self, points: Tensor) -> Tensor:
        """Return (..., 3 + 6 octaves) features of points (..., 3)."""
        angles = (points[..., None, :] * self.frequencies[:, None]).flatten(-2)
        return torch.cat([points, angles.sin(), angles.cos()], dim=-1)


class PointLayers(nn.Module):
    """One multilayer perceptron for every point; the first layer in float32."""

    def __init__(self, inlet: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inner, outer) for inner, outer in zip((inlet, *widths[:-1]), widths, strict=True))

    def forward(self, features: Tensor) -> Tensor:
        """Return (P, K, C) of features (P, K, F)."""
        first, *others = self.layers
        features = F.relu(exactly(first, features))
        for layer in others:
            features = F.relu(layer(features))
        return features


class PatchEncoder(nn.Module):
    """PointNet: the maximum over all points of a patch, one code for the whole of it."""

    def __init__(self, inlet: int, settings: ShapeSettings) -> None:
        super().__init__()
        self.points = PointLayers(inlet, settings.encoder)
        self.code = nn.Linear(settings.encoder[-1], settings.code)

    def forward(self, patches: Tensor, waves: Tensor, queries: Tensor) -> Tensor:
        """Return the patches' codes (P, 1, C), the same for all queries."""
        return exactly(self.code, self.points(waves).amax(dim=1))[:, None]


class CellEncoder(nn.Module):
    """PointNet with a code for each cell of a grid on the patch's xy plane, and neighbours that know of each other."""

    def __init__(self, inlet: int, settings: ShapeSettings) -> None:
        super().__init__()
        width = settings.encoder[-1]
        self.side = settings.cells
        self.points = PointLayers(inlet, settings.encoder)
        self.whole = nn.Linear(width, width)
        self.around = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.code = nn.Conv2d(width, settings.code, 1)

    def forward(self, patches: Tensor, waves: Tensor, queries: Tensor) -> Tensor:
        """Return the codes (P, Q, C) at the queries, bilinear between the cells around them."""
        features = self.points(waves).float()
        count, _, width = features.shape
        column, row = ((patches[..., :2] / GRID_SIDE + 0.5) * self.side).long().clamp(0, self.side - 1).unbind(-1)
        cell = (row * self.side + column)[..., None].expand_as(features)
        empty = features.new_zeros(count, self.side**2, width)
        grid = empty.scatter_reduce(1, cell, features, "amax")
        grid = (grid + self.whole(grid.amax(dim=1, keepdim=True))).transpose(1, 2).unflatten(2, (self.side, self.side))
        for layer in self.around:
            grid = F.relu(layer(grid))
        at = queries[:, None, :, :2] * (2 / GRID_SIDE)
        codes = F.grid_sample(self.code(grid).float(), at, padding_mode="border", align_corners=False)
        return codes[:, :, 0].transpose(1, 2)


class Said(NamedTuple):
    """What the network says of queries, (P, Q) each."""

    distance: Tensor  # signed, to the surface; patch lengths
    presence: Tensor  # the logit of a good part having a measured point there
    usual: Tensor  # the logarithm of how far off a good part's own points are there; patch lengths


class SignedDistanceNetwork(nn.Module):
    """Point encoder and distance network (paper, 3.2): the signed distance of any point to a patch's surface.

    The first layer's half for the code is computed once per code, the half for the point once per point; together they
    are one layer on both, side by side.
    """

    void_unit: Tensor  # what one unit of evidence in a void is worth, in the unit of the map
    usual_level: Tensor  # what the tolerance takes off a good part's points in the mean, in that unit

    def __init__(self, settings: ShapeSettings) -> None:
        super().__init__()
        self.waves = Waves(settings.octaves)
        self.encoder = CellEncoder(self.waves.width, settings) if settings.cells else PatchEncoder(self.waves.width, settings)
        self.from_code = nn.Linear(settings.code, settings.width)
        self.from_point = nn.Linear(self.waves.width, settings.width, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(settings.width, settings.width) for _ in range(settings.depth - 1))
        self.distance, self.presence, self.usual = (nn.Linear(settings.width, 1) for _ in range(3))
        for head in (self.distance, self.presence, self.usual):
            nn.init.normal_(head.weight, std=LAST_LAYER_DEVIATION)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.usual.bias, USUAL_AT_FIRST)
        self.register_buffer("void_unit", torch.zeros(()))
        self.register_buffer("usual_level", torch.zeros(()))

    def forward(self, patches: Tensor, queries: Tensor) -> Said:
        """Return what is at queries (P, Q, 3) near the surfaces of patches (P, K, 3), both in the patches' frames.

        How far good parts are off is learned beside the rest and takes no part in it.
        """
        codes = self.encoder(patches, self.waves(patches), queries)
        x = F.relu(exactly(self.from_code, codes) + exactly(self.from_point, self.waves(queries)))
        for layer in self.hidden:
            x = F.relu(layer(x))
        heads = (exactly(head, values).squeeze(-1) for head, values in ((self.distance, x), (self.presence, x), (self.usual, x.detach())))
        return Said(*heads)
