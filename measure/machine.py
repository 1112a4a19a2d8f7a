"""What the machine can do at best: its matrix rates, its rate of copying memory, the time of a durable write."""

from __future__ import annotations

import os
import platform
import time
import timeit
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mdss.method.eight_bits import multiplies_eight_bits
from mdss.method.torch_device import device_of, for_scoring
from measure.results import Machine

CPU_SIDES, GPU_SIDES, QUICK_SIDES = (512, 1024, 2048), (2048, 4096, 8192), (512,)
REPETITIONS, QUICK_REPETITIONS = 8, 3
COPIED_BYTES = 64 * 2**20
WRITTEN_BYTES, WRITES = 4096, 50


class _Wide(nn.Module):
    """A network of one wide layer: it shows in which precision the branches score."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def wide_layers(self) -> Iterable[nn.Module]:
        """Return the layer."""
        return (self.layer,)


def scoring_type(device: str) -> torch.dtype:
    """Return the type of the branches' wide layers on a device."""
    return for_scoring(_Wide(), device, "auto").layer.weight.dtype


def measure_machine(folder: Path, load_before: float, *, is_quick: bool) -> Machine:
    """Measure the machine. `folder` is on the disk for durable writes; `load_before` is the load before anything was made."""
    device, cores = device_of("auto"), len(os.sched_getaffinity(0))
    precision = scoring_type(device)
    types = dict.fromkeys((torch.float32, precision, *([torch.int8] if device == "cpu" and multiplies_eight_bits() else [])))
    return Machine(
        processor=processor_name(),
        cores=cores,
        device=device,
        device_name=torch.cuda.get_device_name(device) if device != "cpu" else "",
        torch=str(torch.__version__),
        threads=cores,
        precision=name_of(precision),
        gflops={name_of(kind): rates(kind, device, (1, cores), is_quick=is_quick) for kind in types},
        copy_gb_s=round(copy_rate(QUICK_REPETITIONS if is_quick else 3 * REPETITIONS), 2),
        sync_write_ms=round(sync_write_ms(folder), 4),
        load_before=round(load_before, 2),
    )


def rates(kind: torch.dtype, device: str, threads: tuple[int, ...], *, is_quick: bool) -> dict[str, float]:
    """Return the best GFLOP/s for each number of threads; afterwards torch has one thread."""
    sides = QUICK_SIDES if is_quick else CPU_SIDES if device == "cpu" else GPU_SIDES
    found = {}
    for count in threads:
        torch.set_num_threads(count)
        best = max(matrix_rate(side, kind, device, QUICK_REPETITIONS if is_quick else REPETITIONS) for side in sides)
        found[str(count)] = round(best, 1)
    torch.set_num_threads(1)
    return found


@torch.inference_mode()
def matrix_rate(side: int, kind: torch.dtype, device: str, repetitions: int) -> float:
    """Return the GFLOP/s of square matrices with this side: the better of A B and A B^T, each the best of its repetitions."""
    first, second = (torch.randint(-127, 128, (side, side), device=device).to(kind) for _ in range(2))
    product = torch.empty(side, side, device=device, dtype=torch.int32 if kind is torch.int8 else kind)
    operation = torch._int_mm if kind is torch.int8 else torch.mm  # noqa: SLF001 - torch has no public one of eight bits

    def multiply(other: torch.Tensor) -> None:
        operation(first, other, out=product)
        if device != "cpu":
            torch.cuda.synchronize(device)

    seconds = min(best_of(lambda: multiply(second), repetitions), best_of(lambda: multiply(second.t()), repetitions))
    return 2 * side**3 / seconds / 1e9


def copy_rate(repetitions: int) -> float:
    """Return the GB/s of a copy that is too large for the caches."""
    source, target = np.ones(COPIED_BYTES, np.uint8), np.zeros(COPIED_BYTES, np.uint8)
    return COPIED_BYTES / best_of(lambda: np.copyto(target, source), repetitions) / 1e9


def sync_write_ms(folder: Path) -> float:
    """Return the shortest time in which a page, appended to a file, is on the disk."""
    path, page = folder / "sync", bytes(WRITTEN_BYTES)
    with path.open("wb", buffering=0) as file:

        def write() -> None:
            file.write(page)
            os.fdatasync(file.fileno())

        seconds = best_of(write, WRITES)
    path.unlink()
    return seconds * 1000


def best_of(action: Callable[[], object], repetitions: int) -> float:
    """Return the seconds of the fastest repetition; one more before them does not count."""
    action()
    return min(timeit.repeat(action, number=1, repeat=repetitions, timer=time.perf_counter))


def name_of(kind: torch.dtype) -> str:
    """Return a type's name without "torch."."""
    return str(kind).removeprefix("torch.")


def processor_name() -> str:
    """Return the CPU's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
