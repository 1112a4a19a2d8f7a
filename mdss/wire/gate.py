"""Lets clients in over tcp by their keys: CURVE for the sockets, and the allow-list that ZeroMQ asks at every handshake."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from mdss import key_files
from mdss.errors import BadInput, MdssError
from mdss.settings import Settings

PUBLIC_LINKS = ("frames", "verdicts", "snapshot")
TELL_EVERY_S = 10.0  # a client that is refused tries again at once, for ever
log = structlog.get_logger()


class Clients:
    """The allow-list: a folder of public certificates, read at every handshake, so that a key added or removed counts at once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._names, self._tell_s = folder, dict[bytes, str](), float("-inf")
        self._ignored = set[str]()  # why, of each file that is no key

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether a key, in Z85, is on the list; called by the thread of the authenticator."""
        self._names = self._read()
        if key not in self._names and time.monotonic() >= self._tell_s:
            self._tell_s = time.monotonic() + TELL_EVERY_S
            log.warning("a client was refused: its key is not on the list", link=domain, key=key.decode(), folder=str(self._folder))
        return key in self._names

    def name_of(self, key: bytes) -> str:
        """Return which client a key belongs to."""
        return self._names.get(key, "")

    def _read(self) -> dict[bytes, str]:
        """Read what can be read: a file that is damaged, or being written just now, shuts out nobody else; it is said once."""
        names, ignored = dict[bytes, str](), set[str]()
        try:
            for path in key_files.client_files(self._folder):
                try:
                    names.setdefault(key_files.read_public(path), path.name.removesuffix(key_files.SUFFIX))
                except BadInput as error:
                    ignored.add(str(error))
        except BadInput as error:
            log.error("no client can be let in", reason=str(error))
        for reason in sorted(ignored - self._ignored):
            log.warning("a client's key is ignored", reason=reason)
        self._ignored = ignored
        return names


class _Authenticator(ThreadAuthenticator):
    """ZeroMQ's own, which calls a client by the name of its file."""

    def __init__(self, context: zmq.Context[Any], clients: Clients) -> None:
        super().__init__(context)
        self.clients = clients

    def curve_user_id(self, client_public_key: bytes) -> str:
        """Return what arrives as User-Id with each message of this client."""
        return self.clients.name_of(z85.encode(client_public_key))

    def stop(self) -> None:
        """Stop, also where the thread has ended: it would be waited for without end to take the word."""
        if self.pipe and not self.is_alive():
            self.pipe.close(0)
            self.pipe = None  # type: ignore[assignment]  # as its own `stop` leaves it
        super().stop()


class Gate:
    """Answers the handshakes of one context; without keys in the settings there are none. Opened before the sockets, closed after them."""

    def __init__(self, context: zmq.Context[Any], settings: Settings) -> None:
        self._authenticator: _Authenticator | None = None
        own = settings.security
        if own.server_key_file is None or own.client_keys is None:
            return
        self._authenticator = _Authenticator(context, Clients(Path(own.client_keys)))
        self._authenticator.start()
        for link in PUBLIC_LINKS:
            self._authenticator.configure_curve_callback(link, self._authenticator.clients)

    @property
    def is_open(self) -> bool:
        """Whether handshakes are answered, or need no answer."""
        return self._authenticator is None or self._authenticator.is_alive()

    def check(self) -> None:
        """Raise MdssError where nobody answers any more: then no client would be let in until the process is replaced."""
        if not self.is_open:
            raise MdssError("the thread that answers handshakes has ended; expected it to live as long as the process")

    def close(self) -> None:
        """Stop answering."""
        if self._authenticator is not None:
            self._authenticator.stop()


def lock(socket: zmq.Socket[bytes], link_name: str, secret_file: Path) -> None:
    """Let a socket speak CURVE only, under the station's key, and with those alone whom the gate lets in."""
    pair = key_files.read_pair(secret_file)
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
    socket.zap_domain = link_name.encode()
    socket.zap_enforce_domain = 1  # where the gate does not answer, nobody gets in


def speaker_of(frames: Sequence[zmq.Frame | bytes]) -> str | None:
    """Return the client whose key a message came under; None where the door has no keys."""
    frame = frames[0] if frames else None
    if not isinstance(frame, zmq.Frame):
        return None
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:  # without a handshake there is no such property
        return None
