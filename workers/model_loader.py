"""A thread that makes models ready while the process goes on judging; it gives way to everything else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

import structlog

from mdss.errors import MdssError
from mdss.system_calls import LIBC

Made = TypeVar("Made")
NICENESS = 5  # beside the threads that judge
END_WITHIN_S = 3.0  # less than the supervisor waits for a process that it has asked to end
log = structlog.get_logger()


@dataclass(frozen=True)
class Attempt(Generic[Made]):
    """What became of one model: it is made, or there is a reason; neither where nobody wanted it any more when its turn came."""

    key: str
    made: Made | None
    reason: str = ""


class ModelLoader(Generic[Made]):
    """Makes one model after the other; the thread begins with the first, and all use the same, so that memory given back is used again."""

    def __init__(self, make: Callable[[str], Made], is_wanted: Callable[[str], bool]) -> None:
        self._make, self._is_wanted = make, is_wanted
        self._asked, self._finished = SimpleQueue[str | None](), SimpleQueue[Attempt[Made]]()
        self._thread: threading.Thread | None = None
        self._is_ending = False

    def ask(self, key: str) -> None:
        """Have a model made."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="model loader", daemon=True)
            self._thread.start()
        self._asked.put(key)

    def finished(self) -> Iterator[Attempt[Made]]:
        """Yield what was finished since the last call."""
        while True:
            try:
                yield self._finished.get_nowait()
            except Empty:
                return

    def close(self) -> None:
        """Make no more, and wait for what is being made, though not for long."""
        if self._thread is not None:
            self._is_ending = True
            self._asked.put(None)
            self._thread.join(END_WITHIN_S)

    def _run(self) -> None:
        give_way()
        while (key := self._asked.get()) is not None:
            is_wanted = self._is_wanted(key) and not self._is_ending
            self._finished.put(self._attempt(key) if is_wanted else Attempt(key, None))

    def _attempt(self, key: str) -> Attempt[Made]:
        try:
            return Attempt(key, self._make(key))
        except Exception as error:  # noqa: BLE001 - whatever it is: the models that judge must not suffer from it
            return Attempt(key, None, reason_of(key, error))


def give_way() -> None:
    """Let every other thread come first; on Linux a thread has a niceness of its own."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    except OSError as error:  # a sandbox that forbids it
        log.warning("models are loaded at the priority of those that judge", reason=error.strerror)


def reason_of(key: str, error: Exception) -> str:
    """Return why a model cannot be used, in a sentence."""
    return str(error) if isinstance(error, MdssError) else f"model {key} cannot be used: {type(error).__name__}: {error}"


def give_back_memory() -> None:
    """Let the C library return to the system what was freed; without this the room of a dropped model stays with the process."""
    if hasattr(LIBC, "malloc_trim"):  # glibc has it
        LIBC.malloc_trim(0)
