"""What ingest has accepted and the next stages have not taken yet: bounded, and never waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import zmq

from mdss.wire.messages import Accepted, Frame, Message

MOST_BYTES = 512 * 1024 * 1024
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
        self._clock, self._moved_s, self._bytes = clock, clock(), 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def is_full(self) -> bool:
        """Whether the waiting frames fill what memory they may."""
        return self._bytes >= MOST_BYTES

    @property
    def trouble(self) -> str:
        """Say who has taken nothing for seconds; empty when all is well."""
        if not (self._to_fusion or self._frames) or self._clock() - self._moved_s < STUCK_AFTER_S:
            return ""
        return f"{'fusion' if self._to_fusion else 'prepare'} takes nothing, {len(self)} frames wait"

    def put(self, accepted: Accepted, frame: Frame) -> None:
        """Take one part."""
        self.tell([accepted])
        self._frames.append(frame)
        self._bytes += size(frame)

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
            self._bytes -= size(frame)

    def flush(self, fusion: Outlet, prepare: Outlet) -> None:
        """Send what the two stages take without waiting."""
        while self._to_fusion and fusion.socket.poll(0, zmq.POLLOUT):
            fusion.send(self._to_fusion.popleft())
            self._moved_s = self._clock()
        while self._frames and not self._to_fusion and prepare.socket.poll(0, zmq.POLLOUT):
            frame = self._frames.popleft()
            self._bytes -= size(frame)
            prepare.send(frame)
            self._moved_s = self._clock()


def size(frame: Frame) -> int:
    """Return the bytes of a frame's arrays."""
    return frame.rgb.nbytes + frame.xyz.nbytes
