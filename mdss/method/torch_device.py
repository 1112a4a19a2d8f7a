"""Which device a branch computes on, and in which precision it learns and scores there."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from mdss.errors import BadInput, ModelRefused
from mdss.method.recipe import Learning, Scores

Precision = Literal["auto", "float32"]
TRIAL_SIDE, TRIALS = 512, 5  # of the matrices multiplied to find the faster type: some 30 ms in all
FIRST_WITH_BFLOAT16 = (8, 0)  # CUDA's compute capability of A100
LEAST_GAIN = 1.25  # times as fast: with less gain bfloat16 is not worth its lost digits


class Scoring(Protocol):
    """A network that knows which of its layers may score in less than float32."""

    def wide_layers(self) -> Iterable[nn.Module]:
        """Return the layers that do most of the multiplying; a layer before them sees the input in full precision."""

    def to_eight_bits(self) -> None:
        """Switch these layers to eight bits, for good."""


N = TypeVar("N", bound=nn.Module)


def device_of(name: str) -> str:
    """Return the torch device for `auto`, `cpu` or `cuda:N`. BadInput if this machine has no such device."""
    count = torch.cuda.device_count()
    if name == "auto":
        return "cuda:0" if count else "cpu"
    known = ["cpu", *(f"cuda:{number}" for number in range(count))]
    if name not in known:
        raise BadInput(f"device: found {name!r}, expected auto or one of this machine's: {', '.join(known)}")
    return name


def learning_precision(device: str, learns_in: Learning = "auto") -> torch.autocast:
    """Return the context that a training step runs in: bfloat16 if the device is faster in it, float32 otherwise.

    With `learns_in` 'bfloat16', a CPU that has bfloat16 uses it even if it is slower. A CPU without it does not: that would be slower by
    far.
    """
    is_narrow = gains_by_bfloat16(device) or (learns_in == "bfloat16" and device == "cpu" and cpu_has_bfloat16())
    return torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=is_narrow)


def gains_by_bfloat16(device: str) -> bool:
    """Whether a device multiplies faster in bfloat16 than in float32; older GPUs can compute in it, but not faster."""
    return torch.cuda.get_device_capability(device) >= FIRST_WITH_BFLOAT16 if device.startswith("cuda") else cpu_gains_by_bfloat16()


@cache
def cpu_gains_by_bfloat16() -> bool:
    """Whether this CPU multiplies faster in bfloat16 than in float32, tried once: one that has it may be slower in it (decision 5)."""
    if not cpu_has_bfloat16():
        return False
    with one_thread():
        spent = {kind: [matmul_s(kind)] for kind in (torch.float32, torch.bfloat16)}  # the first does not count
        for _ in range(TRIALS):
            for kind, seconds in spent.items():
                seconds.append(matmul_s(kind))
    exact_s, narrow_s = (min(seconds[1:]) for seconds in spent.values())
    return exact_s >= LEAST_GAIN * narrow_s


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread inside the block: several threads wait for each other if another program holds one of their cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def matmul_s(kind: torch.dtype) -> float:
    """Return the CPU seconds of one thread for multiplying two square matrices of a type; time of other programs does not count."""
    factor = torch.ones(TRIAL_SIDE, TRIAL_SIDE, dtype=kind)
    started_s = time.thread_time()
    torch.mm(factor, factor.t())
    return time.thread_time() - started_s


def cpu_has_bfloat16() -> bool:
    """Whether this machine's CPU has instructions for bfloat16."""
    return bool(torch.cpu._is_avx512_bf16_supported())  # noqa: SLF001 - torch has no public question


def for_scoring(network: N, device: str, precision: Precision, scores_in: Scores = "float") -> N:
    """Return a copy of a network on its device, ready to score: its wide layers narrowed, all others in float32.

    The wide layers compute in eight bits if the model says so (decision 22), otherwise in bfloat16 if that is faster (decision 5).
    """
    copied = copy.deepcopy(network).eval().to(device)
    scoring: Scoring = copied  # type: ignore[assignment]  # both networks have its methods
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # otherwise a GPU rounds float32 to ten bits
    check_finite(copied)
    if scores_in == "int8":
        scoring.to_eight_bits()
    elif precision == "auto" and gains_by_bfloat16(device):
        for layer in scoring.wide_layers():
            layer.to(torch.bfloat16)
    return copied


def check_finite(network: nn.Module) -> None:
    """Refuse a network with NaN or infinite numbers: in eight bits, or behind a rectifier, no map would show them."""
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ModelRefused(f"{type(network).__name__}: {name}: found what is no finite number; expected numbers alone")


def in_float32(layer: nn.Module, values: Tensor) -> Tensor:
    """Apply a layer in float32, whatever autocast is on: coordinates and distances need more digits than bfloat16 has."""
    with torch.autocast(values.device.type, enabled=False):
        result: Tensor = layer(values.float())
        return result


def to_layer_precision(values: Tensor, layer: nn.Module) -> Tensor:
    """Return a layer's input in bfloat16 if its weights are; otherwise unchanged."""
    return values.to(torch.bfloat16) if layer.weight.dtype is torch.bfloat16 else values
