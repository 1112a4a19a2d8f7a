"""Accepted frames and messages that fusion and prepare have not taken yet; ingest never waits for them, and admission limits how many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from mdss.wire.messages import Accepted, Frame, Message
from mdss.wire.sockets import Outlet

STUCK_AFTER_S = 3.0


class Outbox:
    """Two queues: a part is announced to fusion before its frame goes to prepare; frames with the earliest deadline go first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._to_fusion, self._frames = deque[Message](), deque[Frame]()
        self._clock = clock
        self._fusion_since_s = self._prepare_since_s = clock()  # since when each stage has had something to take and taken nothing

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def trouble(self) -> str:
        """Name the stage that has taken nothing for seconds; empty if all is well."""
        stages = (("fusion", self._to_fusion, self._fusion_since_s), ("prepare", self._frames, self._prepare_since_s))
        for stage, waiting, since_s in stages:
            if waiting and self._clock() - since_s >= STUCK_AFTER_S:
                return f"{stage} takes nothing, {len(self)} frames wait"
        return ""

    def put(self, accepted: Accepted, frame: Frame) -> None:
        """Queue one part; its frame is left out if a waiting frame of the part already covers the wanted branches."""
        self.tell([accepted])
        waiting = {branch for each in self._frames if each.result_id == frame.result_id for branch in each.wanted}
        if not self._frames:
            self._prepare_since_s = self._clock()
        if not waiting.issuperset(frame.wanted):
            later = (place for place, each in enumerate(self._frames) if each.deadline_ns > frame.deadline_ns)
            self._frames.insert(next(later, len(self._frames)), frame)

    def tell(self, messages: Iterable[Message]) -> None:
        """Queue messages that only fusion gets."""
        if not self._to_fusion:
            self._fusion_since_s = self._clock()
        self._to_fusion.extend(messages)

    def remind(self, words: Sequence[Message]) -> None:
        """Tell fusion again about overdue parts, unless earlier messages to it are still waiting."""
        if words and not self._to_fusion:
            self.tell(words)

    def drop(self, result_id: str) -> None:
        """Drop the waiting frame of a part that has its verdict already."""
        self._frames = deque(frame for frame in self._frames if frame.result_id != result_id)

    def flush(self, fusion: Outlet, prepare: Outlet) -> None:
        """Send what the two stages take without waiting."""
        while self._to_fusion and fusion.send(self._to_fusion[0]):
            self._to_fusion.popleft()
            self._fusion_since_s = self._clock()
        if self._to_fusion:  # until it has taken them, prepare is offered nothing
            self._prepare_since_s = self._clock()
        while self._frames and not self._to_fusion and prepare.send(self._frames[0]):
            self._frames.popleft()
            self._prepare_since_s = self._clock()
