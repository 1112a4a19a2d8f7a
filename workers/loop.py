"""The loop shared by all workers: receive, step, send, heartbeat once a second; at a stop it finishes what waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from mdss.errors import MdssError
from mdss.wire.heartbeat import HeartbeatSender, StopFlag
from mdss.wire.messages import Message
from workers.outgoing import Outgoing, PolledOutlet

WAIT_MS = 50
SOON_MS = 5  # while messages wait for a next stage
log = structlog.get_logger()


class Worker(Protocol):
    """What a worker module provides: no sockets, messages in and messages out.

    A worker that derives from it has nothing due by time alone, and nothing left at the end.
    """

    def step(self, message: Message) -> Iterable[Message]:
        """Return the messages that follow from one message."""

    def tick(self) -> Iterable[Message]:
        """Return the messages that are due by time alone; called at least twenty times a second."""
        return ()

    def drain(self) -> Iterable[Message]:
        """Return the last messages before the process ends."""
        return ()


class Inbox(Protocol):
    """The receiving end of a link."""

    @property
    def waiting(self) -> int:
        """How many messages wait, as far as the link can tell."""

    def receive(self, timeout_ms: int) -> Message | None:
        """Return the next message, None if none came in time."""


class Loop:
    """Runs one worker until it is asked to stop; a message's type decides which link it is sent on."""

    def __init__(
        self, worker: Worker, inbox: Inbox, outlets: Mapping[type[Message], PolledOutlet], heartbeats: HeartbeatSender, stop: StopFlag
    ) -> None:
        self._worker, self._inbox, self._heartbeats, self._stop = worker, inbox, heartbeats, stop
        self._outgoing, self._is_stuck = Outgoing(outlets, heartbeats.tally), False
        self._refused = f'mdss_messages_refused_total{{process="{heartbeats.process}"}}'
        heartbeats.tally.start(self._refused)

    def run(self, between: Callable[[], None] = lambda: None) -> None:
        """Work until asked to stop, calling `between` before every message; then finish what waits."""
        self._heartbeats.report_state("running")
        while not self._stop.asked:
            between()
            self._turn()
            self._say_whether_stuck()
        self._heartbeats.report_state("draining")
        while self._turn() or self._inbox.waiting:
            pass
        self._outgoing.put(self._worker.drain())
        while self._outgoing and self._outgoing.wait(WAIT_MS):
            pass
        self._heartbeats.report_state("stopped")

    def _turn(self) -> bool:
        message = self._receive()
        if message is not None:
            self._handle(message)
            self._heartbeats.steps += 1
        self._outgoing.put(self._worker.tick())
        self._heartbeats.send_if_due(self._inbox.waiting if self._outgoing.has_room else 0)  # waiting for a next stage is no stall
        return message is not None

    def _receive(self) -> Message | None:
        """Return the next message, if there is one and its results would find room; while stopping, room is not waited for."""
        if not self._outgoing.has_room and not self._stop.asked:
            self._outgoing.wait(WAIT_MS)
            return None
        if self._outgoing:
            self._outgoing.flush()
        try:
            return self._inbox.receive(SOON_MS if self._outgoing else WAIT_MS)
        except MdssError as error:
            log.error("message refused", reason=str(error))
            self._heartbeats.tally.count(self._refused)
            return None

    def _handle(self, message: Message) -> None:
        try:
            self._outgoing.put(self._worker.step(message))
        except Exception as error:  # the supervisor hears of it and tells fusion, which has the part tried once more
            self._heartbeats.report_state("stopped", f"broke on a message: {type(error).__name__}: {error}")
            raise

    def _say_whether_stuck(self) -> None:
        """Report when a next stage goes away or comes back; one that is merely behind is not reported: on a busy line that is usual."""
        if self._outgoing.is_stuck != self._is_stuck:
            self._is_stuck = not self._is_stuck
            self._heartbeats.report_state(*(("degraded", "the next stage takes nothing") if self._is_stuck else ("running", "")))
