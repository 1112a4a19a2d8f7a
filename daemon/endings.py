"""Which processes ended unasked, told to fusion without ever waiting for it: the supervisor has others to look after."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

import zmq

from mdss.wire.messages import Ended, Message

MOST_WAITING = 64  # beyond what zmq takes for a fusion that is away; the oldest go, their parts are late by then


class Outlet(Protocol):
    """The sending end of the link to fusion."""

    @property
    def socket(self) -> Any:
        """The zmq socket, to poll whether a message would be taken."""

    def send(self, message: Message) -> object:
        """Send one message."""


class Endings:
    """Keeps what fusion has no room for, up to a limit."""

    def __init__(self, fusion: Outlet) -> None:
        self._fusion = fusion
        self._waiting = deque[Ended](maxlen=MOST_WAITING)

    def note(self, process: str, reason: str) -> None:
        """Take one ending."""
        self._waiting.append(Ended(process=process, reason=reason))

    def flush(self) -> None:
        """Send what fusion takes at once."""
        while self._waiting and self._fusion.socket.poll(0, zmq.POLLOUT):
            self._fusion.send(self._waiting.popleft())
