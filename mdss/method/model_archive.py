"""A model as one file, to carry it to another store: a plain tar of the files that its checksums name, `<recipe>/<version>/<file>`.

The sender of a file is not trusted. Only regular files are taken, only below that folder, and only up to limits on their number and size.
Nothing gets a name in the store before every checksum is right. A model keeps its version if that is free in this store. Otherwise it
gets the next one: then the card is rewritten and has another line in SHA256SUMS, all other files stay, and the card keeps the version and
digest that it came with (`imported_from`).
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from mdss import audit
from mdss.errors import ModelRefused
from mdss.folder_names import is_folder_name
from mdss.method import model_store, store_files
from mdss.method.model_store import VERSION, ModelFolder
from mdss.method.store_files import CARD, SUMS
from mdss.whole_files import as_json, flush, named_as

BLOCK = tarfile.BLOCKSIZE
MOST_FILES, MOST_FILE_BYTES, MOST_BYTES = 1000, 2 << 30, 4 << 30
MOST_FOLDERS = 3  # nested, below the model's folder
SAFE_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
EXPECTED = "expected an archive as `mdss model export` writes it"


@dataclass(frozen=True)
class Imported:
    """The model in this store, and whether this import added it."""

    model: ModelFolder
    is_new: bool


@dataclass(frozen=True)
class Member:
    """One file of an archive; its content comes next in the stream."""

    recipe: str
    version: str
    path: str  # below the model's folder
    size: int


class _AlreadyHere(Exception):
    """Ends an import whose model the store has already."""

    def __init__(self, model: ModelFolder) -> None:
        super().__init__()
        self.model = model


def export_model(model: ModelFolder, to: Path) -> None:
    """Write a verified model into one file, whole or not at all. The same model always gives the same bytes."""
    partial = to.with_name(f".{to.name}-{os.getpid()}")
    with named_as(to, partial):
        try:
            with partial.open("wb") as file:
                _write(file, model)
                flush(file)
            partial.replace(to)
        finally:
            partial.unlink(missing_ok=True)


def _write(file: BinaryIO, model: ModelFolder) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted([*store_files.read_sums(model.path), SUMS]):
            info = tarfile.TarInfo(f"{model.name}/{model.version}/{name}")
            info.size = (model.path / name).stat().st_size
            with (model.path / name).open("rb") as content:
                archive.addfile(info, content)


def import_model(store: Path, path: Path, why: str = "") -> Imported:
    """Store an archive's model as a version of its recipe, without promoting it. ModelRefused says what is wrong with the file."""
    try:
        with path.open("rb") as file:
            return _import(store, file, f"{path.name}: {why}" if why else path.name)
    except ModelRefused as refused:
        raise ModelRefused(f"{path}: {refused}") from refused


def _import(store: Path, file: BinaryIO, why: str) -> Imported:
    members = _members(file)
    first = next(members, None)
    if first is None:
        raise ModelRefused(f"found no files, {EXPECTED}")
    folder = model_store.recipe_folder(store, first.recipe)

    def write(partial: Path, version: str) -> None:
        _unpack(file, first, partial)
        for member in members:
            if (member.recipe, member.version) != (first.recipe, first.version):
                raise ModelRefused(
                    f"found files of {member.recipe} {member.version} and {first.recipe} {first.version}, expected one model"
                )
            _unpack(file, member, partial)
        _accept(partial, version, first, folder)

    try:
        model = model_store.add_version(folder, write, wanted=first.version)
    except _AlreadyHere as here:
        return Imported(here.model, is_new=False)
    with model_store.recipe_lock(folder, "noting an import"):
        audit.record(folder, "import", (None, model.version), why)
    return Imported(model, is_new=True)


