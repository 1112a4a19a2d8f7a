"""A connection to the station's Redis that never waits long; each kind of refusal becomes one sentence with advice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import redis
from redis.backoff import ExponentialBackoff
from redis.connection import ConnectionPool, parse_url
from redis.credentials import CredentialProvider
from redis.exceptions import MasterDownError, NoPermissionError
from redis.retry import Retry

from mdss.errors import BadInput, MdssError
from mdss.key_files import read_password
from mdss.settings import AlertSettings

RETRIES = 1  # immediate, for a connection lost while idle; longer pauses are up to the caller
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
HEALTH_CHECK_EVERY_S = 15
CODE: Final = re.compile(r"(?:^|-)([A-Z]{3,}) (.*)")  # Redis 6 puts the error code of a failed script behind a dash
USER: Final = re.compile(r"//[^/@]*@")

StoreState = Literal[
    "unreachable", "slow", "no_password", "wrong_password", "not_permitted", "read_only", "full", "disk", "loading", "refused"
]


class NoPassword(redis.AuthenticationError):
    """The password's file cannot be read, so Redis was not asked."""


KINDS: Final[tuple[tuple[type[redis.RedisError], StoreState], ...]] = (
    (NoPassword, "no_password"),
    (redis.AuthenticationError, "wrong_password"),
    (NoPermissionError, "not_permitted"),
    (redis.ReadOnlyError, "read_only"),
    (MasterDownError, "read_only"),
    (redis.OutOfMemoryError, "full"),
    (redis.BusyLoadingError, "loading"),
    (redis.ConnectionError, "unreachable"),
    (redis.TimeoutError, "slow"),
)
CODES: Final[Mapping[str, StoreState]] = {"READONLY": "read_only", "OOM": "full", "MISCONF": "disk", "NOPERM": "not_permitted"}
SENTENCES: Final[Mapping[StoreState, str]] = {
    "unreachable": "does not answer ({why}); start it, or correct alerts.redis_url",
    "slow": "does not answer ({why}); look at what keeps it busy, correct alerts.redis_url, or raise alerts.timeout_s",
    "no_password": "was not asked: {why}; write the password, alone, into that file, for the station's user to read",
    "wrong_password": "refused the password ({why}); correct the file of alerts.password_file or the user in alerts.redis_url",
    "not_permitted": "does not permit its user to do this ({why}); allow it ~mdss:* +@read +@write +@scripting +@connection",
    "read_only": "is a replica that takes no alerts ({why}); point alerts.redis_url at the primary",
    "full": "has no memory left ({why}); raise its maxmemory, or wait until pictures are older than alerts.evidence_ttl_s",
    "disk": "takes no alerts because it cannot write its own disk ({why}); free space where Redis keeps its data",
    "loading": "is still reading its data; nothing to do but wait",
    "refused": "refused ({why}); correct alerts.redis_url, or see the log of Redis",
}


class StoreAway(MdssError):
    """Redis cannot be used now; `state` names the cause, and the sentence says what to do."""

    def __init__(self, state: StoreState, place: str, why: str) -> None:
        super().__init__(f"Redis at {place} {SENTENCES[state].format(why=why.rstrip('.'))}")
        self.state: StoreState = state


@dataclass(frozen=True)
class PasswordFile(CredentialProvider):
    """Reads the password at each new connection, so that a corrected file takes effect without a restart."""

    path: Path
    user: str | None = None

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return what AUTH is sent with."""
        try:
            password = read_password(self.path)
        except BadInput as error:
            raise NoPassword(str(error)) from error
        return (self.user, password) if self.user else (password,)


@dataclass(frozen=True)
class RedisLink:
    """The Redis client, and the address without a password, for messages."""

    client: redis.Redis
    place: str

    @contextmanager
    def asking(self) -> Iterator[redis.Redis]:
        """Yield the client for a few commands; every refusal by Redis is raised as StoreAway."""
        try:
            yield self.client
        except redis.RedisError as error:
            raise store_away(error, self.place) from error
        except UnicodeError as error:  # an impossible host name, for example with two dots in a row
            raise StoreAway("unreachable", self.place, str(error)) from error

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def open_link(settings: AlertSettings) -> RedisLink:
    """Return a link to the Redis of these settings; it connects with its first command."""
    try:
        options: dict[str, Any] = parse_url(settings.redis_url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise BadInput(f"alerts.redis_url {without_credentials(settings.redis_url)}: {error}") from error
    if settings.password_file is not None:
        options.pop("password", None)
        options["credential_provider"] = PasswordFile(Path(settings.password_file), options.pop("username", None))
    limits = {"socket_timeout": settings.timeout_s, "socket_connect_timeout": settings.timeout_s}
    retry = Retry(ExponentialBackoff(LONGEST_PAUSE_S, FIRST_PAUSE_S), RETRIES)
    pool = ConnectionPool(**options | limits, retry=retry, health_check_interval=HEALTH_CHECK_EVERY_S, protocol=2)
    return RedisLink(redis.Redis.from_pool(pool), without_credentials(settings.redis_url))


def store_away(error: redis.RedisError, place: str) -> StoreAway:
    """Return the StoreAway for an error, with its cause by name and Redis's own words."""
    for kind, state in KINDS:
        if isinstance(error, kind):
            return StoreAway(state, place, str(error))
    found = CODE.search(str(error))
    if found is None or found[1] not in CODES:
        return StoreAway("refused", place, str(error))
    return StoreAway(CODES[found[1]], place, found[2])


def without_credentials(url: str) -> str:
    """Return the address without user, password and options."""
    return USER.sub("//", url.partition("?")[0])  # no URL parser: an address may be shown here because it cannot be parsed
