"""Scans that ingest dropped on their way to collect, for the row of collect in the supervisor's report: collect never hears of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from daemon.collection_queue import DROPPED
from mdss.wire.messages import Heartbeat

WITHIN_S = 3600.0  # as long as the alert rule on them looks back


class DroppedScans:
    """Counts what was dropped within the last hour, across restarts of ingest."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._drops = deque[tuple[float, float]]()  # when, and how many

    def hear(self, heartbeat: Heartbeat, before: Heartbeat | None) -> None:
        """Take a process's heartbeat, and the one before it in the same life."""
        count = heartbeat.counters.get(DROPPED, 0.0) - (before.counters.get(DROPPED, 0.0) if before else 0.0)
        if count > 0:
            self._drops.append((self._clock(), count))
            self._forget()  # `reason` is not asked for while collect's row says something else

    @property
    def reason(self) -> str:
        """A sentence on what was dropped; empty if nothing was."""
        self._forget()
        if not self._drops:
            return ""
        count, ago_s = sum(each for _, each in self._drops), self._clock() - self._drops[-1][0]
        return f"scans dropped in the last hour: {count:g}, the last {ago_s:.0f} s ago; it was away, or slower than they came"

    def _forget(self) -> None:
        now_s = self._clock()
        while self._drops and now_s - self._drops[0][0] > WITHIN_S:
            self._drops.popleft()
