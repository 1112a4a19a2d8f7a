"""The family of errors that have a sentence for a person."""

from __future__ import annotations

from typing import Final

import msgspec

# What decoding JSON or msgpack raises for bytes that are none: RecursionError for brackets within brackets without end.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class MdssError(Exception):
    """Anything this project refuses or cannot do; its text is one sentence for the person who can mend it."""


class BadInput(MdssError):
    """A file, field or argument is wrong: the text names it, what was found and what was expected."""


class BadPart(MdssError):
    """A scan that cannot be judged; `code` is the verdict's."""

    code: Final = "BAD_CLOUD"


class ModelRefused(MdssError):
    """A model folder is missing, corrupted or foreign: the text names the file."""


class CutOff(MdssError):
    """Something outside ended what was going well; begun again, it goes on from there."""
