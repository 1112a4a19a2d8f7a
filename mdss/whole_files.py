"""Writes files and folders so that a crash or power cut never leaves them half written."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

ROOT = 0  # the user who can write anywhere without needing a link
# where the content of an existing folder is prepared, inside that folder; nobody else uses this name
PARTIAL_NAME = ".mdss.partial"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically and create the folders above it; on OSError the old file stays.

    Anything that is no plain file, such as a pipe, is written directly. A link is followed, but another user's link is replaced.
    """
    leads_on = _leads_on(path)
    if (leads_on or not path.is_symlink()) and path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = path.resolve() if leads_on else path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{os.getpid()}.partial")
    with named_as(path, partial):
        try:
            write_durably(partial, content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _leads_on(path: Path) -> bool:
    """Return whether a path is a link to follow: one put there by this user, the folder's owner or root; others' may lead anywhere."""
    return path.is_symlink() and path.lstat().st_uid in (ROOT, os.geteuid(), path.parent.stat().st_uid)


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON, atomically."""
    write_whole(path, as_json(value))


def as_json(value: object) -> bytes:
    """Return a value as indented JSON with a line end."""
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a hidden folder that becomes `path` when the block ends; if the block fails, nothing stays. Nothing may be there yet.

    Leftovers of a writer that was killed are removed by the next one; OSError if another writer is at work.
    """
    partial = path.with_name(f".{path.name}.partial")
    with _claiming(path, partial):
        yield partial
        partial.rename(path)


@contextmanager
def filled_folder(path: Path) -> Iterator[Path]:
    """Yield a hidden folder that becomes `path`, or whose content goes into `path` where that is a folder already, and `is_free`.

    Such a folder may be a mount, or somebody's current one, so it is not replaced. Only a crash while it is filled leaves a part in it.
    """
    if not path.is_dir():
        with whole_folder(path) as partial:
            yield partial
        return
    partial = path / PARTIAL_NAME
    with _claiming(path, partial):
        yield partial
        for each in sorted(partial.iterdir()):
            each.rename(path / each.name)


@contextmanager
def _claiming(path: Path, partial: Path) -> Iterator[None]:
    """Claim the hidden folder for what becomes `path`; what is still in it when the block ends is removed."""
    with named_as(path, partial):
        claim = _claimed(partial)
    try:
        yield
    finally:
        if _is_named(claim, partial):  # otherwise it is in its place, and its name may be another writer's already
            shutil.rmtree(partial, ignore_errors=True)
        os.close(claim)


def is_free(path: Path) -> bool:
    """Return whether a path is free for a new folder: nothing is there, or a folder with nothing but a killed writer's leftovers."""
    return not path.exists() or (path.is_dir() and all(each.name == PARTIAL_NAME for each in path.iterdir()))


def _claimed(folder: Path) -> int:
    """Create or empty a folder and return a descriptor that locks it; the kernel releases the lock if the process is killed.

    A link in its place is refused, because what it leads to would be emptied: a user of the group may put one among the kept scans.
    """
    folder.mkdir(parents=True, exist_ok=True)
    claim = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        _lock(claim, folder)
        for left in list(os.scandir(claim)):
            shutil.rmtree(left.name, dir_fd=claim) if left.is_dir(follow_symlinks=False) else os.unlink(left.name, dir_fd=claim)
    except OSError:
        os.close(claim)
        raise
    return claim


def _lock(claim: int, folder: Path) -> None:
    """Lock an open folder; OSError if another writer holds it, or has put it in its place since it was opened."""
    with suppress(BlockingIOError):
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_named(claim, folder):
            return
    raise OSError(errno.EBUSY, "another process is writing it", str(folder))


def _is_named(claim: int, folder: Path) -> bool:
    """Return whether this path still leads to the folder that was opened by it."""
    try:
        return os.path.samestat(os.fstat(claim), folder.stat())
    except FileNotFoundError:
        return False


@contextmanager
def named_as(path: Path, hidden: Path) -> Iterator[None]:
    """Make OSError name the requested path if it names nothing, as on a full disk, or names the hidden path being written."""
    try:
        yield
    except OSError as error:
        named = [Path(str(each)) for each in (error.filename, error.filename2) if each is not None]
        if error.errno is None or (named and not any(each.is_relative_to(hidden) for each in named)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_durably(path: Path, content: bytes | bytearray) -> None:
    """Write a file and flush it to disk, so that it is complete after a power cut once it is renamed; a link in its place is refused."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666)) as file:
        file.write(content)
        flush(file)


def flush(file: BinaryIO) -> None:
    """Flush to disk what was written to a file."""
    file.flush()
    os.fsync(file.fileno())
