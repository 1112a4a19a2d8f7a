"""The library for cameras and subscribers: FrameSender and VerdictStream; needs no torch, no threads and no settings of the station."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, get_args

import numpy as np
import zmq
from numpy.typing import NDArray

from mdss.errors import BadInput, MdssError
from mdss.wire import camera
from mdss.wire.camera import Ack, Credit, Done, Nack, Pong
from mdss.wire.client_socket import ClosedIfInterrupted, CurveKeys, connect, try_send
from mdss.wire.cloud import Invalid
from mdss.wire.headers import PASSING_CODES
from mdss.wire.labels import FrameLabels, from_scan
from mdss.wire.outstanding_frames import OutstandingFrame, OutstandingFrames
from mdss.wire.verdict_stream import VerdictStream

__all__ = ["CurveKeys", "FrameLabels", "FrameSender", "Invalid", "OverflowPolicy", "VerdictStream"]
POLL_MS = 100
RETRY_S = 0.2  # seconds before a frame refused for now (BUSY, DRAINING, NOT_READY) is offered again
SLOWEST_LINK = 1e6  # bytes per second; on a slower link, sending a large frame would look like the silence of a dead connection
MOST_REMEMBERED = 10_000  # finished frames and their outcome; the oldest are forgotten
OverflowPolicy = Literal["wait", "drop_oldest", "drop_latest"]
Value = TypeVar("Value")


class FrameSender:
    """A camera's connection to a station: waits for credit, keeps every frame until its DONE, and sends frames again after a restart.

    Use it from one thread. Between parts, call `attend` now and then, so that heartbeats are answered. After Ctrl-C it may be used further.

    `overflow_policy` decides what happens to a frame without credit. With `wait`, `send` waits for credit. Otherwise `send` never waits: up
    to four frames do, and after that either the oldest frame that was never sent is dropped (`drop_oldest`), or the new one is not taken
    (`drop_latest`). `dropped` lists dropped frames; a frame that was sent once is never dropped. Once four frames of a recipe were answered
    NOT_READY, no further frame of that recipe is sent until one of them is accepted.

    `keys` are needed over tcp, and must belong to this source.
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
        self.rejected_count = 0  # in all; `rejected` holds only the last ten thousand
        self.done: dict[str, Done] = {}
        self.dropped: dict[str, str] = {}  # frame_id -> part_id of frames that were never sent
        self.dropped_count = 0  # in all; `dropped` holds only the last ten thousand
        self._frames = OutstandingFrames(self.acknowledged)
        self.put_off = self._frames.put_off  # frames that the station cannot take yet, and why; under an empty name: this camera itself
        self._sequence, self._window, self._boot_id, self._is_answered, self._was_answered = 0, 0, "", False, False
        self._has_ended = False
        self._heartbeat_s, self._liveness = 1.0, 3
        self._pause_until_s = self._ping_due_s = 0.0
        self._asked_s: float | None = None  # when the oldest unanswered message was sent
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

    @property
    def is_answered(self) -> bool:
        """Whether a station has answered since this camera introduced itself last."""
        return self._is_answered

    def send(self, rgb: NDArray[np.uint8], xyz: NDArray[np.float32], **labels: Unpack[FrameLabels]) -> str:
        """Send one scan, rgb (H, W, 3) and xyz (H, W, 3), and return the frame's id; without credit, `overflow_policy` applies.

        A scan for which it raises is not kept, unless it may have left: before, under the same id, or just as Ctrl-C was pressed.
        """
        header, message = from_scan(rgb, xyz, labels, self.source_id, self._sequence + 1)
        self._frames.check_id(header)
        frame_id, self._sequence = header.frame_id, header.sequence
        if self.overflow_policy != "wait":
            self._attend_until(lambda: True, 0)  # answers that have arrived may make room
            if frame_id not in self._frames and not self._make_room(header):
                return frame_id
        try:
            self._offer(self._frames.add(header, message))
        except BaseException:
            self._frames.forget_unsent(frame_id)  # the caller is told that it failed, or presses Ctrl-C, and may send the scan anew
            raise
        return frame_id

    def attend(self, timeout_s: float = 0.0) -> None:
        """Answer the station and send frames that it has room for, for this many seconds."""
        self._attend_until(lambda: False, timeout_s)

    def wait_until_done(self, timeout_s: float | None = None) -> bool:
        """Wait until every frame has its verdict or its refusal; return False if time ran out first."""
        return self._attend_until(lambda: not self._frames, timeout_s)

    def close(self) -> None:
        """Tell the station that no more frames will come, and close."""
        if not self._has_ended:
            self._connect_if_interrupted()
            self._send_message(camera.Eos(source_id=self.source_id))
            self._has_ended = True
            self._context.destroy(200)

    def _make_room(self, header: camera.FrameHeader) -> bool:
        """Make room for a new frame if too many wait for the same reason; return False if the new frame itself is dropped."""
        crowd = self._frames.crowd(header.recipe_id)
        if not crowd:
            return True
        is_oldest = self.overflow_policy == "drop_oldest"
        dropped, count = crowd[0] if is_oldest else header, self.dropped_count + 1
        try:
            self._drop(dropped, count)
        except BaseException:
            self._drop(dropped, count)  # all of it, at whatever line Ctrl-C was pressed
            raise
        return is_oldest

    def _drop(self, header: camera.FrameHeader, count: int) -> None:
        self._frames.forget(header.frame_id)
        _remember(self.dropped, header.frame_id, header.part_id)
        self.dropped_count = count

    def _offer(self, frame: OutstandingFrame) -> None:
        """Let a frame leave; with `wait`, wait until there is credit for it, and raise MdssError if there is none in time."""
        frame_id, is_waited_for = frame.header.frame_id, self.overflow_policy == "wait"
        timeout_s = self.send_timeout_s if is_waited_for else 0
        self._was_answered = False  # from here on, over whatever connection
        is_sent = self._attend_until(lambda: frame.was_sent or frame_id not in self._frames, timeout_s)
        if is_waited_for and not is_sent:
            why = "".join(f"; the station said {nack.code}: {nack.reason}" for nack in list(self.put_off.values())[-1:])
            if not (self._was_answered or self._is_answered):  # a short wait may end before the next PING of a live connection
                raise MdssError(f"{self.endpoint}: no station answered within {timeout_s} s; frame {frame_id} cannot be sent{why}")
            raise MdssError(f"{self.endpoint}: found no credit for frame {frame_id} within {timeout_s} s{why}")

    def _connect(self) -> None:
        self._socket = connect(self._context, zmq.DEALER, self.endpoint, self._keys)
        self._hello()

    def _connect_if_interrupted(self) -> None:
        if self._socket.closed:
            self._connect()

    def _hello(self) -> None:
        """Introduce this camera; every frame without DONE is sent again once there is credit."""
        self._window, self._is_answered = 0, False
        self._frames.let_all_leave_again()
        self._send_message(camera.Hello(source_id=self.source_id))
        self._ping_due_s = time.monotonic() + self._heartbeat_s
        self._asked_s = time.monotonic()

    def _send_message(self, message: camera.Header) -> None:
        try_send(self._socket, camera.compose(message))  # what cannot be sent now is sent again on the next connection

    def _attend_until(self, is_reached: Callable[[], bool], timeout_s: float | None) -> bool:
        """Serve the connection until a condition holds or time is up; return whether it holds."""
        end_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._connect_if_interrupted()
            self._receive_all()
            self._transmit()
            self._send_ping_if_due()
            if is_reached():
                return True
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return False
            self._socket.poll(int(min(POLL_MS, left_s * 1000 + 1)), zmq.POLLIN)

    def _receive_all(self) -> None:
        while self._socket.poll(0, zmq.POLLIN):
            self._asked_s, self._is_answered, self._was_answered = None, True, True
            with ClosedIfInterrupted(self._socket):  # what was read and not handled is said again on the next connection
                self._handle(camera.parse(self._socket.recv_multipart()))

    def _handle(self, message: camera.CameraMessage) -> None:
        if isinstance(message, Ack | Nack):
            self._frames.note_answer(message.frame_id)
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
                self._frames.forget(message.frame_id)
            case Nack():
                self._handle_nack(message)

    def _handle_nack(self, nack: Nack) -> None:
        if not nack.frame_id and nack.code not in PASSING_CODES:
            raise MdssError(f"{self.endpoint} refused {self.source_id}: {nack.code}: {nack.reason}")
        if nack.code in PASSING_CODES:
            self._pause_until_s = time.monotonic() + RETRY_S
            self._frames.let_leave_later(nack)
            return
        self.rejected_count += nack.frame_id in self._frames  # a second refusal of the same frame counts once
        _remember(self.rejected, nack.frame_id, nack)
        self._frames.forget(nack.frame_id)

    def _transmit(self) -> None:
        while self._frames.sent < self._window and time.monotonic() >= self._pause_until_s:
            frame = self._frames.next_to_leave()
            if frame is None:
                return
            was_sent, frame.was_sent = frame.was_sent, True  # before it leaves: Ctrl-C may be raised as soon as it has
            if not try_send(self._socket, frame.message):
                frame.was_sent = was_sent
                return
            self._frames.note_left(frame)

    def _send_ping_if_due(self) -> None:
        now_s = time.monotonic()
        patience_s = self._heartbeat_s * self._liveness + self._frames.bytes_under_way / SLOWEST_LINK
        if self._asked_s is not None and now_s - self._asked_s > patience_s:
            self._socket.close(0)
            self._connect()
        elif now_s >= self._ping_due_s:
            self._send_message(camera.Ping(source_id=self.source_id))
            self._ping_due_s = now_s + self._heartbeat_s
            self._asked_s = self._asked_s or now_s


def _remember(table: dict[str, Value], key: str, value: Value) -> None:
    table[key] = value
    if len(table) > MOST_REMEMBERED:
        del table[next(iter(table))]
