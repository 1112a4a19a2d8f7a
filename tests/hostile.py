"""Senders that mean harm: one that speaks ZeroMQ, and one that writes whatever bytes it likes."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any, Self

import zmq

from mdss.client import CurveKeys
from mdss.wire import camera
from mdss.wire.client_socket import connect

PATIENCE_S = 20.0
MEGABYTE = 1024 * 1024
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)  # ZMTP 3.0
READY_BODY = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
READY = bytes([0x04, len(READY_BODY)]) + READY_BODY
MORE, LONG = 0x01, 0x02


class Hostile:
    """A DEALER with no manners."""

    def __init__(self, endpoint: str, keys: CurveKeys | None = None, routing_id: bytes = b"", most_unread: int = 1000) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._context.setsockopt(zmq.RCVHWM, most_unread)
        self.socket = connect(self._context, zmq.DEALER, endpoint, keys) if not routing_id else self._named(endpoint, keys, routing_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def send(self, frames: list[bytes]) -> None:
        """Send one multipart."""
        self.socket.send_multipart(frames, copy=False)

    def answer(self, timeout_ms: int = round(1000 * PATIENCE_S)) -> camera.CameraMessage | None:
        """Return what the station says next; None when it says nothing."""
        return camera.parse(self.socket.recv_multipart()) if self.socket.poll(timeout_ms) else None

    def ask(self, frames: list[bytes]) -> camera.CameraMessage | None:
        """Send one multipart and return the next answer."""
        self.send(frames)
        return self.answer()

    def said_before_pong(self, source_id: str) -> list[camera.CameraMessage]:
        """Ask whether the station is there, and return all that it says before it answers that."""
        self.send(camera.compose(camera.Ping(source_id=source_id)))
        said: list[camera.CameraMessage] = []
        while not isinstance(answer := self.answer(), camera.Pong):
            assert answer is not None
            said.append(answer)
        return said

    def _named(self, endpoint: str, keys: CurveKeys | None, routing_id: bytes) -> zmq.Socket[bytes]:
        """Connect under a routing id that may be another's."""
        made: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        made.linger, made.routing_id = 0, routing_id
        if keys is not None:
            made.curve_publickey, made.curve_secretkey, made.curve_serverkey = keys.public, keys.secret, keys.server
        made.connect(endpoint)
        return made


class Raw:
    """Bytes on the station's socket, with or without ZeroMQ's own words in front."""

    def __init__(self, endpoint: str) -> None:
        kind, _, place = endpoint.partition("://")
        if kind == "ipc":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(place)
        else:
            host, _, port = place.rpartition(":")
            self._socket = socket.create_connection((host, int(port)))
        self._socket.settimeout(PATIENCE_S)
        self.heard = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def introduce(self) -> None:
        """Shake hands as a DEALER without keys does."""
        self._socket.sendall(GREETING)
        self._socket.sendall(READY)

    def write(self, content: bytes) -> None:
        """Write what the station may not want to read to its end."""
        with suppress(ConnectionError):
            self._socket.sendall(content)

    def write_without_end(self, most_bytes: int) -> int:
        """Begin a message of a megabyte in each frame and never end it; return how many bytes the station let itself be told."""
        frame, told = bytes([MORE | LONG]) + struct.pack(">Q", MEGABYTE) + bytes(MEGABYTE), 0
        try:
            while told < most_bytes:
                self._socket.sendall(frame)
                told += len(frame)
        except OSError:
            pass
        return told

    def is_cut_off(self, timeout_s: float = PATIENCE_S) -> bool:
        """Read until the station ends the connection; False when it does not."""
        self._socket.settimeout(timeout_s)
        try:
            while more := self._socket.recv(65_536):
                self.heard += more
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True
