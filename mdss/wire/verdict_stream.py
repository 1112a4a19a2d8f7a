"""A subscriber's connection to a station: every verdict once, in order, across restarts and lost messages."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import zmq

from mdss.errors import UNREADABLE, MdssError
from mdss.wire.client_socket import ClosedIfInterrupted, CurveKeys, connect, try_send
from mdss.wire.snapshot import MOST_VERDICTS, SnapshotReply, SnapshotRequest, read_reply
from mdss.wire.verdict import Beat, Verdict

# seconds to wait for an answer of the snapshot port; without one, the next wait is doubled and half as many verdicts are asked for
ASK_AGAIN_S, LONGEST_PATIENCE_S = 1.0, 8.0
# five heartbeats; ZeroMQ itself neither notices a machine that lost power nor reconnects after its key was refused
SILENT_S = 5.0
Published = TypeVar("Published", Beat, Verdict)


class VerdictStream:
    """Verdicts in order, each once: live ones from the publisher, missed ones from the snapshot port.

    `since` is the last sequence already known; None starts with the next verdict after the stream is created. If the station begins a new
    journal, its verdicts show it, and all of that journal is fetched; `new_journals` counts how often. `topics` are prefixes such as
    "verdict/station-1/camera-1/NotOK". `beats` is the last heartbeat, with the station's boot id and last sequence. `keys` are needed over
    tcp.
    """

    def __init__(
        self,
        endpoint: str,
        snapshot_endpoint: str,
        *,
        topics: tuple[str, ...] = ("verdict/",),
        since: int | None = None,
        keys: CurveKeys | None = None,
    ) -> None:
        self.endpoint, self.snapshot_endpoint, self.topics, self._known = endpoint, snapshot_endpoint, topics, since
        self.beats: Beat | None = None
        self.new_journals = 0
        self._boot_id, self._result_id = "", ""  # of the last answer, and of the verdict `_known`
        self._answered_sequence = 0  # the station's last, at its last answer: what is still missing up to it, it does not have
        self._keys = keys
        self._is_behind = True  # until the snapshot port's first answer
        self._ready: deque[Verdict] = deque()
        self._patience_s = ASK_AGAIN_S
        self._context: zmq.Context[Any] = zmq.Context()
        self._heard_s = time.monotonic()
        self._socket = self._subscribed()
        self._question = self._ask()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Verdict]:
        while True:
            verdict = self.receive(1.0)
            if verdict is not None:
                yield verdict

    @property
    def last_sequence(self) -> int | None:
        """The sequence up to which `receive` has returned everything: what a program keeps for the `since` of its next stream.

        None before the station's first answer, if no `since` was given.
        """
        return self._ready[0].sequence - 1 if self._ready else self._known

    def receive(self, timeout_s: float) -> Verdict | None:
        """Return the next verdict, None if none came in time."""
        end_s = time.monotonic() + timeout_s
        while not self._ready:
            left_s = end_s - time.monotonic()
            if not self._advance(max(0.0, left_s)) and left_s <= 0:
                return None
        if self._ready[0].sequence > (self._known or 0):  # Ctrl-C came as it was delivered
            self._know(self._ready[0])
        return self._ready.popleft()

    def _advance(self, timeout_s: float) -> bool:
        """Take one message from the publisher or the snapshot port; return False if none came in time."""
        if self._is_behind:
            return self._catch_up(timeout_s)
        if self._socket.closed:
            self._socket = self._subscribed()  # the first heartbeat will reveal what is missed meanwhile
        if not self._socket.poll(int(min(timeout_s, SILENT_S) * 1000), zmq.POLLIN):
            if time.monotonic() - self._heard_s > SILENT_S:
                self._socket.close(0)
            return False
        self._heard_s = time.monotonic()
        with ClosedIfInterrupted(self._socket):
            self._take(*self._socket.recv_multipart())
        return True

    def close(self) -> None:
        """Close at once."""
        self._context.destroy(linger=0)

    def _take(self, topic: bytes, payload: bytes = b"", *_: bytes) -> None:
        known = self._known or 0  # None is only before the first answer
        if topic.startswith(b"heartbeat/"):
            self.beats = self._read(payload, Beat)
            self._is_behind = self._is_of_another_boot(self.beats) or self.beats.sequence > max(known, self._answered_sequence)
            return
        verdict = self._read(payload, Verdict)
        if self._is_of_another_boot(verdict):
            self._is_behind = True
        elif verdict.sequence == known + 1:
            self._deliver(verdict)
        elif verdict.sequence > known:
            self._is_behind = True  # the snapshot includes this one, because a verdict is journaled before it is published

    def _read(self, payload: bytes, kind: type[Published]) -> Published:
        try:
            return msgspec.json.decode(payload, type=kind)
        except UNREADABLE as error:
            expected = f"expected a {kind.__name__} of a station, of this release or an earlier one"
            raise MdssError(f"{self.endpoint}: found a message that cannot be read ({error}), {expected}") from error

    def _is_of_another_boot(self, message: Beat | Verdict) -> bool:
        """Return whether a message comes from another boot than the snapshot port's last answer: the journal may be another one, too."""
        return message.boot_id != self._boot_id

    def _deliver(self, verdict: Verdict) -> None:
        topic = f"verdict/{verdict.station}/{verdict.source_id}/{verdict.evaluation}"
        if topic.startswith(self.topics):
            self._ready.append(verdict)
        self._know(verdict)  # last: what is known and not ready would never be received

    def _know(self, verdict: Verdict) -> None:
        self._known, self._result_id = verdict.sequence, verdict.result_id

    def _catch_up(self, timeout_s: float) -> bool:
        """Fetch missed verdicts from the snapshot port; return False if no answer came in time (the question is repeated)."""
        if self._question.closed:
            self._question = self._ask()
        if not self._question.poll(int(min(timeout_s, ASK_AGAIN_S) * 1000), zmq.POLLIN):
            if time.monotonic() - self._asked_s >= self._patience_s:
                self._question.close(0)
                self._patience_s = min(2 * self._patience_s, LONGEST_PATIENCE_S)
            return False
        if time.monotonic() - self._asked_s < ASK_AGAIN_S:
            self._patience_s = ASK_AGAIN_S
        with self._question as socket:
            self._take_reply(read_reply(socket.recv_multipart()[-1]))
        return True

    def _take_reply(self, reply: SnapshotReply) -> None:
        """Deliver what an answer holds, or find out where to begin."""
        self._boot_id = reply.boot_id
        if self._known is None:
            self._known = reply.last_sequence
            return  # the next question is about this sequence, to learn which verdict has it
        is_other = bool(self._result_id) and reply.since_result_id not in ("", self._result_id)
        if is_other or reply.last_sequence < self._known:  # the station began a new journal, or an older one: start again at 0
            self._known, self._result_id = 0, ""
            self.new_journals += 1
            return
        self._result_id = self._result_id or reply.since_result_id
        for verdict in reply.verdicts:
            if verdict.sequence > self._known:
                self._deliver(verdict)
        self._answered_sequence = reply.last_sequence
        self._is_behind = self._known < reply.last_sequence and bool(reply.verdicts)

    def _subscribed(self) -> zmq.Socket[bytes]:
        """Subscribe to all verdicts, whatever topics are wanted: otherwise gaps would go unnoticed."""
        socket, self._heard_s = connect(self._context, zmq.SUB, self.endpoint, self._keys), time.monotonic()
        for topic in (b"verdict/", b"heartbeat/"):
            socket.subscribe(topic)
        return socket

    def _ask(self) -> zmq.Socket[bytes]:
        """Ask for the verdicts after the last known one, or for the last sequence if none is known.

        If the question cannot be sent, because the station refused this connection, no answer comes either, and it is asked again.
        """
        known, self._asked_s = self._known, time.monotonic()
        socket = connect(self._context, zmq.DEALER, self.snapshot_endpoint, self._keys)
        limit = int(MOST_VERDICTS * ASK_AGAIN_S / self._patience_s)
        request = SnapshotRequest(since=0, limit=0) if known is None else SnapshotRequest(since=known, limit=limit)
        try_send(socket, [msgspec.json.encode(request)])
        return socket
