"""Locks in a recipe's folder of the store: one writer at a time; the second is told who holds the lock."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from mdss.errors import CutOff
from mdss.user_name import user
from mdss.whole_files import named_as

LOCK = ".lock"  # for links, new versions and the audit: held for seconds
TRAINING_LOCK = ".training.lock"  # a second lock, so that promoting and rolling back go on while a training runs
PATIENCE_S = 60.0
LOOK_EVERY_S = 0.05


class StoreBusy(CutOff):
    """Another process holds the lock; the text names it."""


def training_lock(folder: Path, doing: str) -> AbstractContextManager[None]:
    """Hold the lock on a recipe's training. StoreBusy names another one that is under way, at once.

    Child processes that inherit open files hold it as well: if this process is killed, nobody else trains until they have ended, too.
    """
    return file_lock(folder / TRAINING_LOCK, doing, patience_s=0, is_inherited=True)


@contextmanager
def file_lock(path: Path, doing: str, patience_s: float = PATIENCE_S, *, is_inherited: bool = False) -> Iterator[None]:
    """Hold the lock while the block runs. StoreBusy names the holder if the lock does not get free in time.

    The kernel releases the lock however the process ends, so nothing has to be cleared away after a kill or a power cut. The file stays.
    """
    with path.open("ab+", buffering=0) as file:
        os.set_inheritable(file.fileno(), is_inherited)
        _take(file, path, time.monotonic() + patience_s)
        file.truncate(0)
        with named_as(path, path):
            file.write(f"process {os.getpid()} of {user()}, {doing}, since {datetime.now(UTC).isoformat(' ', 'seconds')}".encode())
        try:
            yield
        finally:
            file.truncate(0)


def _take(file: BinaryIO, path: Path, until_s: float) -> None:
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            if time.monotonic() >= until_s:
                file.seek(0)
                holder = file.read().decode(errors="replace") or "another process"
                raise StoreBusy(f"{path}: held by {holder}; expected nobody at it, try again when that has ended") from taken
        time.sleep(LOOK_EVERY_S)
