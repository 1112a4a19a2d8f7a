"""Which part a process has in hand, in a file that outlives it: so that the supervisor knows, whatever it ended with."""

from __future__ import annotations

import os
from pathlib import Path

LONGEST = 64  # bytes of a result id


class Hand:
    """A file of one process; a write is one system call, and is there the moment the process is not."""

    def __init__(self, runtime_directory: Path, process: str) -> None:
        self._file = os.open(place_of(runtime_directory, process), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o660)
        self.write("")

    def write(self, result_id: str) -> None:
        """Say which part; an empty text for none. On a full disk nothing is said: that costs no part its verdict, and blames none."""
        try:
            os.pwrite(self._file, result_id.encode()[:LONGEST].ljust(LONGEST), 0)
        except OSError:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_hand(runtime_directory: Path, process: str) -> str:
    """Return what an ended process had in hand, once; empty where it had nothing."""
    path = place_of(runtime_directory, process)
    try:
        found = path.read_text("ascii", errors="replace").strip()
        path.unlink()
    except FileNotFoundError:
        return ""
    return found


def place_of(runtime_directory: Path, process: str) -> Path:
    """Return where a process writes."""
    return runtime_directory / f"{process}.hand"
