"""What ingest has accepted and the next stages have not taken yet; never waited for. How much that may be is admission's affair."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from mdss.wire.messages import Accepted, Frame, Message

STUCK_AFTER_S = 3.0


class Outlet(Protocol):
    """The sending end of a link."""

    def send(self, message: Message) -> bool:
        """Send one message; False where there is no room for it now."""


class Outbox:
    """Two queues: what was accepted goes to fusion before its frame goes to prepare, the earliest deadline first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._to_fusion, self._frames = deque[Message](), deque[Frame]()
        self._clock, self._moved_s = clock, clock()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def trouble(self) -> str:
        """Say who has taken nothing for seconds; empty when all is well."""
        if not (self._to_fusion or self._frames) or self._clock() - self._moved_s < STUCK_AFTER_S:
            return ""
        return f"{'fusion' if self._to_fusion else 'prepare'} takes nothing, {len(self)} frames wait"

    def put(self, accepted: Accepted, frame: Frame) -> None:
        """Take one part; of one that waits already, only what the frame that waits does not bring."""
        self.tell([accepted])
        waiting = {branch for each in self._frames if each.result_id == frame.result_id for branch in each.wanted}
        if not waiting.issuperset(frame.wanted):
            later = (place for place, each in enumerate(self._frames) if each.deadline_ns > frame.deadline_ns)
            self._frames.insert(next(later, len(self._frames)), frame)

    def tell(self, messages: Iterable[Message]) -> None:
        """Take what fusion alone is told."""
        if not (self._to_fusion or self._frames):
            self._moved_s = self._clock()
        self._to_fusion.extend(messages)

    def remind(self, words: Sequence[Message]) -> None:
        """Tell fusion once more of parts whose time is over, unless what it was told before still waits."""
        if words and not self._to_fusion:
            self.tell(words)

    def drop(self, result_id: str) -> None:
        """Forget the frame of a part that has its verdict already."""
        self._frames = deque(frame for frame in self._frames if frame.result_id != result_id)

    def flush(self, fusion: Outlet, prepare: Outlet) -> None:
        """Send what the two stages take without waiting."""
        while self._to_fusion and fusion.send(self._to_fusion[0]):
            self._to_fusion.popleft()
            self._moved_s = self._clock()
        while self._frames and not self._to_fusion and prepare.send(self._frames[0]):
            self._frames.popleft()
            self._moved_s = self._clock()
