"""What an input may lead to: a value that keeps its promises, or a refusal in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from mdss.errors import MdssError

LONGEST_SENTENCE = 2000  # characters of a refusal: a hostile input must not come back, or go into the log, as a whole
Input = list[list[bytes]]  # multiparts, in order
Feed = Callable[[Input], bool]


@dataclass(frozen=True)
class Target:
    """One part of the real code: `make` returns an input; `feed` returns True if it was accepted, False if it was refused as declared."""

    make: Callable[[Random], Input]
    feed: Feed
    share: float  # of the inputs, when all targets are fed


class BrokenPromise(Exception):
    """A value was returned, but not what the code promises."""


def check(is_kept: bool, promise: str) -> None:
    """Raise BrokenPromise if a promise is not kept."""
    if not is_kept:
        raise BrokenPromise(promise)


def check_sentence(error: MdssError) -> None:
    """Raise BrokenPromise if a refusal is empty, or repeats its input at length."""
    check(0 < len(str(error)) <= LONGEST_SENTENCE, "a refusal is one sentence, and short")
    str(error).encode()
