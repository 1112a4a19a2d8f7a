"""Reads CURVE certificates and other private files; refuses, by name, what is missing, damaged or readable by too many."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.auth.certs import load_certificate
from zmq.utils import z85

from mdss.errors import BadInput

SUFFIX, SECRET_SUFFIX = ".key", ".key_secret"  # the suffixes that zmq.auth.create_certificates uses
GROUP_AND_OTHERS, OTHERS = 0o077, 0o007  # permission bits, also used as a umask
OTHERS_WRITE = 0o002
GROUP_READS = 0o027  # used as a umask
# 32 bytes in Z85, unless a group of five characters is too large for four bytes
KEY = re.compile(rb"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
CLIENT_NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}")
TOKEN = re.compile(r"[!-~]{16,256}")
KEYGEN_HINT = "`mdss keygen` makes one"


@dataclass(frozen=True)
class KeyPair:
    """Both halves of a certificate."""

    public: bytes
    secret: bytes = field(repr=False)


def check_private(path: Path, forbidden: int) -> None:
    """Refuse a file that does not exist, or that more users may read than allowed."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise BadInput(f"{path}: found no readable file ({error.strerror}), expected a secret") from error
    if mode & forbidden:
        wanted = "0600" if forbidden == GROUP_AND_OTHERS else "0640"
        raise BadInput(f"{path}: found mode {mode:04o}, which lets others read a secret; expected {wanted} or less")


def read_pair(path: Path) -> KeyPair:
    """Return the keys of a secret certificate, which only its owner may read."""
    check_private(path, GROUP_AND_OTHERS)
    public, secret = _read(path)
    if secret is None:
        raise BadInput(f"{path}: found a certificate without its secret half, expected NAME{SECRET_SUFFIX}; {KEYGEN_HINT}")
    if zmq.curve_public(secret) != public:
        raise BadInput(f"{path}: found two keys that do not belong together, expected a certificate; {KEYGEN_HINT}")
    return KeyPair(public, secret)


def read_public(path: Path) -> bytes:
    """Return the key of a public certificate."""
    public, secret = _read(path)
    if secret is not None:
        raise BadInput(f"{path}: found a secret key, expected the public half alone, NAME{SUFFIX}; the secret half stays with its owner")
    return public


def read_clients(folder: Path) -> dict[bytes, str]:
    """Return all clients' names by their keys; BadInput for the first file that is no valid key of a client, or that anybody may write."""
    names: dict[bytes, str] = {}
    paths = list(client_files(folder))
    for path in (folder, *paths):
        _check_not_world_writable(path)
    for path in paths:
        key, name = read_public(path), path.name.removesuffix(SUFFIX)
        if CLIENT_NAME.fullmatch(name) is None:
            raise BadInput(f"{path}: found a file name that no source can have, expected 1 to 64 of the characters A-Z a-z 0-9 . _ : -")
        if key in names:
            raise BadInput(f"{path}: found the key of {names[key]}{SUFFIX} a second time, expected one name for each key")
        names[key] = name
    return names


def client_files(folder: Path) -> Iterator[Path]:
    """Yield the public certificates in a folder, sorted; BadInput if there is no such folder."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise BadInput(f"{folder}: found no readable folder ({error.strerror}), expected one with a NAME{SUFFIX} per client") from error
    yield from (path for path in paths if path.suffix == SUFFIX)


def _check_not_world_writable(path: Path) -> None:
    """Refuse a path that every user of this machine may write, since anybody could add a key; a missing path is left to its reader."""
    with suppress(OSError):
        mode = path.stat().st_mode & 0o777
        if mode & OTHERS_WRITE:
            raise BadInput(f"{path}: found mode {mode:04o}, by which anybody on this machine lets himself in; expected 0775 or less")


def read_token(path: Path) -> str:
    """Return the token for the HTTP pages, the only line of its file."""
    check_private(path, OTHERS)
    try:
        token = path.read_text("ascii").strip()
    except OSError as error:
        raise BadInput(f"{path}: found no readable file ({error.strerror}), expected a token") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: found bytes that are no text, expected a token") from error
    if TOKEN.fullmatch(token) is None:
        raise BadInput(f"{path}: found no token, expected one line of 16 to 256 characters without spaces (`openssl rand -hex 32`)")
    return token


def read_password(path: Path) -> str:
    """Return the password of Redis, alone in its file."""
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise BadInput(f"alerts.password_file {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"alerts.password_file {path} cannot be read (it holds bytes that are no text)") from error


def _read(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = load_certificate(path)
    except OSError as error:
        raise BadInput(
            f"{path}: found no readable file ({error.strerror or 'no such file'}), expected a certificate; {KEYGEN_HINT}"
        ) from error
    except (ValueError, IndexError) as error:
        raise BadInput(f"{path}: found no key, expected a certificate; {KEYGEN_HINT}") from error
    if not all(_is_key(key) for key in (public, secret or public)):
        raise BadInput(f"{path}: found a damaged key, expected 40 characters of Z85; {KEYGEN_HINT}")
    return public, secret


def _is_key(key: bytes) -> bool:
    if KEY.fullmatch(key) is None:
        return False
    try:
        z85.decode(key)
    except struct.error:  # a group of five characters too large for four bytes: libzmq would refuse it without a good message
        return False
    return True
