"""A small station's front door in a thread: speaks the camera wire over a real ROUTER, judges nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Self

import zmq

from mdss.wire import camera
from mdss.wire.headers import Ack, Credit, Done, Eos, Hello, Nack, NackCode, Ping, Pong


class FakeStation:
    """Acknowledges every frame; says DONE only while `finishes`; refuses a part id listed in `refusals`, once per entry."""

    def __init__(self, endpoint: str, boot_id: str = "boot-1", credit: int = 2, finishes: bool = True) -> None:
        self.boot_id, self.credit, self.finishes, self.endpoint = boot_id, credit, finishes, endpoint
        self.frames: list[camera.FrameMessage] = []
        self.refusals: dict[str, list[NackCode]] = {}
        self.hello_refusals: list[NackCode] = []  # of the next HELLOs
        self.liveness, self.frame_takes_s = 400, 0.0  # dead after 20 s; the second as over a slow link: nothing else comes meanwhile
        self.has_ended = threading.Event()
        self.record: Callable[[camera.FrameMessage, int], None] = lambda frame, sequence: None  # what is judged, before its DONE
        self._known, self._lost = set[bytes](), set[bytes]()
        self._stop, self._bound = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._bound.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def connections(self) -> int:
        """How many connections said HELLO."""
        return len(self._known)

    @property
    def part_ids(self) -> list[str]:
        """The parts that arrived, re-sent ones again."""
        return [frame.header.part_id for frame in self.frames]

    def lose_connections(self) -> None:
        """Hear and say nothing over the connections that there are now, as where a cable was pulled."""
        self._lost |= self._known

    def forget_connections(self) -> None:
        """Know nobody any more, as where another connection took over the camera's name."""
        self._known.clear()

    def _serve(self) -> None:
        context: zmq.Context[Any] = zmq.Context()
        with context, context.socket(zmq.ROUTER) as socket:
            socket.linger, socket.ipv6 = 0, "[" in self.endpoint
            socket.bind(self.endpoint)
            self.endpoint = socket.last_endpoint.decode().rstrip("\0")  # with the port that `:*` stands for
            self._bound.set()
            while not self._stop.is_set():
                if socket.poll(10):
                    peer, *parts = socket.recv_multipart()
                    for reply in self._answers(peer, camera.parse(parts)):
                        socket.send_multipart([peer, *camera.compose(reply)])

    def _answers(self, peer: bytes, message: camera.CameraMessage) -> list[camera.Header]:
        if peer in self._lost:
            return []
        match message:
            case Hello() if self.hello_refusals:
                return [Nack(frame_id="", code=self.hello_refusals.pop(), reason="as the test asked")]
            case Hello():
                self._known.add(peer)
                return [Credit(credit=self.credit, boot_id=self.boot_id, heartbeat_ms=50, liveness=self.liveness)]
            case Ping():
                return [Pong(boot_id=self.boot_id, is_known=peer in self._known)]
            case camera.FrameMessage():
                time.sleep(self.frame_takes_s)
                return self._judge(peer, message)
            case Eos():
                self.has_ended.set()
        return []

    def _judge(self, peer: bytes, message: camera.FrameMessage) -> list[camera.Header]:
        frame_id, part_id = message.header.frame_id, message.header.part_id
        if peer not in self._known:
            return [Nack(frame_id=frame_id, code="NOT_READY", reason="say HELLO first")]
        if self.refusals.get(part_id):
            return [Nack(frame_id=frame_id, code=self.refusals[part_id].pop(), reason="as the test asked")]
        self.frames.append(message)
        answers: list[camera.Header] = [Ack(frame_id=frame_id, result_id=f"r-{frame_id}")]
        if self.finishes:
            self.record(message, len(self.frames))
            answers.append(Done(frame_id=frame_id, result_id=f"r-{frame_id}", sequence=len(self.frames)))
        return answers
