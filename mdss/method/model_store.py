"""The model store: folders `<root>/<recipe>/<version>/`, with `champion`, `previous` and `candidate` as atomic links beside them.

A version is written whole or not at all and never changes. Every change to a recipe's models happens under the recipe's lock and is noted
in its audit. Reading needs neither.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mdss import audit
from mdss.errors import BadInput, MdssError, ModelRefused, champion_expected
from mdss.folder_names import RULE, is_folder_name
from mdss.method import store_files
from mdss.method.calibration import Calibration
from mdss.method.recipe import Recipe
from mdss.method.store_files import CALIBRATION, CARD, FORMAT
from mdss.method.store_lock import LOCK, file_lock
from mdss.whole_files import as_json, named_as

CHAMPION, PREVIOUS, CANDIDATE = "champion", "previous", "candidate"
LINKS = (CHAMPION, PREVIOUS, CANDIDATE)
INCOMING = ".incoming-"  # prefix of folders that are still being written
VERSION = re.compile(r"[0-9]{4,}")
PROMOTIONS = ("train", "retrain", "calibrate", "promote", "rollback")  # what the audit calls a change of the champion


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """How a model came to be, for people, and the recipe that it runs with. What an earlier release did not write is empty."""

    schema: str = FORMAT
    name: str
    version: str = ""
    recipe: Recipe
    made_at: str
    code_version: str
    data: dict[str, Any] = {}  # folder, unit, and the numbers and names of scans
    teacher: dict[str, Any] = {}
    training: dict[str, Any] = {}  # of each branch: steps, seconds, last loss; the device
    sizes: dict[str, int] = {}  # count of numbers in each branch's weights
    seeds: dict[str, int] = {}  # of everything random
    metrics: dict[str, Any] = {}  # what good validation parts score, and the threshold that follows
    seconds: dict[str, float] = {}  # of each step: reading, rgb, sdf, calibration
    derived_from: str = ""  # the version that these weights come from, if they were not trained for this one
    imported_from: str = ""  # version and digest in the store that it came from, if it got another version here


@dataclass(frozen=True)
class ModelFolder:
    """One verified model."""

    path: Path
    name: str
    version: str
    digest: str
    card: ModelCard
    calibration: Calibration

    @property
    def recipe(self) -> Recipe:
        """The settings that the model was trained with and runs with."""
        return self.card.recipe


@dataclass(frozen=True)
class Change:
    """Why the champion changes, for the audit. With `instead_of`, it changes only if that version is still the champion; "" is none."""

    what: str = "promote"
    why: str = ""
    instead_of: str | None = None


PROMOTION = Change()


def open_champion(store: Path, name: str) -> ModelFolder:
    """Return the recipe's champion, verified. ModelRefused says what is missing or damaged."""
    folder = recipe_folder(store, name)
    link = folder / CHAMPION
    with store_files.readable(link):
        refuse_champion_folder(folder)
        version = linked_version(folder, CHAMPION)
        if version is None or not link.is_dir():
            raise ModelRefused(f"{link}: no such model; {_expected_champion(store, name)}")
        if not VERSION.fullmatch(version):
            raise ModelRefused(f"{link}: found a link to {version}, expected one to a version beside it")
        return open_version(folder / version)


def _expected_champion(store: Path, name: str) -> str:
    if store.is_dir() and versions(store):
        return f"{store} holds the versions of one recipe, expected the store above it, {store.absolute().parent}"
    return champion_expected(store, name)


def champion_of(store: Path, name: str) -> ModelFolder | None:
    """Return the recipe's champion, verified; None if it has none yet."""
    has_one = linked_version(recipe_folder(store, name), CHAMPION) is not None
    return open_champion(store, name) if has_one else None


def refuse_champion_folder(folder: Path) -> None:
    """Raise ModelRefused where a recipe's `champion` is a folder instead of a link: no promotion can put a link in its place."""
    link = folder / CHAMPION
    if link.is_dir() and not link.is_symlink():
        found = f"{link}: found a folder, expected a link to a version beside it, which some ways of copying a store lose"
        raise ModelRefused(f"{found}; remove the folder, and promote a version with `mdss model promote`")


def open_stored(store: Path, name: str, version: str) -> ModelFolder:
    """Return a version of a recipe, verified. BadInput names the versions that exist, or the recipes that have some."""
    folder = recipe_folder(store, name)
    if not VERSION.fullmatch(version) or not (folder / version).is_dir():
        known = ", ".join(each.name for each in versions(folder)) if folder.is_dir() else ""
        others = ", ".join(recipes(store)) or "there is none"
        expected = f"one of {known}" if known else f"a recipe with models: {others}"
        raise BadInput(f"model {name} {version}: no such version in {folder}; expected {expected}")
    return open_version(folder / version)


def open_version(path: Path) -> ModelFolder:
    """Return the model of a version's folder, after checking every file's checksum and that the card belongs to this folder."""
    model = open_anywhere(path)
    if (model.name, model.version) != (path.parent.name, path.name):
        found = f"found the card of {model.name} {model.version or 'without a version'}"
        raise ModelRefused(f"{path / CARD}: {found}, expected that of {path.parent.name} {path.name}; the folder was put there by hand")
    return model


def open_anywhere(path: Path) -> ModelFolder:
    """Return the model of a folder that is not, or not yet, in a store; only the files are checked."""
    with store_files.readable(path):
        store_files.check_files(path)
        store_files.check_schema(path / CARD)
        card, calibration = store_files.decode(path / CARD, ModelCard), store_files.decode(path / CALIBRATION, Calibration)
        return ModelFolder(path, card.name, card.version, store_files.digest_of(path), card, calibration)


