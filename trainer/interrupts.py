"""Ctrl-C while something must not be cut in two: it ends first, so that what is saved is whole."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deaf() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM while the block runs: for the last moment of something, when nothing is left to be stopped."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class HeldInterrupt:
    """Holds back the first SIGINT or SIGTERM while it is entered; a second one interrupts at once.

    It interrupts where the block ends, unless an error ended that: a signal that comes after the block last looked is not lost.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.is_asked and kind is None:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
