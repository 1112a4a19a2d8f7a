"""The files of one model on disk: listed with checksums, flushed before the model gets its name, refused by name if one is damaged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from mdss.errors import UNREADABLE, ModelRefused, ModelUnreadable

FORMAT = "mdss.model.v1"
CARD, CALIBRATION, SUMS = "model.json", "calibration.json", "SHA256SUMS"
DIGEST_LENGTH = 16
Decoded = TypeVar("Decoded")


class Header(msgspec.Struct, frozen=True):
    """What the card of any release begins with."""

    schema: str


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an OSError into a ModelUnreadable that names the file; `path` is the one that is named where the system names none."""
    try:
        yield
    except OSError as error:
        expected = "a model that this user may read" if isinstance(error, PermissionError) else "a model whose files the disk gives"
        raise ModelUnreadable(f"{error.filename or path}: cannot be read ({error.strerror}); expected {expected}") from error


def check_files(folder: Path) -> None:
    """Compare every file with its checksum. ModelRefused names the first that differs, or weights that have no checksum."""
    sums = read_sums(folder)
    for weights in sorted(folder.glob("*.safetensors")):
        if weights.name not in sums:
            raise ModelRefused(f"{weights}: found no checksum of it in {SUMS}; expected weights that can be verified")
    for name, expected in sums.items():
        file = folder / name
        if not file.is_file():
            raise ModelRefused(f"{file}: no such file; expected it, as {SUMS} names it")
        with readable(file):
            found = sha256(file)
        if found != expected:
            raise ModelRefused(f"{file}: found the checksum {found[:12]}..., expected {expected[:12]}...; the file was damaged or replaced")


def read_sums(folder: Path) -> dict[str, str]:
    """Return file -> checksum. ModelRefused if the list is missing, is malformed, or names a file outside of the folder."""
    sums = folder / SUMS
    if not sums.is_file():
        raise ModelRefused(f"{sums}: no such file; expected a model folder with the checksums of its files")
    with readable(sums):
        pairs = [line.split("  ", 1) for line in sums.read_text("utf-8", errors="replace").splitlines()]
    if any(len(pair) != 2 for pair in pairs) or not {CARD, CALIBRATION} <= {pair[-1] for pair in pairs}:
        raise ModelRefused(f"{sums}: expected lines of a checksum and a file, among them {CARD} and {CALIBRATION}")
    outside = [name for _, name in pairs if name.startswith("/") or ".." in PurePosixPath(name).parts]
    if outside:
        raise ModelRefused(f"{sums}: found {outside[0]}, expected only files of this folder")
    return {name: digest for digest, name in pairs}


def write_sums(folder: Path) -> None:
    """Write the list of checksums of all files in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    (folder / SUMS).write_text("\n".join(f"{sha256(file)}  {file.relative_to(folder)}" for file in files) + "\n", "utf-8")


def digest_of(folder: Path) -> str:
    """Return the model's digest: the checksum of its list of checksums."""
    return sha256(folder / SUMS)[:DIGEST_LENGTH]


def check_schema(card: Path) -> None:
    """Refuse a card of another format before the rest of it is read."""
    found = decode(card, Header).schema
    if found != FORMAT:
        raise ModelRefused(f"{card}: found schema {found!r}, expected {FORMAT!r}")


def decode(path: Path, kind: type[Decoded]) -> Decoded:
    """Return the content of a JSON file. ModelRefused names the file and the place in it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except UNREADABLE as error:
        raise ModelRefused(f"{path}: {error}; expected a model that this release can read ({FORMAT})") from error


def sha256(path: Path) -> str:
    """Return a file's checksum in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_tree(path: Path) -> None:
    """Flush a file, or a folder and all that is in it, to disk: what is named afterwards is whole even after a power cut."""
    for each in (*path.rglob("*"), path):
        if not each.is_symlink():
            flush_one(each)


def flush_one(path: Path) -> None:
    """Flush a file's content, or the names in a folder, to disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
