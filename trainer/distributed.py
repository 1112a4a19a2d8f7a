"""One training in several processes, on one machine or several, as torchrun starts them: each learns from its share of every batch.

Only the first process reads and writes checkpoints and the store, and sends the others what it has. The others need nothing but the same
scans.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mdss.errors import BadInput, CutOff
from mdss.method.recipe import Recipe
from mdss.method.torch_device import device_of

T = TypeVar("T")
WORLD, RANK, LOCAL = "WORLD_SIZE", "RANK", "LOCAL_RANK"  # environment variables that torchrun sets for each process
PATIENCE_S = 600.0  # until another process reaches the same step: one may read more slowly; gloo reports a dead one at once


class PeerLost(CutOff):
    """Another process of this training has ended or cannot be reached any more."""


def is_shared() -> bool:
    """Return whether this process shares its training with others."""
    return dist.is_available() and dist.is_initialized()


def is_first() -> bool:
    """Return whether this process is the one that keeps the result."""
    return not is_shared() or dist.get_rank() == 0


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Join the processes that torchrun started while the block runs, and yield this one's device. Alone, nothing is joined.

    On GPUs the processes speak NCCL, and each takes the GPU of its local rank; on a CPU they speak gloo.
    """
    if int(os.environ.get(WORLD, "1")) < 2:
        yield device
        return
    own = device_of(f"cuda:{os.environ.get(LOCAL, '0')}" if device_of(device) != "cpu" else "cpu")
    if own != "cpu":
        torch.cuda.set_device(own)
    with _naming_lost_peer("the others at the start"):
        dist.init_process_group("gloo" if own == "cpu" else "nccl", timeout=timedelta(seconds=PATIENCE_S))
    try:
        yield own
    finally:
        dist.destroy_process_group()


def own_rows(batch: Sequence[T]) -> Sequence[T]:
    """Return this process's rows of a batch."""
    return batch[dist.get_rank() :: dist.get_world_size()] if is_shared() else batch


def check_same(recipe: Recipe, scans: tuple[str, str]) -> None:
    """Refuse to train together with different settings or scans, or in batches that cannot be shared evenly; alone, nothing is refused.

    `scans` are the unit and the digest of the dataset.
    """
    if not is_shared():
        return
    size = dist.get_world_size()
    for name, batch in (("rgb.batch", recipe.rgb.batch), ("sdf.batch", recipe.sdf.batch)):
        if batch % size:  # the mean of uneven shares is not the mean of the batch
            raise BadInput(f"{name}: found {batch}, expected a multiple of {size}, the number of processes that share it")
    own = hashlib.sha256(repr((recipe, scans)).encode()).digest()
    first = torch.tensor(list(own), dtype=torch.uint8, device=_device())
    with _naming_lost_peer("the first process"):
        dist.broadcast(first, 0)
    if bytes(first.cpu().tolist()) != own:
        raise BadInput(f"process {dist.get_rank()} of the training has other settings or scans than the first; expected the same")


def wanted_by_first(names: Sequence[T], wanted: Sequence[T]) -> list[T]:
    """Return those of `names` that the first process wants; every process calls it with the same names."""
    flags = torch.tensor([float(name in wanted) for name in names], device=_device())
    with _naming_lost_peer("the first process"):
        dist.broadcast(flags, 0)
    return [name for name, flag in zip(names, flags.tolist(), strict=True) if flag]


def broadcast_file(path: Path) -> None:
    """Give every process a copy of the first one's file, if the first has it."""
    content = path.read_bytes() if is_first() and path.exists() else b""
    size = torch.tensor([len(content)], dtype=torch.int64, device=_device())
    with _naming_lost_peer("the first process"):
        dist.broadcast(size, 0)
        data = torch.empty(int(size), dtype=torch.uint8, device=_device())
        if content:
            data.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        dist.broadcast(data, 0)
    if int(size) and not is_first():
        path.write_bytes(data.cpu().numpy().tobytes())


def average_gradients(network: nn.Module, loss: float, *, is_asked: bool) -> tuple[float, bool]:
    """Average the gradients of all processes in place; return the mean loss, and whether any process was asked to stop."""
    if not is_shared():
        return loss, is_asked
    gradients = [value.grad for value in network.parameters() if value.grad is not None]
    flat = torch.cat([*(each.reshape(-1) for each in gradients), torch.tensor([loss, float(is_asked)], device=gradients[0].device)])
    with _naming_lost_peer("another process"):
        dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for each in gradients:
        each.copy_(flat[start : start + each.numel()].reshape(each.shape))
        start += each.numel()
    return float(flat[-2]), bool(flat[-1] > 0)


def max_over_processes(values: Tensor) -> Tensor:
    """Return the element-wise maximum over all processes."""
    if not is_shared():
        return values
    found = values.to(_device(), copy=True)
    with _naming_lost_peer("another process"):
        dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.to(values.device)


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


@contextmanager
def _naming_lost_peer(whom: str) -> Iterator[None]:
    """Turn an error of the connection into a sentence that says who did not answer."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        number = os.environ.get(RANK, "?")
        raise PeerLost(f"process {number} of the training lost {whom} ({reason}); the checkpoint is kept, --resume goes on") from error
