"""Asks a disk that may never answer, such as a network share, in a separate thread, so that the calling loop goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Final, TypeVar

from mdss.errors import MdssError

PATIENCE_S: Final = 2.0
Answer = TypeVar("Answer")


class TimedQuestions:
    """Asks one question at a time; while one is unanswered, no other is asked."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._asked: Future[Any] | None = None

    def ask(self, question: Callable[[], Answer], place: object) -> Answer:
        """Return the answer to a question about a place, or raise what the question raised; MdssError if no answer came in time."""
        if self._asked is None or self._asked.done():  # its thread may need a moment longer to end
            answer: Future[Answer] = Future()
            _start_thread(lambda: _answer(question, answer), place)
            self._asked = answer
            if wait([answer], self._patience_s).done:
                return answer.result()
        raise MdssError(f"{place}: the disk does not answer; expected it to within {self._patience_s:g} s")


def _start_thread(asking: Callable[[], None], place: object) -> None:
    """Start the thread; if the machine has no thread left, raise MdssError instead of ending the caller."""
    try:
        threading.Thread(target=asking, daemon=True).start()
    except RuntimeError as error:
        raise MdssError(f"{place}: cannot be asked ({error}); expected the machine to have one more thread") from error


def _answer(question: Callable[[], Answer], answer: Future[Answer]) -> None:
    try:
        answer.set_result(question())
    except BaseException as error:  # noqa: BLE001 - whatever it is, the caller gets it
        answer.set_exception(error)
