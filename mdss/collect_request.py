"""Requests that the station keep every scan of a recipe for a while: a file with an end time, so that nobody has to withdraw it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from mdss.errors import UNREADABLE
from mdss.whole_files import write_whole

FOLDER: Final = "collect_all"  # in the state directory
LOOK_EVERY_S: Final = 1.0
# requests are for a minute and are renewed; one that reaches further ahead than this was made under another clock
LONGEST_NS: Final = 600 * 10**9


class CollectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Until when every part of a recipe is requested, UTC."""

    until_ns: int


def request_all(state: Path, recipe: str, until_ns: int) -> None:
    """Request every part of a recipe until this time (UTC ns); another request moves the end."""
    write_whole(request_path(state, recipe), msgspec.json.encode(CollectRequest(until_ns=until_ns)))


def withdraw_request(state: Path, recipe: str) -> None:
    """Withdraw a request."""
    request_path(state, recipe).unlink(missing_ok=True)


def request_path(state: Path, recipe: str) -> Path:
    """Return the file of a request; another process that asks for the same recipe withdraws it, too."""
    return state / FOLDER / f"{recipe}.json"


class CollectRequests:
    """Tells the process that hands out scans whether every part of a recipe is requested; each request is read once a second."""

    def __init__(self, state: Path, clock_ns: Callable[[], int] = time.time_ns, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._state, self._clock_ns, self._steady_s = state, clock_ns, steady_s
        self._until_ns: dict[str, int] = {}
        self._look_at_s: dict[str, float] = {}

    def is_requested(self, recipe: str) -> bool:
        """Return whether every part of a recipe is requested now."""
        now_s = self._steady_s()
        if now_s >= self._look_at_s.get(recipe, 0.0):
            self._look_at_s[recipe] = now_s + LOOK_EVERY_S
            self._until_ns[recipe] = self._read(recipe)
        return 0 < self._until_ns[recipe] - self._clock_ns() < LONGEST_NS

    def _read(self, recipe: str) -> int:
        with suppress(OSError, *UNREADABLE):  # an unreadable file requests nothing; whoever wrote it renews it
            return msgspec.json.decode(request_path(self._state, recipe).read_bytes(), type=CollectRequest).until_ns
        return 0
