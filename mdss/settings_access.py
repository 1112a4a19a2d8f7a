"""Access to a station from outside: keys for tcp, a token for the HTTP pages; settings that would let anybody in are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mdss.errors import BadInput
from mdss.misfit import LONGEST_SHOWN
from mdss.settings_file import SettingsFile
from mdss.settings_types import TCP, HttpHost, HttpPort, Location, Section

PLAIN_LOOPBACK = "tcp://127.0.0.1:"  # the only address that may be used without keys, if security.plain_loopback allows it
LOOPBACK_HOST = re.compile(r"localhost|::1|127(\.[0-9]+){3}")


class HttpSettings(Section, frozen=True):
    """The station's HTTP pages: address and token."""

    host: HttpHost = "127.0.0.1"
    port: HttpPort = 8420
    token_file: Location | None = None


class SecuritySettings(Section, frozen=True):
    """Who may connect over tcp: CURVE certificates made by `mdss keygen`."""

    server_key_file: Location | None = None
    client_keys: Location | None = None
    client_key_file: Location | None = None
    plain_loopback: bool = False


def check_access(own: SecuritySettings, http: HttpSettings, endpoints: Mapping[str, str], file: SettingsFile) -> None:
    """Refuse settings that would let anybody on the network in; `endpoints` maps the place in the file to each public endpoint."""
    has_keys = own.server_key_file is not None
    if has_keys != (own.client_keys is not None):
        place = "client_keys" if has_keys else "server_key_file"
        raise file.refusal(f"security.{place}", "found null beside the other of the two, expected both; `mdss keygen` makes the keys")
    if has_keys and own.plain_loopback:
        raise file.refusal("security.plain_loopback", "found true beside security.server_key_file, expected one of the two")
    for place, endpoint in endpoints.items():
        is_loopback = endpoint.startswith(PLAIN_LOOPBACK)
        if endpoint.startswith(TCP) and not has_keys and not (own.plain_loopback and is_loopback):
            needed = "expected security.server_key_file and security.client_keys for tcp (`mdss keygen` makes the keys)"
            alone = ", or security.plain_loopback: true" if is_loopback else ""
            raise file.refusal(place, f"found {endpoint[:LONGEST_SHOWN]} without keys, {needed}{alone}")
    if http.token_file is None and LOOPBACK_HOST.fullmatch(http.host) is None:
        found = f"found {http.host[:LONGEST_SHOWN]} without http.token_file"
        raise file.refusal("http.host", f"{found}, expected a file with a token, or 127.0.0.1")


def check_files(own: SecuritySettings, http: HttpSettings, file: SettingsFile) -> None:
    """Refuse keys and tokens that are missing, damaged or readable by too many."""
    if own.server_key_file is None and http.token_file is None:
        return
    from mdss import key_files  # imported here because it loads zmq, which other readers of settings do not need

    checks = (
        ("security.server_key_file", own.server_key_file, key_files.read_pair),
        ("security.client_keys", own.client_keys, key_files.read_clients),
        ("http.token_file", http.token_file, key_files.read_token),
    )
    for place, path, check in checks:
        if path is not None:
            try:
                check(Path(path))
            except BadInput as error:
                raise file.refusal(place, str(error)) from error
