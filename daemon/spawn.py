"""Starts child processes that cannot outlive the supervisor, and locks a directory so that no second supervisor uses it."""

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

# Branches and fusion keep the memory that a part needed, because the next part needs it again: if they returned it, the kernel would clear
# it page by page each time. Ingest and prepare hold whole frames, so they do not keep memory: they would stay as large as their largest
# frame.
MEMORY_KEPT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
# Missing rights, or paths where no such file can exist: another attempt fails in the same way. Other disk errors, such as no space, may
# pass.
WRONG_PLACE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
    *(errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EOPNOTSUPP),
}


def start_process(spec: ProcessSpec) -> Process:
    """Start a process that dies with this one, ignores Ctrl-C in the terminal, and uses no more threads than it was given."""
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
    # it would end the process before it listens; once it listens, it reads the newest settings anyway
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def make_folder(setting: str, path: Path) -> None:
    """Create a folder and check that files can be written in it.

    BadInput, naming the setting, if the path can never work; MdssError if the disk refuses for now.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as error:
        sentence = f"{setting} {path}: cannot be written ({error.strerror}); expected a folder of the station's own"
        raise refusal(error, sentence) from error


def refusal(error: OSError, sentence: str) -> MdssError:
    """Return BadInput if the settings are wrong; otherwise MdssError, after which whoever started the station may try again."""
    return BadInput(sentence) if error.errno in WRONG_PLACE else MdssError(sentence)


def lock_folder(setting: str, directory: Path, name: str) -> int:
    """Lock a directory with a file in it, so that two stations never share sockets or stored data; return the open file descriptor."""
    make_folder(setting, directory)
    path = directory / name
    try:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:  # for example, left behind by another user's station
        sentence = f"{setting}: {path} cannot be opened ({error.strerror}); expected it to be the station's own"
        raise refusal(error, sentence) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise MdssError(f"{setting} {directory}: another station runs here; expected a directory of its own") from error
    except OSError as error:  # for example, a network disk without locks
        sentence = f"{setting}: {path} cannot be locked ({error.strerror}); expected a disk with file locks, such as a local one"
        raise refusal(error, sentence) from error
    return lock
