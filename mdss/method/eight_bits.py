"""Layers in whole numbers of eight bits, which most processors multiply three to four times as fast as float32 (decision 22).

What a layer is given becomes 0 to 255, with one step for all of it; its weights become -127 to 127, with a step for each channel it makes.
Products and sums are exact, so every machine finds the same, whether it multiplies in eight bits or does the same sums in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import cv2
import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS, WEIGHT_LEVELS = 255, 127
TINY = 1e-12  # instead of a step of 0, where a layer is never given anything or makes nothing
IMAGES = 4  # dimensions
SIDES, BORDER = [1, 1], [0, 0]  # stride and dilation of a convolution; its padding


class EightBits(nn.Module):
    """What both kinds of layer have in common: weights in whole numbers, and the steps that these count."""

    weight: Tensor
    bias: Tensor
    weight_steps: Tensor
    no_offset: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, peak: float) -> None:
        super().__init__()
        weight = layer.weight.detach()
        steps = weight.abs().flatten(1).amax(dim=1).clamp_min(TINY) / WEIGHT_LEVELS
        assert layer.bias is not None
        self.step = step_of(peak)
        self.register_buffer("weight", (weight / steps.view(-1, *[1] * (weight.dim() - 1))).round().to(torch.int8))
        self.register_buffer("bias", layer.bias.detach().clone())
        self.register_buffer("weight_steps", steps)
        self.register_buffer("no_offset", torch.zeros(len(steps), dtype=torch.int32))
        self._packed: Tensor | None = None

    def packed(self, levels: Tensor) -> Tensor:
        """Return the weights as the device of these levels likes them, made once."""
        if self._packed is None:
            self._packed = self._pack() if is_native(levels) else self.weight.float()
        return self._packed

    def _pack(self) -> Tensor:
        raise NotImplementedError


class EightBitConvolution(EightBits):
    """A convolution without padding of values from 0 to `peak`; higher ones count as the peak."""

    def forward(self, values: Tensor) -> Tensor:
        """Return the convolution (B, C', H', W') of values (B, C, H, W) in float32."""
        return self.convolved(levels_of(values, self.step), self.step, self.bias)

    def convolved(self, levels: Tensor, step: float, bias: Tensor | None) -> Tensor:
        """Return the convolution of whole numbers that each count a step."""
        if is_native(levels):
            given = (levels, step, 0, self.packed(levels), self.weight_steps, self.no_offset, bias)
            return torch.ops.onednn.qconv_pointwise(*given, SIDES, BORDER, SIDES, 1, 1.0, 0, torch.float32, "none", [], "")  # type: ignore[no-any-return]  # an operator has no types
        sums = F.conv2d(levels.float(), self.packed(levels)) * (step * self.weight_steps)[:, None, None]
        return sums if bias is None else sums + bias[:, None, None]

    def _pack(self) -> Tensor:
        prepack = torch.ops.onednn.qconv_prepack
        return prepack(self.weight, self.weight_steps, self.step, 0, SIDES, BORDER, SIDES, 1, None)  # type: ignore[no-any-return]  # see above


class TwiceEightBitConvolution(EightBitConvolution):
    """The same where what it is given must not lose as much: in two halves of eight bits, the lower one counting what the higher leaves."""

    def forward(self, values: Tensor) -> Tensor:
        """Return the convolution (B, C', H', W') of values (B, C, H, W) in float32."""
        fine_step = self.step / (LEVELS + 1)
        levels = (values * (1 / fine_step)).round_().clamp_(0, (LEVELS + 1) ** 2 - 1).to(torch.int32)
        if not is_native(levels):
            return self.convolved(levels, fine_step, self.bias)
        high, low = (levels >> 8).to(torch.uint8), (levels & LEVELS).to(torch.uint8)
        return self.convolved(high, self.step, self.bias).add_(self.convolved(low, fine_step, None))


class EightBitLinear(EightBits):
    """A linear layer of values from 0 to `peak` with a rectifier behind it, and the whole numbers that the next one takes."""

    def __init__(self, layer: nn.Linear, peak: float, next_peak: float | None) -> None:
        super().__init__(layer, peak)
        self._next = None if next_peak is None else step_of(next_peak)

    def forward(self, values: Tensor) -> Tensor:
        """Return (..., C') of float32 values (..., C), or of levels in uint8; levels if another layer follows, else float32."""
        levels = values if values.dtype is torch.uint8 else levels_of(values, self.step)
        if is_native(levels):
            given = (levels, self.step, 0, self.packed(levels), self.weight_steps, self.no_offset, self.bias)
            made = (1.0, 0, torch.float32) if self._next is None else (self._next, 0, torch.uint8)
            return torch.ops.onednn.qlinear_pointwise(*given, *made, "relu", [], "")  # type: ignore[no-any-return]  # see above
        sums = F.linear(levels.float(), self.packed(levels))
        rectified = F.relu(sums * (self.step * self.weight_steps) + self.bias)
        return rectified if self._next is None else levels_of(rectified, self._next)

    def _pack(self) -> Tensor:
        return torch.ops.onednn.qlinear_prepack(self.weight, None)  # type: ignore[no-any-return]  # see above


def chain(layers: Sequence[nn.Linear], peaks: Sequence[float]) -> list[EightBitLinear]:
    """Return linear layers that follow one another with rectifiers between them; between them values stay whole numbers."""
    return [EightBitLinear(*each) for each in zip(layers, peaks, (*peaks[1:], None), strict=True)]


def step_of(peak: float) -> float:
    """Return what one level counts."""
    return max(peak, TINY) / LEVELS


def levels_of(values: Tensor, step: float) -> Tensor:
    """Return values that are not negative as the nearest whole numbers of steps, uint8; those of images laid out channel by channel."""
    if values.device.type != "cpu":
        return (values * (1 / step)).round_().clamp_(0, LEVELS).to(torch.uint8)
    channels_last = values.movedim(1, -1) if values.dim() == IMAGES else values
    rows = channels_last.reshape(-1, channels_last.shape[-1]).numpy()
    levels = torch.from_numpy(cv2.convertScaleAbs(rows, alpha=1 / step)).view(channels_last.shape)  # torch needs four passes for it
    return levels.movedim(-1, 1) if values.dim() == IMAGES else levels


def is_native(levels: Tensor) -> bool:
    """Whether the device of these levels multiplies in eight bits by itself."""
    return levels.device.type == "cpu" and multiplies_eight_bits()


@cache
def multiplies_eight_bits() -> bool:
    """Whether this machine's processor multiplies in eight bits by itself."""
    return bool(torch.cpu._is_vnni_supported())  # noqa: SLF001 - torch has no public question


def highest_inputs(layers: Sequence[nn.Module], run: Callable[[], object]) -> Tensor:
    """Return the highest value that each layer is given (L,) while something runs; 0 where none is above."""
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
