"""Loads models in a low-priority thread while the process goes on judging."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

import structlog

from mdss.errors import MdssError
from mdss.system_calls import LIBC

Made = TypeVar("Made")
NICENESS = 5  # so much below the threads that judge
END_WITHIN_S = 3.0  # shorter than the supervisor's wait for a process that was asked to end
log = structlog.get_logger()


@dataclass(frozen=True)
class Attempt(Generic[Made]):
    """The outcome for one model: the result, or the reason why there is none."""

    key: str
    result: Made | None
    reason: str = ""


class ModelLoader(Generic[Made]):
    """Loads one model after the other, all in one thread that starts with the first, so that freed memory is reused."""

    def __init__(self, make: Callable[[str], Made]) -> None:
        self._make = make
        self._asked, self._finished = SimpleQueue[str | None](), SimpleQueue[Attempt[Made]]()
        self._thread: threading.Thread | None = None

    def ask(self, key: str) -> None:
        """Have a model loaded; the next may be asked for when this one is finished."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="model loader", daemon=True)
            self._thread.start()
        self._asked.put(key)

    def finished(self) -> Attempt[Made] | None:
        """Return the outcome for the model that was asked for, once; None while it is loaded."""
        try:
            return self._finished.get_nowait()
        except Empty:
            return None

    def close(self) -> None:
        """Load no more, and wait a few seconds for the current model."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(END_WITHIN_S)

    def _run(self) -> None:
        lower_priority()
        while (key := self._asked.get()) is not None:
            self._finished.put(self._attempt(key))

    def _attempt(self, key: str) -> Attempt[Made]:
        try:
            return Attempt(key, self._make(key))
        except Exception as error:  # noqa: BLE001 - whatever it is: the models that judge must not suffer from it
            return Attempt(key, None, reason_of(key, error))


def lower_priority() -> None:
    """Lower this thread's priority; on Linux each thread has its own niceness."""
    thread = threading.get_native_id()
    try:
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
    except OSError as error:  # for example, a sandbox that forbids it
        log.warning("models are loaded at the priority of those that judge", reason=error.strerror)


def reason_of(key: str, error: Exception) -> str:
    """Return why a model cannot be used, in a sentence."""
    return str(error) if isinstance(error, MdssError) else f"model {key} cannot be used: {type(error).__name__}: {error}"


def give_back_memory() -> None:
    """Return freed memory to the system; without this, the space of a dropped model stays with the process."""
    if hasattr(LIBC, "malloc_trim"):  # only glibc has it
        LIBC.malloc_trim(0)
