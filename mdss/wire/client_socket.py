"""The client end of a public link: how a camera or a subscriber connects to a station."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from mdss import key_files
from mdss.errors import BadInput, MdssError
from mdss.settings_types import TCP

LOOPBACK = re.compile(r"tcp://(localhost|\[::1\]|127(\.[0-9]+){1,3})(:[^;]*)?")


@dataclass(frozen=True)
class CurveKeys:
    """What a client needs to connect over tcp: its own two keys, and the station's public key."""

    public: bytes
    secret: bytes = field(repr=False)
    server: bytes

    @classmethod
    def read(cls, secret_file: Path | str, server_file: Path | str) -> Self:
        """Read the client's own NAME.key_secret and the station's public NAME.key; BadInput names a file that is no such key."""
        own = key_files.read_pair(Path(secret_file))
        return cls(own.public, own.secret, key_files.read_public(Path(server_file)))


def connect(context: zmq.Context[Any], kind: int, endpoint: str, keys: CurveKeys | None = None) -> zmq.Socket[bytes]:
    """Return a socket connected to an endpoint, whether or not anybody listens there yet; BadInput if it is no endpoint."""
    if keys is None and endpoint.startswith(TCP) and LOOPBACK.fullmatch(endpoint) is None:
        context.destroy(0)
        raise BadInput(f"endpoint {endpoint!r}: found no keys, expected CurveKeys for tcp to another machine (`mdss keygen` makes them)")
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.linger = 0
    if endpoint.startswith(TCP):
        socket.ipv6 = "[" in endpoint
        if keys is not None:
            socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = keys.public, keys.secret, keys.server
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        context.destroy(0)  # the caller's object is not created, so nobody else would close it
        raise BadInput(f"endpoint {endpoint!r}: {zmq.strerror(error.errno or 0)}; expected ipc://PATH or tcp://HOST:PORT") from error
    return socket


def try_send(socket: zmq.Socket[bytes], parts: Sequence[bytes | memoryview]) -> bool:
    """Send one message without ever waiting; False if there is no room, or no peer any more: zmq gives up a connection that was refused.

    Where Ctrl-C cuts the message in two, the socket is closed.
    """
    try:
        with ClosedIfInterrupted(socket):
            socket.send_multipart(parts, flags=zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return False
    return True


class ClosedIfInterrupted:
    """Closes a socket if Ctrl-C, or what another signal raises, ends the block.

    Half a message may be on it by then, to which the next one would be joined, or half of one be read.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None and not issubclass(kind, zmq.Again | MdssError):
            self._socket.close(0)
