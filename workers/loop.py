"""The one loop of every worker: receive, step, send; say once a second that it lives; finish what waits when asked to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import structlog
import zmq

from mdss.errors import MdssError
from mdss.wire.messages import Message
from mdss.wire.pulse import Pulse, StopFlag

WAIT_MS = 50
log = structlog.get_logger()


class Worker(Protocol):
    """What a worker module gives to the loop: no sockets, messages in and messages out."""

    def step(self, message: Message) -> Iterable[Message]:
        """Return what follows from one message."""

    def tick(self) -> Iterable[Message]:
        """Return what follows from time alone; called at least twenty times a second."""

    def drain(self) -> Iterable[Message]:
        """Return the last messages before the process ends."""


class Inbox(Protocol):
    """The receiving end of a link."""

    @property
    def waiting(self) -> int:
        """How many messages wait, as far as the link can tell."""

    def receive(self, timeout_ms: int) -> Message | None:
        """Return the next message, or None when none came in time."""


class Outlet(Protocol):
    """The sending end of a link."""

    @property
    def socket(self) -> Any:
        """The zmq socket, to poll whether a message would be taken."""

    def send(self, message: Message) -> bool:
        """Send one message; False where there is no room for it now."""


class Loop:
    """Runs one worker until it is asked to stop; a message's type decides which link it leaves by."""

    def __init__(self, worker: Worker, inbox: Inbox, outlets: Mapping[type[Message], Outlet], pulse: Pulse, stop: StopFlag) -> None:
        self._worker, self._inbox, self._outlets, self._pulse, self._stop = worker, inbox, outlets, pulse, stop

    def run(self, between: Callable[[], None] = lambda: None) -> None:
        """Work until asked to stop, calling `between` before every message; then finish what is waiting."""
        self._pulse.say("running")
        while not self._stop.asked:
            between()
            self._turn()
        self._pulse.say("draining")
        while self._turn():
            pass
        self._send(self._worker.drain())
        self._pulse.say("stopped")

    def _turn(self) -> bool:
        message = self._receive()
        if message is not None:
            self._handle(message)
            self._pulse.steps += 1
        self._send(self._worker.tick())
        self._pulse.beat_if_due(self._inbox.waiting)
        return message is not None

    def _receive(self) -> Message | None:
        try:
            return self._inbox.receive(WAIT_MS)
        except MdssError as error:
            log.error("message refused", reason=str(error))
            self._pulse.tally.count(f'mdss_messages_refused_total{{process="{self._pulse.process}"}}')
            return None

    def _handle(self, message: Message) -> None:
        try:
            self._send(self._worker.step(message))
        except Exception as error:  # the supervisor hears of it, and fusion from there; the part is tried once more
            self._pulse.say("stopped", f"broke on a message: {type(error).__name__}: {error}")
            raise

    def _send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            outlet = self._outlets[type(message)]
            if not outlet.send(message) and not self._sent_later(outlet, message):
                return

    def _sent_later(self, outlet: Outlet, message: Message) -> bool:
        """Wait while the next stage is away or behind, without falling silent; False when asked to stop meanwhile."""
        while not (outlet.socket.poll(WAIT_MS, zmq.POLLOUT) and outlet.send(message)):
            self._pulse.say("degraded", "the next stage takes nothing")
            if self._stop.asked:
                return False
        self._pulse.say("running")
        return True
