"""Handling of Ctrl-C, SIGTERM and SIGHUP where work must not be cut in two: it finishes first, so that what is saved is complete."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_handled_by(handler: Any, numbers: tuple[signal.Signals, ...] = SIGNALS) -> Iterator[None]:
    """Send SIGINT, SIGTERM and SIGHUP, or some of them, to a handler while the block runs; nohup has SIGHUP ignored, and so it stays."""
    heard = [number for number in numbers if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, kept in before.items():
            signal.signal(number, kept)


def signals_ignored() -> AbstractContextManager[None]:
    """Ignore these signals while the block runs: for the last moments, when there is nothing left to stop."""
    return signals_handled_by(signal.SIG_IGN)


def signals_as_interrupt(numbers: tuple[signal.Signals, ...] = SIGNALS) -> AbstractContextManager[None]:
    """Make SIGTERM and SIGHUP interrupt like Ctrl-C while the block runs, so that the end is recorded whoever asks for it."""
    return signals_handled_by(signal.default_int_handler, numbers)


class HeldInterrupt:
    """Holds back the first SIGINT, SIGTERM or SIGHUP while the block runs; a second one interrupts at once, but for SIGHUP.

    The held signal interrupts at the end of the block, unless an error ended it, so that a late signal is not lost.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self._handled = signals_handled_by(self._note)

    def __enter__(self) -> Self:
        self._handled.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._handled.__exit__(None, None, None)
        if self.is_asked and kind is None:
            raise KeyboardInterrupt

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.is_asked and number != signal.SIGHUP:  # when a terminal is closed, its shell sends one, and the kernel another
            raise KeyboardInterrupt
        self.is_asked = True
