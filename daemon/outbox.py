"""What ingest has accepted and the next stages have not taken yet; never waited for. How much that may be is admission's affair."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import zmq

from mdss.wire.messages import Accepted, Frame, Message

STUCK_AFTER_S = 3.0


class Outlet(Protocol):
    """The sending end of a link."""

    @property
    def socket(self) -> Any:
        """The zmq socket, to poll whether a message would be taken."""

    def send(self, message: Message) -> object:
        """Send one message."""


class Outbox:
    """Two queues: what was accepted goes to fusion before its frame goes to prepare."""

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
            self._frames.append(frame)

    def tell(self, messages: Iterable[Message]) -> None:
        """Take what fusion alone is told."""
        if not (self._to_fusion or self._frames):
            self._moved_s = self._clock()
        self._to_fusion.extend(messages)

    def remind(self, late: list[Accepted]) -> None:
        """Tell fusion once more of parts whose deadline is over, unless what it was told before still waits."""
        if not self._to_fusion:
            self.tell(late)

    def drop(self, result_id: str) -> None:
        """Forget the frame of a part that has its verdict already."""
        for frame in [frame for frame in self._frames if frame.result_id == result_id]:
            self._frames.remove(frame)

    def flush(self, fusion: Outlet, prepare: Outlet) -> None:
        """Send what the two stages take without waiting."""
        while self._to_fusion and fusion.socket.poll(0, zmq.POLLOUT):
            fusion.send(self._to_fusion.popleft())
            self._moved_s = self._clock()
        while self._frames and not self._to_fusion and prepare.socket.poll(0, zmq.POLLOUT):
            prepare.send(self._frames.popleft())
            self._moved_s = self._clock()
