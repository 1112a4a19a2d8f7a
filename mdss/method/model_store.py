"""Versioned model folders: `<root>/<recipe>/<version>/`, with `champion` and `previous` as atomic links beside them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mdss.errors import BadInput, ModelRefused
from mdss.method.calibration import Calibration
from mdss.method.recipe import Recipe

FORMAT = "mdss.model.v1"
CARD, CALIBRATION, SUMS = "model.json", "calibration.json", "SHA256SUMS"
CHAMPION, PREVIOUS = "champion", "previous"
VERSION = re.compile(r"\d{4,}")
SAFE_NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}")
DIGEST_LENGTH = 16
Decoded = TypeVar("Decoded")


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """How a model came to be, for people, and the recipe that it runs with."""

    schema: str = FORMAT
    name: str
    version: str = ""
    recipe: Recipe
    made_at: str
    code_version: str
    data: dict[str, Any] = {}  # folder, unit, numbers of scans
    teacher: dict[str, Any] = {}
    training: dict[str, Any] = {}  # seconds, last losses, brightness


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
        """The settings that the model was trained and runs with."""
        return self.card.recipe


def open_champion(store: Path, name: str) -> ModelFolder:
    """Return the recipe's champion, verified; ModelRefused says what is missing or damaged."""
    link = recipe_folder(store, name) / CHAMPION
    with _readable(link):
        if not link.is_dir():
            raise ModelRefused(f"{link}: no such model; expected one made by `mdss train --recipe {name} --out {store}`")
        return open_version(link.resolve())


def open_version(path: Path) -> ModelFolder:
    """Return the model of a folder after checking every file against its checksum."""
    with _readable(path):
        return _verified(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say which file the disk, or this user's rights, keep from being read."""
    try:
        yield
    except OSError as error:
        raise ModelRefused(
            f"{error.filename or path}: cannot be read ({error.strerror}); expected a model that this user may read"
        ) from error


def _verified(path: Path) -> ModelFolder:
    sums = _read_sums(path)
    for weights in sorted(path.glob("*.safetensors")):
        if weights.name not in sums:
            raise ModelRefused(f"{weights}: found no checksum of it in {SUMS}; expected weights that can be verified")
    for name, expected in sums.items():
        file = path / name
        if not file.is_file():
            raise ModelRefused(f"{file}: no such file; expected it, as {SUMS} names it")
        found = _sha256(file)
        if found != expected:
            raise ModelRefused(f"{file}: found the checksum {found[:12]}..., expected {expected[:12]}...; the file was damaged or replaced")
    card, calibration = _decode(path / CARD, ModelCard), _decode(path / CALIBRATION, Calibration)
    if card.schema != FORMAT:
        raise ModelRefused(f"{path / CARD}: found schema {card.schema!r}, expected {FORMAT!r}")
    digest = hashlib.sha256((path / SUMS).read_bytes()).hexdigest()[:DIGEST_LENGTH]
    return ModelFolder(path, card.name, card.version, digest, card, calibration)


def save(store: Path, card: ModelCard, calibration: Calibration, write_files: Callable[[Path], None]) -> ModelFolder:
    """Store a new version, whole or not at all; `write_files` puts weights and reports into the folder it is given."""
    folder = recipe_folder(store, card.name)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".incoming-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        write_files(partial)
        return _publish(folder, partial, card, calibration)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _publish(folder: Path, partial: Path, card: ModelCard, calibration: Calibration) -> ModelFolder:
    """Name the folder by the next free version; another writer that takes the same one makes this one take the next."""
    _write_json(partial / CALIBRATION, calibration)
    while True:
        version = f"{1 + max((int(path.name) for path in versions(folder)), default=0):04d}"
        _write_json(partial / CARD, msgspec.structs.replace(card, version=version))
        files = sorted(path for path in partial.rglob("*") if path.is_file() and path.name != SUMS)
        lines = [f"{_sha256(file)}  {file.relative_to(partial)}" for file in files]
        (partial / SUMS).write_text("\n".join(lines) + "\n", "utf-8")
        try:
            partial.rename(folder / version)
        except OSError:
            if not (folder / version).exists():
                raise
            continue
        return open_version(folder / version)


def versions(folder: Path) -> list[Path]:
    """Return the version folders of a recipe, oldest first."""
    return sorted(path for path in folder.iterdir() if VERSION.fullmatch(path.name) and path.is_dir())


def recipes(store: Path) -> list[str]:
    """Return the recipes that the store has models of."""
    return sorted(path.name for path in store.iterdir() if path.is_dir() and versions(path)) if store.is_dir() else []


def promote(store: Path, name: str, version: str) -> ModelFolder:
    """Make a version the champion after verifying it; the champion before stays as `previous`."""
    folder = recipe_folder(store, name)
    path = folder / version
    if not VERSION.fullmatch(version) or not path.is_dir():
        known = ", ".join(each.name for each in versions(folder)) if folder.is_dir() else "none"
        raise BadInput(f"model {name} {version}: no such version in {folder}; expected one of {known}")
    model = open_version(path)
    before = linked_version(folder, CHAMPION)
    if before not in (None, version):
        _link(folder, PREVIOUS, str(before))
    _link(folder, CHAMPION, version)
    return model


def rollback(store: Path, name: str) -> ModelFolder:
    """Make the previous champion the champion again."""
    before = linked_version(recipe_folder(store, name), PREVIOUS)
    if before is None:
        raise BadInput(f"model {name}: found no previous champion in {store / name}; expected one to roll back to")
    return promote(store, name, before)


def linked_version(folder: Path, link: str) -> str | None:
    """Return the version that `champion` or `previous` points to."""
    path = folder / link
    return str(path.readlink()) if path.is_symlink() else None


def _link(folder: Path, name: str, version: str) -> None:
    partial = folder / f".{name}-{os.getpid()}"
    partial.unlink(missing_ok=True)
    partial.symlink_to(version)
    partial.replace(folder / name)


def recipe_folder(store: Path, name: str) -> Path:
    """Return where the models of a recipe lie; BadInput for a name that is not safe in a path and in a topic."""
    if not SAFE_NAME.fullmatch(name) or name.startswith("."):
        raise BadInput(f"recipe {name!r}: expected 1 to 64 of the characters A-Z a-z 0-9 . _ : -, not beginning with a dot")
    return store / name


def _read_sums(path: Path) -> dict[str, str]:
    sums = path / SUMS
    if not sums.is_file():
        raise ModelRefused(f"{sums}: no such file; expected a model folder with the checksums of its files")
    pairs = [line.split("  ", 1) for line in sums.read_text("utf-8", errors="replace").splitlines()]
    if any(len(pair) != 2 for pair in pairs) or not {CARD, CALIBRATION} <= {pair[-1] for pair in pairs}:
        raise ModelRefused(f"{sums}: expected lines of a checksum and a file, among them {CARD} and {CALIBRATION}")
    return {name: digest for digest, name in pairs}


def _decode(path: Path, kind: type[Decoded]) -> Decoded:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ModelRefused(f"{path}: {error}; expected a model of this release ({FORMAT})") from error


def _write_json(path: Path, value: msgspec.Struct) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value)) + b"\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
