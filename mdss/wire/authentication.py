"""Admits tcp clients by their keys: CURVE on the sockets, and the allow-list that ZeroMQ checks at every handshake."""

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
TELL_EVERY_S = 10.0  # a refused client tries again at once, without end
log = structlog.get_logger()


class AllowedClients:
    """The allow-list: a folder of public certificates, read at every handshake, so that an added or removed key counts at once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._names, self._tell_s = folder, dict[bytes, str](), float("-inf")
        self._ignored = set[str]()  # the reasons for which files are ignored

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether a key (Z85) is on the list; runs in the authenticator's thread."""
        self._names = self._read()
        if key not in self._names and time.monotonic() >= self._tell_s:
            self._tell_s = time.monotonic() + TELL_EVERY_S
            log.warning("a client was refused: its key is not on the list", link=domain, key=key.decode(), folder=str(self._folder))
        return key in self._names

    def name_of(self, key: bytes) -> str:
        """Return the name of a key's client, empty if it has none."""
        return self._names.get(key, "")

    def _read(self) -> dict[bytes, str]:
        """Read all readable keys; a file that is damaged or half written affects no other client and is logged once."""
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
    """ZeroMQ's authenticator, with each client named after its key file."""

    def __init__(self, context: zmq.Context[Any], clients: AllowedClients) -> None:
        super().__init__(context)
        self.clients = clients

    def curve_user_id(self, client_public_key: bytes) -> str:
        """Return the User-Id that ZeroMQ attaches to each message of this client."""
        return self.clients.name_of(z85.encode(client_public_key))

    def stop(self) -> None:
        """Stop, even if the thread has ended already: the base class would wait for it forever."""
        if self.pipe and not self.is_alive():
            self.pipe.close(0)
            self.pipe = None  # type: ignore[assignment]  # as its own `stop` leaves it
        super().stop()


class ClientAuthentication:
    """Answers the handshakes of one context, if the settings name keys. Opened before the sockets, closed after them."""

    def __init__(self, context: zmq.Context[Any], settings: Settings) -> None:
        self._authenticator: _Authenticator | None = None
        own = settings.security
        if own.server_key_file is None or own.client_keys is None:
            return
        self._authenticator = _Authenticator(context, AllowedClients(Path(own.client_keys)))
        self._authenticator.start()
        for link in PUBLIC_LINKS:
            self._authenticator.configure_curve_callback(link, self._authenticator.clients)

    @property
    def is_answering(self) -> bool:
        """Whether handshakes are answered, or none are needed."""
        return self._authenticator is None or self._authenticator.is_alive()

    def check(self) -> None:
        """Raise MdssError if nobody answers handshakes any more: no client would get in until the process is replaced."""
        if not self.is_answering:
            raise MdssError("the thread that answers handshakes has ended; expected it to live as long as the process")

    def close(self) -> None:
        """Stop answering handshakes."""
        if self._authenticator is not None:
            self._authenticator.stop()


def require_curve(socket: zmq.Socket[bytes], link_name: str, secret_file: Path) -> None:
    """Make a socket speak only CURVE, with the station's key, and only with clients whose key is on the list."""
    pair = key_files.read_pair(secret_file)
    socket.curve_server = True
    socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
    socket.zap_domain = link_name.encode()
    socket.zap_enforce_domain = 1  # if the authenticator does not answer, nobody gets in


def client_of(frames: Sequence[zmq.Frame | bytes]) -> str | None:
    """Return the client whose key a message came under; None where no keys are used."""
    frame = frames[0] if frames else None
    if not isinstance(frame, zmq.Frame):
        return None
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:  # without a handshake there is no such property
        return None
