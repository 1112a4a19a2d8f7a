"""Numbers in the words of a command: what is none is refused before the verb does anything."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click
import pytest

from mdss.cli import VERBS, main
from mdss.verb_options import FiniteRange


def verbs() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is none of verbs, with the words that name it."""
    for verb, (place, _) in VERBS.items():
        module, _, name = place.partition(":")
        found = getattr(importlib.import_module(module), name)
        inner = found.commands.items() if isinstance(found, click.Group) else ()
        yield from ((f"{verb} {word}", each) for word, each in inner) if inner else [(verb, found)]


def test_every_number_of_every_verb_is_one_between_two_ends() -> None:
    fractions = {
        (words, each.name): each.type
        for words, verb in verbs()
        for each in verb.params
        if isinstance(each.type, click.types.FloatParamType)
    }
    assert ("calibrate", "margin") in fractions and ("replay", "timeout_s") in fractions
    assert [place for place, kind in fractions.items() if not isinstance(kind, FiniteRange)] == []


@pytest.mark.parametrize(
    ("option", "found"), [("--margin", "nan"), ("--false-reject-rate", "NaN"), ("--days", "nan"), ("--days", "inf"), ("--days", "1e300")]
)
def test_what_is_no_number_is_refused_and_no_model_is_stored(option: str, found: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--recipe", "a", "--store", "nowhere", option, found]) == 2
    assert f"Invalid value for '{option}'" in capsys.readouterr().err


def test_numbers_are_taken_with_their_ends() -> None:
    assert [FiniteRange(0, 1).convert(each, None, None) for each in ("0", "0.25", "1")] == [0, 0.25, 1]
