"""What the project's pages say: the commands and the files that they name."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click

from mdss import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((*ROOT.glob("*.md"), *(page for folder in ("bench", "deploy", "docs") for page in (ROOT / folder).rglob("*.md"))))


def place(path: Path) -> str:
    """Return a path as a page would name it."""
    return path.relative_to(ROOT).as_posix()


def verb_of(words: list[str]) -> click.Command:
    """Return the command that `mdss ...` runs; fails where there is no such verb."""
    module, _, attribute = cli.VERBS[words[0]][0].partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    for word in words[1:]:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        command = command.commands[word]
    return command


def words_below(words: list[str]) -> Iterator[list[str]]:
    """Yield a verb and everything below it."""
    yield words
    command = verb_of(words)
    if isinstance(command, click.Group):
        for name in command.commands:
            yield from words_below([*words, name])


def options_of(command: click.Command) -> set[str]:
    """Return the options that a command takes."""
    return {option for parameter in command.params for option in parameter.opts} | {"--help"}


def commands_in(text: str) -> list[list[str]]:
    """Return the words of each `mdss VERB ...` in a text."""
    found = re.findall(r"(?:bin/|`|^ *|\"|-- )mdss +([a-z][^\n`;&|]*)", text, re.MULTILINE)
    return [re.split(r"\s+", words.strip()) for words in found]


def links_in(text: str) -> list[tuple[str, str]]:
    """Return file and heading of every link that leads to the project's own files; either may be empty."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    pairs = [target.partition("#") for target in targets if "://" not in target]
    return [(file, heading) for file, _, heading in pairs]


def chapter(heading: str, page: Path = ROOT / "docs" / "operations.md") -> str:
    """Return what a page says below a heading, down to the next heading of any level; fails where there is no such heading."""
    below = re.split(rf"^#+ {re.escape(heading)}$", page.read_text("utf-8"), maxsplit=1, flags=re.MULTILINE)[1]
    return re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]


def headings_of(path: Path) -> set[str]:
    """Return the headings of a page as links name them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
