"""What a camera and a subscriber import: FrameSender and VerdictStream; neither needs torch, threads or the station's settings."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, get_args

import numpy as np
import zmq
from numpy.typing import NDArray

from mdss.errors import BadInput, MdssError
from mdss.wire import camera
from mdss.wire.camera import Ack, Credit, Done, Nack, Pong
from mdss.wire.cloud import Invalid
from mdss.wire.labels import FrameLabels, from_scan
from mdss.wire.outer_end import CurveKeys, connected, offered
from mdss.wire.verdict_stream import VerdictStream

__all__ = ["CurveKeys", "FrameLabels", "FrameSender", "Invalid", "OverflowPolicy", "VerdictStream"]
POLL_MS = 100
RETRY_S = 0.2  # before a frame refused for now (BUSY, DRAINING, NOT_READY) is offered again
SLOWEST_LINK = 1e6  # bytes per second; on a slower one a large frame would be taken for the silence of a dead connection
REMEMBERED = 10_000  # finished frames and their fate; the oldest are forgotten
ROOM = 4  # frames that may wait for their first credit where the sender does not wait itself, and of a recipe that is not ready
OverflowPolicy = Literal["wait", "drop_oldest", "drop_latest"]
Value = TypeVar("Value")


class FrameSender:
    """A camera's end of the wire: waits for credit, keeps every frame until its DONE, and says everything again after a restart.

    Use it from one thread. While no part comes, call `attend` now and then, so that heartbeats are answered.

    `overflow_policy` says what becomes of a frame for which there is no credit. `wait`: `send` waits for it. With the others it never
    waits: up to four frames do, and then the oldest that was never sent gives way (`drop_oldest`), or the new one is not taken
    (`drop_latest`). What was dropped stands in `dropped`; a frame that was sent once is never dropped. Once
    four frames of a recipe were answered NOT_READY, there is no credit for another of it until one of them is taken.

    `keys` are needed over tcp, and must be this source's own.
    """

    def __init__(
        self,
        endpoint: str,
        source_id: str,
        *,
        send_timeout_s: float | None = None,
        overflow_policy: OverflowPolicy = "wait",
        keys: CurveKeys | None = None,
    ) -> None:
        if overflow_policy not in get_args(OverflowPolicy):
            raise BadInput(f"overflow_policy: found {overflow_policy!r}, expected one of {', '.join(get_args(OverflowPolicy))}")
        self.endpoint, self.source_id, self.send_timeout_s = endpoint, source_id, send_timeout_s
        self.overflow_policy, self._keys = overflow_policy, keys
        self.acknowledged: dict[str, str] = {}  # frame_id -> result_id
        self.rejected: dict[str, Nack] = {}
        self.rejected_count = 0  # since it was made; `rejected` remembers the last ten thousand
        self.put_off: dict[str, Nack] = {}  # what the station cannot take yet, and why; under an empty name this camera itself
        self.done: dict[str, Done] = {}
        self.dropped: dict[str, str] = {}  # frame_id -> part_id of what never left this camera
        self.dropped_count = 0  # since it was made; `dropped` remembers the last ten thousand
        self._frames: dict[str, tuple[camera.FrameHeader, list[camera.Payload]]] = {}  # everything without DONE or final NACK, oldest first
        self._unsent: deque[str] = deque()
        self._never_sent: dict[str, str] = {}  # frame_id -> part_id, oldest first; what else is unsent must be sent again
        self._on_its_way: dict[str, int] = {}  # frame_id -> bytes that left by this connection and have no answer yet
        self._sequence, self._window, self._boot_id = 0, 0, ""
        self._heartbeat_s, self._liveness = 1.0, 3
        self._pause_until_s = self._ping_due_s = 0.0
        self._asked_s: float | None = None  # when the oldest unanswered question was put
        self._context: zmq.Context[Any] = zmq.Context()
        self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def outstanding(self) -> int:
        """How many frames have neither DONE nor a final NACK."""
        return len(self._frames)

    def send(self, rgb: NDArray[np.uint8], xyz: NDArray[np.float32], **labels: Unpack[FrameLabels]) -> str:
        """Send one scan (H, W, 3) and (H, W, 3) and return the frame's id; where there is no credit, as `overflow_policy` says."""
        header, message = from_scan(rgb, xyz, labels, self.source_id, self._sequence + 1)
        self._check_id(header)
        frame_id, self._sequence = header.frame_id, header.sequence
        if self.overflow_policy != "wait":
            self._attend_until(lambda: True, 0)  # may have made room
            if frame_id not in self._frames and not self._make_room(header):
                return frame_id
        self._take_in(header, message)
        is_sent = self._attend_until(lambda: frame_id not in self._never_sent, self.send_timeout_s if self.overflow_policy == "wait" else 0)
        if self.overflow_policy == "wait" and not is_sent:
            self._forget(frame_id)
            why = "".join(f"; the station said {nack.code}: {nack.reason}" for nack in list(self.put_off.values())[-1:])
            raise MdssError(f"{self.endpoint}: found no credit for frame {frame_id} within {self.send_timeout_s} s{why}")
        return frame_id

    def attend(self, timeout_s: float = 0.0) -> None:
        """Answer the station, and send what it has room for, for this long."""
        self._attend_until(lambda: False, timeout_s)

    def wait_until_done(self, timeout_s: float | None = None) -> bool:
        """Wait until every frame has its verdict or its refusal; False when time ran out first."""
        return self._attend_until(lambda: not self._frames, timeout_s)

    def close(self) -> None:
        """Say that no more frames will come, and close."""
        if not self._socket.closed:
            self._say(camera.Eos(source_id=self.source_id))
            self._socket.close(200)
            self._context.term()

    def _make_room(self, header: camera.FrameHeader) -> bool:
        """Drop a frame that was never sent, by name, where too many wait for what the new one waits for; False when it is the new one."""
        is_ready = self._is_ready(header.recipe_id)
        alike = [name for name in self._never_sent if self._is_ready(self._frames[name][0].recipe_id) == is_ready]
        if len(alike) < ROOM:
            return True
        is_oldest = self.overflow_policy == "drop_oldest"
        name = alike[0] if is_oldest else header.frame_id
        _remember(self.dropped, name, self._never_sent[name] if is_oldest else header.part_id)
        self.dropped_count += 1
        if is_oldest:
            self._forget(name)
        return is_oldest

    def _check_id(self, header: camera.FrameHeader) -> None:
        """Refuse the id of an outstanding frame to another part: it would take its place, and the first would never be sent."""
        first, _ = self._frames.get(header.frame_id, (header, None))
        if (first.part_id, first.recipe_id) != (header.part_id, header.recipe_id):
            found = f"found {header.frame_id}, which part {first.part_id} of recipe {first.recipe_id} has until it is done"
            raise BadInput(f"frame_id: {found}; expected another id for part {header.part_id} of recipe {header.recipe_id}")

    def _take_in(self, header: camera.FrameHeader, message: list[camera.Payload]) -> None:
        if header.frame_id not in self._frames:
            self._never_sent[header.frame_id] = header.part_id
        self._frames[header.frame_id] = header, message
        if header.frame_id not in self._unsent:
            self._unsent.append(header.frame_id)

    def _connect(self) -> None:
        self._socket = connected(self._context, zmq.DEALER, self.endpoint, self._keys)
        self._hello()

    def _hello(self) -> None:
        """Introduce this camera; whatever has no DONE goes out again once credit comes."""
        self._window, self._unsent, self._on_its_way = 0, deque(self._frames), {}
        self._say(camera.Hello(source_id=self.source_id))
        self._ping_due_s = time.monotonic() + self._heartbeat_s
        self._asked_s = self._asked_s or time.monotonic()

    def _say(self, message: camera.Header) -> None:
        offered(self._socket, camera.compose(message))  # what is not said now, is said again by the next connection

    def _attend_until(self, is_reached: Callable[[], bool], timeout_s: float | None) -> bool:
        """Serve the connection until something is reached or time is up."""
        end_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._receive_all()
            self._transmit()
            self._beat()
            if is_reached():
                return True
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return False
            self._socket.poll(int(min(POLL_MS, left_s * 1000 + 1)), zmq.POLLIN)

    def _receive_all(self) -> None:
        while self._socket.poll(0, zmq.POLLIN):
            self._asked_s = None
            self._take(camera.parse(self._socket.recv_multipart()))

    def _take(self, message: camera.CameraMessage) -> None:
        if isinstance(message, Ack | Done | Nack):
            self._on_its_way.pop(message.frame_id, None)
        match message:
            case Credit():
                self._boot_id, self._window = message.boot_id, message.credit
                self._heartbeat_s, self._liveness = message.heartbeat_ms / 1000, message.liveness
                self.put_off.pop("", None)
            case Pong() if not message.is_known or message.boot_id != self._boot_id:
                self._hello()
            case Ack():
                _remember(self.acknowledged, message.frame_id, message.result_id)
                self.put_off.pop(message.frame_id, None)
            case Done():
                _remember(self.done, message.frame_id, message)
                self._forget(message.frame_id)
            case Nack():
                self._refused(message)

    def _refused(self, nack: Nack) -> None:
        if not nack.frame_id and nack.code not in camera.PASSING_CODES:
            raise MdssError(f"{self.endpoint} refused {self.source_id}: {nack.code}: {nack.reason}")
        if nack.code not in camera.PASSING_CODES:
            self.rejected_count += nack.frame_id in self._frames  # a second refusal of the same is no other frame
            _remember(self.rejected, nack.frame_id, nack)
            self._forget(nack.frame_id)
            return
        self._pause_until_s = time.monotonic() + RETRY_S
        if not nack.frame_id or nack.frame_id in self._frames:
            self.put_off[nack.frame_id] = nack
        if nack.code == "NOT_READY":  # its recipe is being loaded: those of others need not wait for that
            if nack.frame_id in self._frames and nack.frame_id not in self._unsent:
                self._unsent.append(nack.frame_id)
            return
        waiting = {*self._unsent, nack.frame_id}
        self._unsent = deque(name for name in self._frames if name in waiting)  # oldest first, in whatever order they were refused

    def _forget(self, frame_id: str) -> None:
        self._frames.pop(frame_id, None)
        self.put_off.pop(frame_id, None)
        self._never_sent.pop(frame_id, None)
        if frame_id in self._unsent:
            self._unsent.remove(frame_id)

    def _transmit(self) -> None:
        while len(self._frames) - len(self._unsent) < self._window and time.monotonic() >= self._pause_until_s:
            frame_id = next(filter(self._may_leave, self._unsent), None)
            if frame_id is None or not offered(self._socket, message := self._frames[frame_id][1]):
                return
            self._on_its_way[frame_id] = sum(map(len, message))
            self._unsent.remove(frame_id)
            self._never_sent.pop(frame_id, None)

    def _may_leave(self, frame_id: str) -> bool:
        """Return False for a new frame of a recipe that is not ready: it would be put off as well, and never be dropped."""
        return frame_id not in self._never_sent or self._is_ready(self._frames[frame_id][0].recipe_id)

    def _is_ready(self, recipe_id: str) -> bool:
        """Return whether fewer than a few frames of a recipe have found that the station is not ready for it.

        One that was acknowledged does not count: after a restart of the station it may be what is known of it that keeps it back.
        """
        not_ready = [name for name, nack in self.put_off.items() if name and nack.code == "NOT_READY" and name not in self.acknowledged]
        return [self._frames[name][0].recipe_id for name in not_ready].count(recipe_id) < ROOM

    def _beat(self) -> None:
        now_s = time.monotonic()
        patience_s = self._heartbeat_s * self._liveness + sum(self._on_its_way.values()) / SLOWEST_LINK
        if self._asked_s is not None and now_s - self._asked_s > patience_s:
            self._asked_s = None
            self._socket.close(0)
            self._connect()
        elif now_s >= self._ping_due_s:
            self._say(camera.Ping(source_id=self.source_id))
            self._ping_due_s = now_s + self._heartbeat_s
            self._asked_s = self._asked_s or now_s


def _remember(book: dict[str, Value], key: str, value: Value) -> None:
    book[key] = value
    if len(book) > REMEMBERED:
        del book[next(iter(book))]
