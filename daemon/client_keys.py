"""Secrets that the station's settings name, for its supervisor and for the verbs that connect to it."""

from __future__ import annotations

from pathlib import Path

from mdss import key_files
from mdss.client import CurveKeys
from mdss.errors import BadInput
from mdss.settings import Settings
from mdss.settings_doors import HttpSettings
from mdss.settings_types import TCP


def token_of(http: HttpSettings) -> str | None:
    """Return the token of the pages; None where they need none."""
    return None if http.token_file is None else key_files.read_token(Path(http.token_file))


def keys_for(settings: Settings, *endpoints: str) -> CurveKeys | None:
    """Return the keys by which a verb connects to the station's own endpoints; None where it needs none."""
    if not any(endpoint.startswith(TCP) for endpoint in endpoints) or settings.security.server_key_file is None:
        return None
    own = settings.security
    if own.client_key_file is None:
        raise BadInput("security.client_key_file: found null, expected the secret certificate of a client; `mdss keygen` makes one")
    return CurveKeys.read(own.client_key_file, Path(settings.security.server_key_file).with_suffix(key_files.SUFFIX))
