"""The outer end of a public link: how a camera or a subscriber connects to a station."""

from __future__ import annotations

from typing import Any

import zmq

from mdss.errors import BadInput


def connected(context: zmq.Context[Any], kind: int, endpoint: str) -> zmq.Socket[bytes]:
    """Return a socket connected to an endpoint, that nobody need be listening on yet; BadInput where it is no endpoint."""
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.linger = 0
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        context.destroy(0)  # whoever wanted to connect is not made, so nobody else would
        raise BadInput(f"endpoint {endpoint!r}: {zmq.strerror(error.errno or 0)}; expected ipc://PATH or tcp://HOST:PORT") from error
    return socket
