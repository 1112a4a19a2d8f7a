"""CURVE certificates on disk, and other files that few may read: what is missing, damaged or too open is refused by its name."""

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

SUFFIX, SECRET_SUFFIX = ".key", ".key_secret"  # as zmq.auth.create_certificates names its two files
GROUP_AND_OTHERS, OTHERS = 0o077, 0o007  # rights of a mode, also as what a umask takes away
OTHERS_WRITE = 0o002
GROUP_READS = 0o027  # as a umask
KEY = re.compile(rb"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")  # 32 bytes in Z85, if no five are more than four bytes hold
CLIENT_NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}")
TOKEN = re.compile(r"[!-~]{16,256}")
MAKES = "`mdss keygen` makes one"


@dataclass(frozen=True)
class KeyPair:
    """Both halves of a certificate."""

    public: bytes
    secret: bytes = field(repr=False)


def check_private(path: Path, forbidden: int) -> None:
    """Refuse a file that is not there, or that more may read than its modes should let."""
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise BadInput(f"{path}: found no readable file ({error.strerror}), expected a secret") from error
    if mode & forbidden:
        wanted = "0600" if forbidden == GROUP_AND_OTHERS else "0640"
        raise BadInput(f"{path}: found mode {mode:04o}, which lets others read a secret; expected {wanted} or less")


def read_pair(path: Path) -> KeyPair:
    """Return the keys of a secret certificate, which nobody but its owner may read."""
    check_private(path, GROUP_AND_OTHERS)
    public, secret = _read(path)
    if secret is None:
        raise BadInput(f"{path}: found a certificate without its secret half, expected NAME{SECRET_SUFFIX}; {MAKES}")
    if zmq.curve_public(secret) != public:
        raise BadInput(f"{path}: found two keys that do not belong together, expected a certificate; {MAKES}")
    return KeyPair(public, secret)


def read_public(path: Path) -> bytes:
    """Return the key of a public certificate."""
    public, secret = _read(path)
    if secret is not None:
        raise BadInput(f"{path}: found a secret key, expected the public half alone, NAME{SUFFIX}; the secret half stays with its owner")
    return public


def read_clients(folder: Path) -> dict[bytes, str]:
    """Return the names of all clients by their keys; BadInput for the first file that does not say who it is, or that anybody may write."""
    names: dict[bytes, str] = {}
    paths = list(client_files(folder))
    for path in (folder, *paths):
        _check_kept(path)
    for path in paths:
        key, name = read_public(path), path.name.removesuffix(SUFFIX)
        if CLIENT_NAME.fullmatch(name) is None:
            raise BadInput(f"{path}: found a file name that no source can have, expected 1 to 64 of the characters A-Z a-z 0-9 . _ : -")
        if key in names:
            raise BadInput(f"{path}: found the key of {names[key]}{SUFFIX} a second time, expected one name for each key")
        names[key] = name
    return names


def client_files(folder: Path) -> Iterator[Path]:
    """Yield the public certificates in a folder, in order; BadInput where it is none."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise BadInput(f"{folder}: found no readable folder ({error.strerror}), expected one with a NAME{SUFFIX} per client") from error
    yield from (path for path in paths if path.suffix == SUFFIX)


def _check_kept(path: Path) -> None:
    """Refuse what every user of this machine may write: any would let himself in by it. What is not there is for its reader to name."""
    with suppress(OSError):
        mode = path.stat().st_mode & 0o777
        if mode & OTHERS_WRITE:
            raise BadInput(f"{path}: found mode {mode:04o}, by which anybody on this machine lets himself in; expected 0775 or less")


def read_token(path: Path) -> str:
    """Return the token of the pages, the only line of its file."""
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


def _read(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = load_certificate(path)
    except OSError as error:
        raise BadInput(f"{path}: found no readable file ({error.strerror or 'no such file'}), expected a certificate; {MAKES}") from error
    except (ValueError, IndexError) as error:
        raise BadInput(f"{path}: found no key, expected a certificate; {MAKES}") from error
    if not all(_is_key(key) for key in (public, secret or public)):
        raise BadInput(f"{path}: found a damaged key, expected 40 characters of Z85; {MAKES}")
    return public, secret


def _is_key(key: bytes) -> bool:
    if KEY.fullmatch(key) is None:
        return False
    try:
        z85.decode(key)
    except struct.error:  # five characters that are no four bytes: libzmq would refuse them in fewer words
        return False
    return True
