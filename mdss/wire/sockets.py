"""The two ends of a link between processes, and the sockets of the public links."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX
from socket import socket as plain_socket
from typing import Any, Literal, Protocol

import zmq

from mdss.errors import AddressTaken, BadInput
from mdss.key_files import GROUP_AND_OTHERS, OTHERS
from mdss.settings import Settings
from mdss.settings_types import IPC, TCP
from mdss.wire import codec
from mdss.wire.authentication import require_curve
from mdss.wire.client_socket import try_send
from mdss.wire.codec import AnyMessage
from mdss.wire.messages import Message
from mdss.wire.topology import LINKS, Link, address

LINGER_MS = 500  # how long a closing process waits for its last messages to leave
KEEPALIVE = {"tcp_keepalive": 1, "tcp_keepalive_idle": 10, "tcp_keepalive_intvl": 5, "tcp_keepalive_cnt": 3}  # finds a dead peer in 25 s
HANDSHAKE_MS = 5000  # a connection that has not identified itself by then is closed
SKIPPED_AT_ONCE = 10_000  # frames: takes some hundredths of a second
MAY_PASS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ENODEV)
PUBLIC_LINGER_MS = 1000  # likewise, to clients outside the station


class Outlet(Protocol):
    """The sending end of a link, as those see it who only send."""

    def send(self, message: Message) -> bool:
        """Send one message without ever waiting; False if there was no room for it: the caller then drops or keeps it."""


class Sender:
    """The sending end of a link: an `Outlet`, and the socket behind it."""

    def __init__(self, context: zmq.Context[Any], link_name: str, settings: Settings) -> None:
        self.socket = _open(context, LINKS[link_name], "sender", settings)

    def send(self, message: Message) -> bool:
        """Send one message, as `Outlet` says."""
        return try_send(self.socket, codec.encode(message))

    def close(self) -> None:
        """Close; the last messages still leave."""
        self.socket.close(LINGER_MS)


class Receiver:
    """The receiving end of a link."""

    def __init__(self, context: zmq.Context[Any], link_name: str, settings: Settings) -> None:
        self.socket = _open(context, LINKS[link_name], "receiver", settings)

    @property
    def waiting(self) -> int:
        """How many messages wait, as far as zmq can tell: 0, or 1 for at least one."""
        return 1 if self.socket.poll(0, zmq.POLLIN) else 0

    def receive(self, timeout_ms: int) -> AnyMessage | None:
        """Return the next message, None if none came in time; DecodeError if it is no message."""
        if not self.socket.poll(timeout_ms, zmq.POLLIN):
            return None
        return codec.decode(self.socket.recv_multipart(copy=False))

    def close(self) -> None:
        """Close at once."""
        self.socket.close(0)


class BoundedReceiver:
    """Receives from outside clients; of a message with too many frames it returns only the first ones.

    The rest is skipped in portions: a million tiny frames, in two megabytes, would otherwise block a process for seconds.
    """

    def __init__(self, socket: zmq.Socket[bytes], most_frames: int) -> None:
        self._socket, self._most, self._is_skipping = socket, most_frames, False

    def receive(self) -> list[zmq.Frame]:
        """Return the next message; empty if that was part of a message being skipped."""
        if self._is_skipping:
            for _ in range(SKIPPED_AT_ONCE):
                if not self._socket.recv(copy=False).more:
                    self._is_skipping = False
                    break
            return []
        frames = [self._socket.recv(copy=False)]
        while frames[-1].more and len(frames) < self._most:
            frames.append(self._socket.recv(copy=False))
        self._is_skipping = bool(frames[-1].more)
        return frames


def bind_socket(context: zmq.Context[Any], kind: int, link_name: str, settings: Settings, **options: int) -> zmq.Socket[bytes]:
    """Return a socket bound to a public link, with zmq options by name; BadInput names the address if binding fails.

    Over tcp it uses CURVE if the settings name keys; a ClientAuthentication in the same context decides on the clients.
    """
    link, endpoint = LINKS[link_name], address(LINKS[link_name], settings)
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.set_hwm(link.high_water)
    socket.linger, socket.handshake_ivl = PUBLIC_LINGER_MS, HANDSHAKE_MS
    for name, value in options.items():
        setattr(socket, name, value)
    if endpoint.startswith(TCP):
        _prepare_tcp(socket, link_name, endpoint, settings.security.server_key_file)
    _bind(socket, link, endpoint)
    return socket


def _prepare_tcp(socket: zmq.Socket[bytes], link_name: str, endpoint: str, server_key_file: str | None) -> None:
    socket.ipv6 = "[" in endpoint
    for name, value in KEEPALIVE.items():
        setattr(socket, name, value)
    if server_key_file is None:
        return
    try:
        require_curve(socket, link_name, Path(server_key_file))
    except BadInput:
        socket.close(0)
        raise


def _bind(socket: zmq.Socket[bytes], link: Link, endpoint: str) -> None:
    try:
        if endpoint.startswith(IPC):
            _check_free(Path(endpoint.removeprefix(IPC)))
        with _rights(link):
            socket.bind(endpoint)
    except (OSError, zmq.ZMQError) as error:
        socket.close(0)
        why = zmq.strerror(error.errno or 0)
        kind = AddressTaken if error.errno in MAY_PASS else BadInput
        raise kind(f"{link.name} endpoint {endpoint}: cannot be opened ({why}); expected a free address of this machine") from error


@contextmanager
def _rights(link: Link) -> Iterator[None]:
    """Allow the station's group on sockets for cameras and subscribers, and only the station's user on private ones."""
    before = os.umask(GROUP_AND_OTHERS if link.pattern == "push_pull" else OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def _check_free(path: Path) -> None:
    """Refuse a path that is no socket, or a socket that somebody listens on: zmq would replace it without a word, like a dead one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_socket():
        raise OSError(errno.EEXIST, "")
    with plain_socket(AF_UNIX) as probe:
        probe.setblocking(False)
        found = probe.connect_ex(str(path))
    if found in (0, errno.EAGAIN):  # EAGAIN: somebody listens, but the queue of connections is full
        raise OSError(errno.EADDRINUSE, "")
    if found == errno.EACCES:  # another user's socket, which may be in use
        raise OSError(found, "")


def _open(context: zmq.Context[Any], link: Link, end: Literal["sender", "receiver"], settings: Settings) -> zmq.Socket[bytes]:
    if link.pattern != "push_pull":
        raise ValueError(f"link {link.name} is {link.pattern}: its processes open it themselves")
    endpoint = address(link, settings)
    socket: zmq.Socket[bytes] = context.socket(zmq.PUSH if end == "sender" else zmq.PULL)
    socket.set_hwm(link.high_water)
    socket.linger = LINGER_MS
    if link.bound_end == end:
        _bind(socket, link, endpoint)
    else:
        socket.connect(endpoint)
    return socket
