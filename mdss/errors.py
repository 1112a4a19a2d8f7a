"""The family of errors that have a sentence for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

# What decoding JSON or msgpack raises for bytes that are none: RecursionError for brackets within brackets without end.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def legible(text: str) -> str:
    """Return a text in which what a terminal would obey, or not show, stands as its escape: whoever wrote it may mean harm."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def some_of(names: Sequence[str], most: int) -> str:
    """Return the first of some names for a sentence, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


class MdssError(Exception):
    """Anything this project refuses or cannot do; its text is one legible sentence for the person who can mend it."""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(legible(sentence))


class BadInput(MdssError):
    """A file, field or argument is wrong: the text names it, what was found and what was expected."""


class BadPart(MdssError):
    """A scan that cannot be judged; `code` is the verdict's."""

    code: Final = "BAD_CLOUD"


class ModelRefused(MdssError):
    """A model folder is missing, corrupted or foreign: the text names the file."""


class CutOff(MdssError):
    """Something outside ended what was going well; begun again, it goes on from there."""
