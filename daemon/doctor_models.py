"""What `mdss doctor` says of the model store: has every recipe a champion, and does each of its files still have its checksum."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from daemon.finding import Case, Finding, bad, is_folder, ok, weak
from daemon.stored_models import CHAMPION
from mdss.errors import MdssError
from mdss.method import store_files

WHY: Final = "no part of this recipe can be judged by a model that is missing or damaged, and the station does not start without any"


class Card(msgspec.Struct, frozen=True):
    """Whose model a folder holds."""

    name: str
    version: str


def model_findings(case: Case) -> Iterator[Finding]:
    """Look at the champion of every recipe that frames may name."""
    store, recipes = Path(case.settings.models.store), case.settings.models.recipes
    is_there = any(is_folder(store / recipe) for recipe in recipes)
    first = "" if is_there else "mount the disk of models.store, if it has one of its own; else "
    for recipe in recipes:
        subject, folder = f"model {recipe}", store / recipe / CHAMPION
        try:
            count = check(folder)
        except MdssError as error:
            yield bad(subject, str(error), WHY, f"{first}train it, or mdss model rollback --store {store} --recipe {recipe}")
        else:
            yield ok(subject, f"{folder.resolve()}: {count} files have their checksums")
    yield from not_taken(case)


def not_taken(case: Case) -> Iterator[Finding]:
    """Say which recipes the running station judges by another version than the champion, and why."""
    for report in case.report.models if case.report is not None else ():
        if report.reason:
            found = f"the station judges by {report.version or 'nothing'}: {report.reason}"
            why = "what was promoted has no say, or the next start would be without it"
            advice = f"mend what it names, promote another version, or roll back; after a repair: mdss recipe preload {report.recipe}"
            yield weak(f"champion {report.recipe}", found, why, advice)


def check(folder: Path) -> int:
    """Check every file of a champion against its checksum and its card against its place, and return how many files there are.

    MdssError names the first that is off.
    """
    with store_files.readable(folder):
        if not folder.is_dir():
            raise MdssError(f"{folder}: found no model, expected the recipe's champion")
        count = store_files.check_files(folder)
        _check_card(folder)
        return count


def _check_card(folder: Path) -> None:
    """Refuse a model of another release, and one that was put in another's place."""
    version = folder.readlink().name if folder.is_symlink() else folder.name
    expected, path = Card(folder.parent.name, version), folder.parent / version / store_files.CARD
    store_files.check_schema(path)
    found = store_files.decode(path, Card)
    if found != expected:
        raise MdssError(f"{path}: found the card of {found.name} {found.version}, expected that of {expected.name} {version}")
