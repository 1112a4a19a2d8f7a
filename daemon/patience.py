"""Questions to a disk that may never answer, as a network share may not: asked beside the loop, which has to go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from mdss.errors import MdssError

PATIENCE_S: Final = 2.0
Answer = TypeVar("Answer")


class Patience:
    """Asks one question after the other; while one has no answer, none is asked."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._asking: threading.Thread | None = None

    def ask(self, question: Callable[[], Answer], place: object) -> Answer:
        """Return what a question about a place comes to, or raise what it raises; MdssError where no answer came in time."""
        answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        if self._asking is None or not self._asking.is_alive():
            self._asking = _begun(lambda: answers.put(_outcome(question)), place)
            try:
                found, error = answers.get(timeout=self._patience_s)
            except Empty:
                pass
            else:
                if error is not None:
                    raise error
                return found  # type: ignore[no-any-return]  # the queue cannot say what came through it
        raise MdssError(f"{place}: the disk does not answer; expected it to within {self._patience_s:g} s")


def _begun(asking: Callable[[], None], place: object) -> threading.Thread:
    """Return a thread that asks; where the machine has none left, that is no answer, and no end of who asked."""
    thread = threading.Thread(target=asking, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise MdssError(f"{place}: cannot be asked ({error}); expected the machine to have one more thread") from error
    return thread


def _outcome(question: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return question(), None
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is for who asked
        return None, error