def save(store: Path, card: ModelCard, calibration: Calibration, write_files: Callable[[Path], None]) -> ModelFolder:
    """Store a new version, whole or not at all; `write_files` writes weights and reports into the folder that it is given."""

    def write(partial: Path, version: str) -> None:
        write_files(partial)
        (partial / CALIBRATION).write_bytes(as_json(calibration))
        (partial / CARD).write_bytes(as_json(msgspec.structs.replace(card, version=version)))
        store_files.write_sums(partial)

    return add_version(recipe_folder(store, card.name), write)


def add_version(folder: Path, write: Callable[[Path, str], None], wanted: str = "") -> ModelFolder:
    """Add a version to a recipe: the wanted one if it is free, otherwise the next; `write` fills the folder that it is given."""
    folder.mkdir(parents=True, exist_ok=True)
    with recipe_lock(folder, "storing a model"):
        for left in folder.glob(f"{INCOMING}*"):  # of a writer that was killed: nobody else can be writing under this lock
            shutil.rmtree(left, ignore_errors=True)
        numbers = [int(version) for version in _known_versions(folder)]
        is_free = VERSION.fullmatch(wanted) and int(wanted) not in numbers
        version = wanted if is_free else f"{1 + max(numbers, default=0):04d}"
        partial = folder / f"{INCOMING}{os.getpid()}"
        partial.mkdir()
        try:
            with named_as(folder, partial):
                write(partial, version)
                store_files.flush_tree(partial)
                partial.rename(folder / version)
                store_files.flush_one(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return open_version(folder / version)


def _known_versions(folder: Path) -> list[str]:
    """Return the versions in the folder and in the audit: a number that once judged must never name another model."""
    return [path.name for path in versions(folder)] + [event.after for event in audit.events(folder) if VERSION.fullmatch(event.after)]


def recipe_lock(folder: Path, doing: str) -> AbstractContextManager[None]:
    """Hold the lock on a recipe's models. StoreBusy if another process holds it for too long."""
    return file_lock(folder / LOCK, doing)


def versions(folder: Path) -> list[Path]:
    """Return the version folders of a recipe, oldest first."""
    return sorted((path for path in folder.iterdir() if VERSION.fullmatch(path.name) and path.is_dir()), key=lambda path: int(path.name))


def recipes(store: Path) -> list[str]:
    """Return the recipes that the store holds models of; the lost+found of a disk, which may be closed to this user, is none."""
    folders = [path for path in store.iterdir() if is_folder_name(path.name) and path.is_dir()] if store.is_dir() else []
    return sorted(path.name for path in folders if versions(path))


def promote(store: Path, name: str, version: str, change: Change = PROMOTION) -> ModelFolder:
    """Verify a version and make it the champion; the champion before becomes `previous`, and a promoted candidate is one no longer."""
    folder, model = recipe_folder(store, name), open_stored(store, name, version)
    with recipe_lock(folder, f"making {version} the champion"):
        before = linked_version(folder, CHAMPION)
        if change.instead_of not in (None, before or ""):
            expected = f"expected {change.instead_of or 'none'} as when the {change.what} of {version} began"
            raise MdssError(f"model {name}: found {before or 'none'} as the champion, {expected}; nothing was changed")
        if before not in (None, version) and (folder / before).is_dir():  # one that is gone is nothing to go back to
            _link(folder, PREVIOUS, before)
        _link(folder, CHAMPION, version)
        if linked_version(folder, CANDIDATE) == version:
            (folder / CANDIDATE).unlink()
            store_files.flush_one(folder)
        audit.record(folder, change.what, (before, version), change.why)
    return model


def rollback(store: Path, name: str, why: str = "") -> ModelFolder:
    """Make the previous champion the champion again."""
    folder = recipe_folder(store, name)
    now, before = (linked_version(folder, link) for link in (CHAMPION, PREVIOUS))
    if before is not None and before == now:  # a promotion ended between its two links
        before = _champion_before(folder, now)
    if before is None:
        raise BadInput(f"model {name}: found no previous champion in {store / name}; expected one to roll back to")
    return promote(store, name, before, Change("rollback", why, instead_of=now))


def _champion_before(folder: Path, champion: str) -> str | None:
    """Return the version that the champion replaced when it became champion, by the audit; None if it replaced none."""
    changes = [event for event in audit.events(folder) if event.what in PROMOTIONS and event.after == champion != event.before]
    return changes[-1].before or None if changes else None


def nominate(store: Path, name: str, version: str, why: str = "") -> ModelFolder:
    """Verify a version and make it the candidate; it judges nothing until somebody promotes it."""
    folder, model = recipe_folder(store, name), open_stored(store, name, version)
    with recipe_lock(folder, f"making {version} the candidate"):
        before = linked_version(folder, CANDIDATE)
        _link(folder, CANDIDATE, version)
        audit.record(folder, CANDIDATE, (before, version), why)
    return model


def linked_version(folder: Path, link: str) -> str | None:
    """Return the version that `champion`, `previous` or `candidate` points to; None without such a link."""
    path = folder / link
    return str(path.readlink()) if path.is_symlink() else None


def _link(folder: Path, name: str, version: str) -> None:
    partial = folder / f".{name}-{os.getpid()}"
    partial.unlink(missing_ok=True)
    partial.symlink_to(version)
    partial.replace(folder / name)
    store_files.flush_one(folder)


def recipe_folder(store: Path, name: str) -> Path:
    """Return the folder of a recipe's models. BadInput for a name that is not safe in a path and in a topic."""
    if not is_folder_name(name):
        raise BadInput(f"recipe {name!r}: expected {RULE}")
    return store / name
