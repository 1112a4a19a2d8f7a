"""A worker's outgoing messages: each link has its own queue, so that no link waits for another whose stage is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import zmq

from mdss.wire.heartbeat import Tally
from mdss.wire.messages import ColourTask, Message, ShapeTask, Task
from mdss.wire.sockets import Outlet

AWAY_AFTER_NS = 1_000_000_000  # a stage that has taken nothing for this long is away, not just behind
MOST_WAITING = 64  # messages that may wait for a stage that is away; a task has up to a megabyte
STAGES: dict[type[Message], str] = {ColourTask: "rgb", ShapeTask: "sdf"}  # the stage that a task is for


class PolledOutlet(Outlet, Protocol):
    """The sending end of a link that can be waited for."""

    @property
    def socket(self) -> Any:
        """The zmq socket, to poll whether it would take a message."""


@dataclass
class Queue:
    """The messages that wait for one link, usually none, and since when it has taken none."""

    outlet: PolledOutlet
    waiting: list[Message] = field(default_factory=list)
    since_ns: int = 0

    def put(self, message: Message, now_ns: int) -> None:
        """Send a message, or queue it; a task replaces a queued one for the same part."""
        if not self.waiting:
            if self.outlet.send(message):
                return
            self.since_ns = now_ns
        self.waiting = [*(each for each in self.waiting if not is_repeat(message, each)), message]

    def flush(self, now_ns: int) -> None:
        """Send what the link takes now."""
        while self.waiting and self.outlet.send(self.waiting[0]):
            del self.waiting[0]
            self.since_ns = now_ns

    def is_away(self, now_ns: int) -> bool:
        """Return whether the link's stage is away, not just behind."""
        return bool(self.waiting) and now_ns - self.since_ns >= AWAY_AFTER_NS

    def has_room(self, now_ns: int) -> bool:
        """Return whether more may be queued: a stage that is behind is waited for; one that is away is not, up to a limit."""
        return not self.waiting or (self.is_away(now_ns) and len(self.waiting) < MOST_WAITING)


class Outgoing:
    """One queue per link; a message's type decides which link it is sent on."""

    def __init__(
        self, outlets: Mapping[type[Message], PolledOutlet], tally: Tally, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._queues = {outlet: Queue(outlet) for outlet in outlets.values()}
        self._by_type = {kind: self._queues[outlet] for kind, outlet in outlets.items()}
        self._tally, self._clock_ns = tally, clock_ns

    def __bool__(self) -> bool:
        return any(queue.waiting for queue in self._queues.values())

    @property
    def is_stuck(self) -> bool:
        """Whether a next stage is away."""
        return any(queue.is_away(self._clock_ns()) for queue in self._queues.values())

    @property
    def has_room(self) -> bool:
        """Whether another message may be worked on."""
        return all(queue.has_room(self._clock_ns()) for queue in self._queues.values())

    def put(self, messages: Iterable[Message]) -> None:
        """Send messages, or queue them."""
        for message in messages:
            self._by_type[type(message)].put(message, self._clock_ns())

    def flush(self) -> None:
        """Send what the next stages take now, and drop tasks whose part is already late."""
        for queue in self._queues.values():
            queue.waiting = [message for message in queue.waiting if not self._skips(message)]
            queue.flush(self._clock_ns())

    def wait(self, timeout_ms: int) -> bool:
        """Wait until the link with the longest queue has room, then send what all links take; return False if it had no room in time."""
        longest = max(self._queues.values(), key=lambda queue: len(queue.waiting))
        had_room = bool(longest.outlet.socket.poll(timeout_ms, zmq.POLLOUT))
        self.flush()
        return had_room

    def _skips(self, message: Message) -> bool:
        if not isinstance(message, Task) or self._clock_ns() < message.deadline_ns:
            return False
        self._tally.count(f'mdss_tasks_skipped_total{{stage="{STAGES[type(message)]}"}}')
        return True


def is_repeat(task: Message, waiting: Message) -> bool:
    """Return whether a task repeats a queued one, because its part was sent a second time."""
    return isinstance(task, Task) and type(task) is type(waiting) and task.result_id == waiting.result_id
