"""Starts real processes that cannot outlive their supervisor, and keeps a second supervisor out of the same directory."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

from daemon.child import Process
from daemon.process_table import ProcessSpec
from mdss.errors import BadInput, MdssError
from mdss.system_calls import end_with_parent

# Branches and fusion ask for the memory that they gave back after the last part; were it the kernel's in between, it would be cleared page
# by page. Whoever holds whole frames, ingest and prepare, is not asked to keep them: the largest would stay.
MEMORY_KEPT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
# Rights, and paths where no such file can be: another try ends the same. Whatever else a disk says, of its room say, may pass.
WRONG_PLACE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
    *(errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EOPNOTSUPP),
}


def start_process(spec: ProcessSpec) -> Process:
    """Start a real process that dies with this one, hears no Ctrl-C of the terminal, and keeps to its threads."""
    threads = {name: str(spec.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    environment = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")}
    kept = MEMORY_KEPT if spec.keeps_memory else {}
    return subprocess.Popen(
        [sys.executable, *spec.arguments],
        env=kept | environment | threads,
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=partial(_begin, os.getpid()),  # noqa: PLW1509 - three system calls, on a library that is loaded already
    )


def _begin(parent: int) -> None:
    end_with_parent(parent=parent)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # would end it before it listens; what it then reads is the newest anyway


def make_folder(setting: str, path: Path) -> None:
    """Make a folder that files can be written to; BadInput names the setting, MdssError a disk that takes nothing now."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as error:
        sentence = f"{setting} {path}: cannot be written ({error.strerror}); expected a folder of the station's own"
        raise refusal(error, sentence) from error


def refusal(error: OSError, sentence: str) -> MdssError:
    """Return BadInput where the settings are wrong; else an MdssError: whoever starts the station tries again."""
    return BadInput(sentence) if error.errno in WRONG_PLACE else MdssError(sentence)


def claim(setting: str, directory: Path, name: str) -> int:
    """Lock a directory for this station by a file, so that two daemons never share their sockets or what they keep."""
    make_folder(setting, directory)
    path = directory / name
    try:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:  # left behind by a station of another user, say
        sentence = f"{setting}: {path} cannot be opened ({error.strerror}); expected it to be the station's own"
        raise refusal(error, sentence) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise MdssError(f"{setting} {directory}: another station runs here; expected a directory of its own") from error
    except OSError as error:  # a network's disk without locks, say
        sentence = f"{setting}: {path} cannot be locked ({error.strerror}); expected a disk that knows locks, as a local one does"
        raise refusal(error, sentence) from error
    return lock
