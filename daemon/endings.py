"""Tells fusion which processes ended unasked, and which part each had in hand, without ever waiting for fusion."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import structlog

from mdss.wire.messages import Ended
from mdss.wire.sockets import Outlet

MOST_SUSPECTS = 1000  # parts; the oldest are forgotten
MOST_WAITING = 64  # messages, beyond what zmq queues while fusion is away; the oldest are dropped, because their parts are late by then
log = structlog.get_logger()


class Endings:
    """Queues messages that fusion has no room for, up to a limit, and counts for each part which processes ended with it in hand."""

    def __init__(self, fusion: Outlet, in_hand: Callable[[str], str]) -> None:
        self._fusion, self._in_hand = fusion, in_hand
        self._waiting = deque[Ended](maxlen=MOST_WAITING)
        self._deaths: dict[str, tuple[str, ...]] = {}

    def forget(self, process: str) -> None:
        """Discard what an earlier run of the station left in a process's hand file: no process ended because of that part."""
        self._had_in_hand(process)

    def note(self, process: str, reason: str, *, is_last: bool = False) -> None:
        """Record that a process ended."""
        result_id = self._had_in_hand(process)
        deaths = self._count_death(result_id, process, reason)
        self._waiting.append(Ended(process=process, reason=reason, result_id=result_id, deaths=deaths, is_last=is_last))

    def _had_in_hand(self, process: str) -> str:
        """Return the part that a process had in hand when it ended; empty, blaming no part, if its file cannot be read or cleared."""
        try:
            return self._in_hand(process)
        except OSError as error:
            log.error("it is not known which part a process ended with", process=process, reason=str(error))
            return ""

    def _count_death(self, result_id: str, process: str, reason: str) -> tuple[str, ...]:
        if not result_id:
            return ()
        self._deaths[result_id] = (*self._deaths.pop(result_id, ()), f"{process} {reason}")
        if len(self._deaths) > MOST_SUSPECTS:
            del self._deaths[next(iter(self._deaths))]
        return self._deaths[result_id]

    def flush(self) -> None:
        """Send fusion what it takes without waiting."""
        while self._waiting and self._fusion.send(self._waiting[0]):
            self._waiting.popleft()
