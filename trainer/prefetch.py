"""Draws the data of training steps ahead, in processes of their own, while the steps run on a GPU."""

from __future__ import annotations

import signal
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from mdss.interrupts import SIGNALS
from mdss.system_calls import end_with_parent

T = TypeVar("T")
MOST = 12  # processes: with 12, drawing is no slower than a GPU's steps


@dataclass(frozen=True)
class _NumberedItems(Dataset[T], Generic[T]):
    make: Callable[[int], T]

    def __getitem__(self, number: int) -> T:
        return self.make(number)


def prefetched(make: Callable[[int], T], numbers: Sequence[int], device: str) -> Iterator[T]:
    """Yield `make(number)` for each number, in order; for a GPU it is made ahead, in processes forked from this one.

    So `make` must not depend on anything that changes after the first is asked for, and must not touch the GPU.
    """
    count = prefetch_processes() if device.startswith("cuda") else 0
    if count == 0:
        return map(make, numbers)
    ahead: DataLoader[Any] = DataLoader(
        _NumberedItems(make),
        batch_size=None,
        sampler=numbers,
        num_workers=count,
        collate_fn=_unchanged,
        worker_init_fn=_start_prefetch_process,
        multiprocessing_context="fork",
    )
    return _Prefetched(iter(ahead))


class _Prefetched(Iterator[T]):
    """Items that other processes make; those are stopped when nobody asks any more, and before this process ends.

    Otherwise, if an error still holds the iterator, Python at its end would send them a signal that they ignore, and wait for them.
    """

    def __init__(self, asked: Iterator[T]) -> None:
        self._asked = [asked]
        weakref.finalize(self, self._asked.clear)

    def __next__(self) -> T:
        return next(self._asked[0])


def prefetch_processes() -> int:
    """Return how many processes may draw beside this one; one of its threads is left for computing."""
    return min(MOST, torch.get_num_threads() - 1)


def _start_prefetch_process(_number: int) -> None:
    """Ignore signals, because only the parent may stop this process; end with the parent, however that ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()


def _unchanged(made: T) -> T:
    return made
