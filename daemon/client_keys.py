"""Reads the keys and the token that the settings name, for the supervisor and for the verbs that connect to a station."""

from __future__ import annotations

import os
from pathlib import Path

from mdss import key_files
from mdss.client import CurveKeys
from mdss.errors import BadInput, MdssError
from mdss.settings import Settings
from mdss.settings_access import HttpSettings
from mdss.settings_types import IPC, TCP


def token_of(http: HttpSettings) -> str | None:
    """Return the token for the HTTP pages; None if they need none."""
    return None if http.token_file is None else key_files.read_token(Path(http.token_file))


def may_connect(endpoint: str) -> bool:
    """Return whether file permissions let this user connect to an endpoint; True if there is no socket file (yet)."""
    if not endpoint.startswith(IPC):
        return True
    path = Path(endpoint.removeprefix(IPC))
    try:
        path.stat()
    except PermissionError:
        return False
    except OSError:
        return True
    return os.access(path, os.W_OK)


def keys_for(settings: Settings, *endpoints: str) -> CurveKeys | None:
    """Return the keys with which a verb connects to the station's endpoints; None if no keys are needed.

    MdssError if this user may not connect: ZeroMQ would keep trying without a word.
    """
    for endpoint in endpoints:
        if not may_connect(endpoint):
            raise MdssError(f"{endpoint}: this user may not connect, expected the station's own or one of its group")
    if not any(endpoint.startswith(TCP) for endpoint in endpoints) or settings.security.server_key_file is None:
        return None
    own = settings.security
    if own.client_key_file is None:
        raise BadInput("security.client_key_file: found null, expected the secret certificate of a client; `mdss keygen` makes one")
    return CurveKeys.read(own.client_key_file, Path(settings.security.server_key_file).with_suffix(key_files.SUFFIX))
