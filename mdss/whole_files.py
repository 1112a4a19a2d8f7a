"""Files that a power cut leaves as they were or as they were to be, never half written; folders, where their writer is cut off."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

ROOT = 0  # who may write anywhere without a link, too
WITHIN = ".mdss.partial"  # in a folder that is there already, what is written into it; nobody else calls anything so


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place at once, and make the folders above it; where the disk refuses, OSError, and the old one stays.

    What is no plain file, such as a pipe, is written to as it is, and what a link leads to; a link of another user is replaced.
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
    """Return whether a path is a link that its writer, whose the folder is, or root has put there: another's may lead anywhere."""
    return path.is_symlink() and path.lstat().st_uid in (ROOT, os.geteuid(), path.parent.stat().st_uid)


def write_json(path: Path, value: object) -> None:
    """Put a file in its place like this that holds a value as JSON."""
    write_whole(path, as_json(value))


def as_json(value: object) -> bytes:
    """Return the lines of a value as JSON that people read, too."""
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a hidden folder that becomes this one, free so far, when the block ends; of a block that fails nothing stays.

    What a writer left that was killed goes when the next one comes; OSError where another is at it.
    """
    is_there = path.is_dir()  # perhaps a mount, or where somebody stands: filled, not replaced
    partial = path / WITHIN if is_there else path.with_name(f".{path.name}.partial")
    with named_as(path, partial):
        claim = _claimed(partial)
    try:
        yield partial
        for each in sorted(partial.iterdir()) if is_there else ():
            each.rename(path / each.name)
        if not is_there:
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(claim)


def is_free(path: Path) -> bool:
    """Return whether nothing is in the way of a new folder: none is there, or one with nothing in it but what a killed writer left."""
    return not path.exists() or (path.is_dir() and all(each.name == WITHIN for each in path.iterdir()))


def _claimed(folder: Path) -> int:
    """Make or empty a folder, and return the descriptor that keeps others out of it, with which the kernel lets go of it after a kill.

    A link in its place, as a user of the group may put one among the kept scans, is refused: what it leads to would be emptied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    claim = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in list(os.scandir(claim)):
            shutil.rmtree(left.name, dir_fd=claim) if left.is_dir(follow_symlinks=False) else os.unlink(left.name, dir_fd=claim)
    except BlockingIOError as taken:
        os.close(claim)
        raise OSError(errno.EBUSY, "another process is writing it", str(folder)) from taken
    return claim


@contextmanager
def named_as(path: Path, hidden: Path) -> Iterator[None]:
    """Let OSError name what was asked for where it names nothing, as on a full disk, or what is hidden while it is written."""
    try:
        yield
    except OSError as error:
        named = [Path(str(each)) for each in (error.filename, error.filename2) if each is not None]
        if error.errno is None or (named and not any(each.is_relative_to(hidden) for each in named)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_durably(path: Path, content: bytes | bytearray) -> None:
    """Write a file and have it on the disk: what is then renamed is whole, also after a power cut. A link in its place is refused."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666)) as file:
        file.write(content)
        flush(file)


def flush(file: BinaryIO) -> None:
    """Have on the disk what was written to a file."""
    file.flush()
    os.fsync(file.fileno())
