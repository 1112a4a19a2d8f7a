"""Layers that compute in whole numbers of eight bits: CPUs with VNNI multiply them three to four times as fast as float32 (decision 22).

A layer's input becomes whole numbers from 0 to 255, with one step for the whole layer. Its weights become -127 to 127, with one step for
each output channel. Products and sums are exact. A device that does not multiply in eight bits does the same sums in float32. It finds
the same values, except for a level here and there where a sum lies between two levels of the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import cv2
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mdss.method.rectifier import rectify
from mdss.method.torch_device import to_layer_precision

LEVELS, WEIGHT_LEVELS = 255, 127
TINY = 1e-12  # the least peak and weight: avoids a step of 0 in a layer whose inputs or weights are all 0
GEOMETRY = [1, 1], [0, 0], [1, 1], 1  # stride, padding, dilation, groups of every convolution here
# On CPUs with matrix tiles, the library has two layouts for the weights of 384 outputs. It packs them in one; if an image's size wants the
# other, it converts them in every call, which takes up to 140 ms. For 256 outputs there is only one layout.
OUTPUTS_AT_ONCE = 256


class EightBitLayer(nn.Module):
    """What both kinds of layer have in common: weights as whole numbers, and the steps that one unit of them counts."""

    weight: Tensor
    bias: Tensor
    weight_steps: Tensor
    weight_zero_points: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, peak: float) -> None:
        super().__init__()
        weight = layer.weight.detach()
        steps = weight.abs().flatten(1).amax(dim=1).clamp_min(TINY) / WEIGHT_LEVELS
        assert layer.bias is not None
        self.step = quantisation_step(peak)
        self.register_buffer("weight", (weight / steps.view(-1, *[1] * (weight.dim() - 1))).round().to(torch.int8))
        self.register_buffer("bias", layer.bias.detach().clone())
        self.register_buffer("weight_steps", steps)
        self.register_buffer("weight_zero_points", torch.zeros_like(steps, dtype=torch.int32))
        self._packed: Any = None

    def packed_weights(self, levels: Tensor) -> Any:
        """Return the weights in the layout of the device of these levels, made once: a tensor, or one for each piece."""
        if self._packed is None:
            self._packed = self._pack() if is_native(levels) else self.weight.float()
        return self._packed

    def operands(self, levels: Tensor) -> tuple[Any, ...]:
        """Return the first arguments of both operators: levels, their step and zero point, weights, their steps and zero points, bias."""
        return levels, self.step, 0, self.packed_weights(levels), self.weight_steps, self.weight_zero_points, self.bias

    def _pack(self) -> Any:
        raise NotImplementedError


class EightBitConvolution(EightBitLayer):
    """A convolution without padding, of values from 0 to `peak` (higher ones count as the peak), with or without a rectifier behind it."""

    def __init__(self, layer: nn.Conv2d, peak: float, *, is_rectified: bool) -> None:
        super().__init__(layer, peak)
        self._is_rectified = is_rectified

    def forward(self, values: Tensor) -> Tensor:
        """Return the convolution (B, C', H', W') of values (B, C, H, W), in float32."""
        levels = quantise(values.movedim(1, -1), self.step).movedim(-1, 1)
        return self._convolve_native(levels) if is_native(levels) else self._convolve_in_float(levels)

    def _convolve_native(self, levels: Tensor) -> Tensor:
        *given, packed, steps, zero_points, bias = self.operands(levels)
        behind = "relu" if self._is_rectified else "none"
        made = [
            torch.ops.onednn.qconv_pointwise(*given, weights, *piece, *GEOMETRY, 1.0, 0, torch.float32, behind, [], "")
            for weights, piece in zip(packed, in_pieces(steps, zero_points, bias), strict=True)
        ]
        return made[0] if len(made) == 1 else torch.cat(made, dim=1)

    def _convolve_in_float(self, levels: Tensor) -> Tensor:
        worth = self.step * self.weight_steps
        made = F.conv2d(levels, self.packed_weights(levels), self.bias / worth).mul_(worth[:, None, None])
        return F.relu(made, inplace=True) if self._is_rectified else made

    def _pack(self) -> list[Tensor]:
        pieces = in_pieces(self.weight, self.weight_steps)
        return [torch.ops.onednn.qconv_prepack(*piece, self.step, 0, *GEOMETRY, None) for piece in pieces]


class EightBitLinear(EightBitLayer):
    """One linear layer of a chain, of values from 0 to `peak`, with a rectifier behind it."""

    def __init__(self, layer: nn.Linear, peak: float, next_peak: float | None, *, is_first: bool) -> None:
        super().__init__(layer, peak)
        self._is_first, self._next_step = is_first, None if next_peak is None else quantisation_step(next_peak)

    def forward(self, values: Tensor) -> Tensor:
        """Return (..., C') of (..., C). The first layer of a chain takes float32, the last returns it; in between, values stay levels."""
        levels = quantise(values, self.step) if self._is_first else values
        return self._multiply_native(levels) if is_native(levels) else self._multiply_in_float(levels)

    def _multiply_native(self, levels: Tensor) -> Tensor:
        given = self.operands(levels)
        made = (1.0, 0, torch.float32) if self._next_step is None else (self._next_step, 0, torch.uint8)
        return torch.ops.onednn.qlinear_pointwise(*given, *made, "relu", [], "")  # type: ignore[no-any-return]  # an operator has no types

    def _multiply_in_float(self, levels: Tensor) -> Tensor:
        worth = self.step * self.weight_steps
        sums = F.linear(levels, self.packed_weights(levels), self.bias / worth)
        if self._next_step is None:
            return F.relu(sums.mul_(worth), inplace=True)
        return sums.mul_(worth / self._next_step).round_().clamp_(0, LEVELS)

    def _pack(self) -> Tensor:
        return torch.ops.onednn.qlinear_prepack(self.weight, None)  # type: ignore[no-any-return]  # see above


def chain(layers: Sequence[nn.Linear], peaks: Sequence[float]) -> list[EightBitLinear]:
    """Return eight-bit layers for linear layers with rectifiers between them; values stay whole numbers from one to the next."""
    following = zip(layers, peaks, [*peaks[1:], None][: len(layers)], strict=True)
    return [EightBitLinear(*each, is_first=number == 0) for number, each in enumerate(following)]


def in_pieces(*by_output: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors along a convolution's outputs, and yield what belongs to each group of outputs that is computed at once."""
    return zip(*(torch.split(each, OUTPUTS_AT_ONCE) for each in by_output), strict=True)


def apply_rectified(layer: nn.Module, values: Tensor) -> Tensor:
    """Return the output of a layer and the rectifier behind it, in whatever precision the layer computes."""
    made: Tensor = layer(to_layer_precision(values, layer))
    return made if isinstance(layer, EightBitLayer) else rectify(made)


def quantisation_step(peak: float) -> float:
    """Return the value of one level, given the highest value."""
    return max(peak, TINY) / LEVELS


def quantise(values: Tensor, step: float) -> Tensor:
    """Return values that are not negative as the nearest whole numbers of steps, 0 to 255; as uint8 if the device is native."""
    if not is_native(values):
        return (values * (1 / step)).round_().clamp_(0, LEVELS)
    rows = values.reshape(-1, values.shape[-1]).numpy()
    return torch.from_numpy(cv2.convertScaleAbs(rows, alpha=1 / step)).view(values.shape)  # torch needs four passes for this


def is_native(values: Tensor) -> bool:
    """Whether the device of these values has instructions to multiply in eight bits."""
    return values.device.type == "cpu" and multiplies_eight_bits()


@cache
def multiplies_eight_bits() -> bool:
    """Whether this machine's CPU has instructions to multiply in eight bits (VNNI)."""
    return bool(torch.cpu._is_vnni_supported())  # noqa: SLF001 - torch has no public question


def highest_inputs(layers: Sequence[nn.Module], run: Callable[[], object]) -> Tensor:
    """Return the highest value that enters each layer (L,) while `run` runs; 0 if none is above."""
    highest = [0.0] * len(layers)

    def note(number: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def noted(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            highest[number] = max(highest[number], float(inputs[0].max()))

        return noted

    hooks = [layer.register_forward_pre_hook(note(number)) for number, layer in enumerate(layers)]
    try:
        with torch.inference_mode():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return torch.tensor(highest)
