"""The errors of this project; each carries one sentence for a person."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

# What decoding raises for bytes that are no JSON or msgpack; RecursionError stands for endlessly nested brackets.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def legible(text: str) -> str:
    """Return a text with characters that a terminal would obey, or not show, replaced by their escapes: the writer may mean harm."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def some_of(names: Sequence[str], most: int) -> str:
    """Return the first `most` names for a sentence, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def written_out(value: float, digits: int = 4) -> str:
    """Return a number rounded to so many digits as people write it: 95320 and 0.00001234, not 9.532e+04 and 1.234e-05.

    What has more than fifteen zeros keeps its exponent: nobody counts them.
    """
    short = f"{value:.{digits}g}"
    return f"{Decimal(short):f}" if "e" in short and 1e-15 < abs(value) < 1e15 else short


def champion_expected(store: Path, recipe: str) -> str:
    """Return the end of the sentence on a recipe without a champion: how one is made."""
    trained = f"`mdss train --recipe {recipe} --out {shlex.quote(str(store))}`"
    return f"expected one made by {trained}, or a stored version made champion by `mdss model promote`"


class MdssError(Exception):
    """Anything this project refuses or cannot do; its text is one legible sentence for the person who can fix it."""

    may_pass = False  # whether a process that it ended is started again for as long as it lasts, such as a full disk

    def __init__(self, sentence: str = "") -> None:
        super().__init__(legible(sentence))


class BadInput(MdssError):
    """A file, field or argument is wrong: the text names it, what was found and what was expected."""


class AddressTaken(BadInput):
    """An address cannot be opened because somebody else has it, or its network is down: later it may be free."""


class BadPart(MdssError):
    """A scan that cannot be judged; `code` is the code of its verdict."""

    code: Final = "BAD_CLOUD"


class ModelRefused(MdssError):
    """A model folder is missing, damaged or not ours: the text names the file."""


class ModelUnreadable(ModelRefused):
    """A file of a model that this user may not read, or that the disk does not give: nothing says that it is damaged."""


class CutOff(MdssError):
    """Something outside interrupted work that was going well; started again, the work continues from there."""
