"""Starts and ends a process that cannot outlive this one: a private Redis, a demo's station and camera, a bench's victims."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO

from mdss.system_calls import end_with_parent


def start_tied(
    command: Sequence[str | Path], output: IO[bytes] | int | None = None, by: signal.Signals = signal.SIGKILL
) -> subprocess.Popen[bytes]:
    """Start a process without input that gets the signal `by` when this process dies; it writes to `output`, or where this one writes.

    Ctrl-C in the terminal does not reach it: only this process stops it.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        process_group=0,
        preexec_fn=partial(end_with_parent, by, os.getpid()),  # noqa: PLW1509 - two system calls, on a library that is loaded already
    )


def end_tied(process: subprocess.Popen[bytes], within_s: float) -> int | None:
    """Ask a process to end and return its exit code; None if it did not end in time and was killed."""
    process.terminate()
    try:
        return process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def last_words(log: Path) -> str:
    """Return the last line of a log that is not empty, or "nothing"."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