def _accept(partial: Path, version: str, member: Member, folder: Path) -> None:
    """Verify the unpacked files, and write the version that the model gets here into its card."""
    model = _verified(partial)
    if (model.name, model.version) != (member.recipe, member.version):
        raise ModelRefused(f"{CARD}: found the card of {model.name} {model.version}, expected that of {member.recipe} {member.version}")
    for known in model_store.versions(folder):
        if (here := _undamaged(known)) is not None and _identity(here) == _identity(model):
            raise _AlreadyHere(here)
    if version != model.version:
        origin = model.card.imported_from or f"{model.version} {model.digest}"
        (partial / CARD).write_bytes(as_json(msgspec.structs.replace(model.card, version=version, imported_from=origin)))
        store_files.write_sums(partial)


def _verified(partial: Path) -> ModelFolder:
    """Return the model of a folder that holds the listed files and no others; refusals name files as the archive does."""
    try:
        model = model_store.open_anywhere(partial)
    except ModelRefused as refused:
        raise ModelRefused(str(refused).replace(f"{partial}/", "")) from refused
    listed = {*store_files.read_sums(partial), SUMS}
    for name in sorted(str(file.relative_to(partial)) for file in partial.rglob("*") if file.is_file()):
        if name not in listed:
            raise ModelRefused(f"{name}: found no checksum of it in {SUMS}; expected only files that can be verified")
    return model


def _undamaged(version: Path) -> ModelFolder | None:
    """Return a model of the store; None for a damaged one, so that it can be imported again."""
    try:
        return model_store.open_version(version)
    except ModelRefused:
        return None


def _identity(model: ModelFolder) -> str:
    """Return the digest that a model had where it was made, whatever its version here."""
    return model.card.imported_from.rpartition(" ")[2] or model.digest


def _members(file: BinaryIO) -> Iterator[Member]:
    """Yield the archive's files; the caller reads the bytes of each before the next. Headers for longer names or sizes are refused."""
    count = total = 0
    while (info := _header(file)) is not None:
        if info.type == tarfile.DIRTYPE and info.size == 0:
            continue
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise ModelRefused(f"{info.name!r}: found a link, a device or another kind of entry ({info.type!r}); expected regular files")
        member = _member(info)
        count, total = count + 1, total + member.size
        if count > MOST_FILES or not 0 <= member.size <= MOST_FILE_BYTES or total > MOST_BYTES:
            most = f"at most {MOST_FILES} files of {MOST_FILE_BYTES >> 30} GiB, {MOST_BYTES >> 30} GiB in all"
            raise ModelRefused(f"{member.path}: found file {count} with {member.size} bytes, {total} in all; expected {most}")
        yield member


def _header(file: BinaryIO) -> tarfile.TarInfo | None:
    """Return the next entry's header, or None at the end."""
    block = file.read(BLOCK)
    if block == bytes(BLOCK):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeError) as error:
        raise ModelRefused(f"found a damaged entry or another kind of file ({error}); {EXPECTED}") from error


def _member(info: tarfile.TarInfo) -> Member:
    recipe, version, *parts = info.name.removeprefix("./").split("/") if info.name.count("/") >= 2 else ("", "")
    is_placed = is_folder_name(recipe) and VERSION.fullmatch(version)
    if not is_placed or not 1 <= len(parts) <= MOST_FOLDERS or not all(SAFE_PART.fullmatch(part) for part in parts):
        raise ModelRefused(f"{info.name!r}: found no name of a model's file; expected <recipe>/<version>/<file> of plain characters")
    return Member(recipe, version, "/".join(parts), info.size)


def _unpack(file: BinaryIO, member: Member, folder: Path) -> None:
    target = folder / member.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as written:
            _copy(file, written, member)
    except (FileExistsError, NotADirectoryError) as error:
        raise ModelRefused(f"{member.path}: found it twice, expected each file once; {EXPECTED}") from error
    file.seek(-member.size % BLOCK, os.SEEK_CUR)  # each file is padded to whole blocks


def _copy(file: BinaryIO, written: BinaryIO, member: Member) -> None:
    left = member.size
    while left:
        piece = file.read(min(left, 1 << 20))
        if not piece:
            raise ModelRefused(f"{member.path}: found an archive that ends {left} bytes early; {EXPECTED}")
        written.write(piece)
        left -= len(piece)
