"""What each step learns from, drawn ahead by processes of their own where the steps themselves run on a GPU."""

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
        _Numbered(make),
        batch_size=None,
        sampler=numbers,
        num_workers=count,
        collate_fn=_as_it_is,
        worker_init_fn=_draw_only,
        multiprocessing_context="fork",
    )
    return _Ahead(iter(ahead))


class _Ahead(Iterator[T]):
    """What others draw; they are sent away when nobody asks any more, and before this process ends.

    Python would stop them at its end with a signal that they take no notice of, and wait for them, where an error still holds the iterator.
    """

    def __init__(self, asked: Iterator[T]) -> None:
        self._asked = [asked]
        weakref.finalize(self, self._asked.clear)

    def __next__(self) -> T:
        return next(self._asked[0])


def drawers() -> int:
    """Return how many processes may draw beside this one: of its threads one computes."""
    return min(MOST, torch.get_num_threads() - 1)


def _draw_only(_number: int) -> None:
    """Leave it to the process that is drawn for to be stopped, and end with it, whatever becomes of it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()


def _as_it_is(made: T) -> T:
    return made
