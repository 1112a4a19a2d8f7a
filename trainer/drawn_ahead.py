"""What each step learns from, drawn ahead by processes of their own where the steps themselves run on a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")
LOCAL_WORLD = "LOCAL_WORLD_SIZE"  # how many processes torchrun started on this machine
BRANCHES_AT_ONCE = 2
MOST = 12  # processes; a step on a GPU takes no less than what so many draw meanwhile


@dataclass(frozen=True)
class _Numbered(Dataset[T], Generic[T]):
    make: Callable[[int], T]

    def __getitem__(self, number: int) -> T:
        return self.make(number)


def drawn(make: Callable[[int], T], numbers: Sequence[int], device: str) -> Iterator[T]:
    """Yield what `make` returns for each number, in order; beside a GPU it is made ahead, in processes that are copies of this one.

    So `make` must depend on nothing that changes after the first is asked for, and must not touch the GPU.
    """
    count = drawers() if device.startswith("cuda") else 0
    if count == 0:
        return map(make, numbers)
    ahead: DataLoader[Any] = DataLoader(
        _Numbered(make), batch_size=None, sampler=numbers, num_workers=count, collate_fn=_as_it_is, multiprocessing_context="fork"
    )
    return iter(ahead)


def drawers() -> int:
    """Return how many processes may draw beside this one: half of the cores is each branch's, and one of them this process's own."""
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get(LOCAL_WORLD, "1"))
    return min(MOST, max(0, cores // BRANCHES_AT_ONCE - 1))


def _as_it_is(made: T) -> T:
    return made
