"""A MobileNetV2 read from a weights file: the backbone whose features a teacher is distilled from."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mdss.errors import BadInput

FINE_LAYER, COARSE_LAYER = "021_CONV", "047_CONV"  # the last expanded layers at stride 8 and at stride 16
FINE_STRIDE_PX, COARSE_STRIDE_PX = 8, 16
FIRST_CHANNELS, EXPANSION = 32, 6
STAGES = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2))  # channels, blocks, stride of the first
# What a damaged file raises; Python's own parser reads the header of each array, which may also ask for any amount of memory
ARCHIVE_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, zlib.error)
HEADER_DAMAGE = (ValueError, TypeError, AttributeError, SyntaxError, tokenize.TokenError, MemoryError)


@dataclass(frozen=True)
class Block:
    """One inverted residual block, numbered by its first node in the graph; the first block has no expansion."""

    number: int
    inputs: int
    outputs: int
    stride: int
    is_expanded: bool
    is_residual: bool

    @property
    def hidden(self) -> int:
        """Return the number of channels between expansion and projection."""
        return self.inputs * (EXPANSION if self.is_expanded else 1)

    def node(self, place: int, kind: str) -> str:
        """Return the name of the block's expansion (0), depthwise (1) or projecting (2) convolution."""
        return f"{self.number + place - (not self.is_expanded):03d}_{kind}"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the name and weight shape of each of the block's convolutions."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.is_expanded:
            shapes[self.node(0, "CONV")] = (self.hidden, self.inputs, 1, 1)
        shapes[self.node(1, "DW")] = (self.hidden, 1, 3, 3)
        shapes[self.node(2, "CONV")] = (self.outputs, self.hidden, 1, 1)
        return shapes


def blocks() -> Iterator[Block]:
    """Yield the blocks in the graph's order. Additions are nodes of the graph, too, and count in the numbering."""
    number, inputs = 1, FIRST_CHANNELS
    for stage, (outputs, count, stride) in enumerate(STAGES):
        for index in range(count):
            block = Block(number, inputs, outputs, stride if index == 0 else 1, stage > 0, index > 0)
            yield block
            number += 2 + block.is_expanded + block.is_residual
            inputs = outputs


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """Return the name and weight shape of every convolution up to the coarse layer."""
    shapes: dict[str, tuple[int, ...]] = {"000_CONV": (FIRST_CHANNELS, 3, 3, 3)}
    for block in blocks():
        shapes |= block.shapes()
    return {name: shape for name, shape in shapes.items() if name <= COARSE_LAYER}


class MobileNetV2Features(nn.Module):
    """The trunk of MobileNetV2 up to stride 16, batch norm folded, with TensorFlow's asymmetric SAME padding.

    Cell k of the stride-8 layer is centred on input pixel 8k + 7, cell m of the stride-16 layer on 16m + 15.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in weights.items():
            self.register_buffer(f"node_{name}", value)

    @classmethod
    def load(cls, path: Path) -> MobileNetV2Features:
        """Return the network of an .npz file with arrays NNN_CONV_w, NNN_CONV_b, NNN_DW_w, NNN_DW_b."""
        if not path.is_file():
            raise BadInput(f"{path}: no such file; expected a MobileNetV2 backbone (.npz)")
        weights: dict[str, Tensor] = {}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                for node, shape in weight_shapes().items():
                    weights[f"{node}_w"] = _array(path, archive, f"{node}_w", shape)
                    weights[f"{node}_b"] = _array(path, archive, f"{node}_b", shape[:1])
        except (*ARCHIVE_DAMAGE, *HEADER_DAMAGE) as error:
            raise BadInput(f"{path}: cannot be read as a backbone ({error}); expected an .npz file of arrays") from error
        return cls(weights)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, 192, H/8, W/8) and (B, 576, H/16, W/16) of an image (B, 3, H, W) in 0..1."""
        x = F.relu6(self._convolve(image * 2 - 1, "000_CONV", stride=2))
        layers: dict[str, Tensor] = {}
        for block in blocks():
            inner = x
            if block.is_expanded:
                inner = layers[block.node(0, "CONV")] = F.relu6(self._convolve(x, block.node(0, "CONV")))
            if COARSE_LAYER in layers:
                break
            inner = F.relu6(self._convolve(inner, block.node(1, "DW"), block.stride))
            inner = self._convolve(inner, block.node(2, "CONV"))
            x = x + inner if block.is_residual else inner
        return layers[FINE_LAYER], layers[COARSE_LAYER]

    def _convolve(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight, bias = self.get_buffer(f"node_{name}_w"), self.get_buffer(f"node_{name}_b")
        if weight.shape[-1] == 3:
            x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        return F.conv2d(x, weight, bias, stride, groups=len(weight) if name.endswith("DW") else 1)


def _array(path: Path, archive: np.lib.npyio.NpzFile, name: str, shape: tuple[int, ...]) -> Tensor:
    if name not in archive.files:
        raise BadInput(f"{path}: array {name} is missing; expected a MobileNetV2 backbone with {name} of shape {shape}")
    array = archive[name]
    if array.shape != shape or array.dtype.kind != "f":
        raise BadInput(f"{path}: array {name}: found {array.dtype} of shape {array.shape}, expected floats of shape {shape}")
    if not np.isfinite(array).all():
        raise BadInput(f"{path}: array {name}: found values that are not finite, expected finite weights")
    return torch.from_numpy(array.astype(np.float32))
