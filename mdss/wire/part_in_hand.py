"""Records which part a process has in hand, in a file that survives it, so that the supervisor knows which part it ended with."""

from __future__ import annotations

import os
from pathlib import Path

LONGEST = 64  # bytes of a result id


class PartInHand:
    """The hand file of one process; each write is one system call, and is in place however the process ends."""

    def __init__(self, runtime_directory: Path, process: str) -> None:
        self._file = os.open(hand_file(runtime_directory, process), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o660)
        self.write("")

    def write(self, result_id: str) -> None:
        """Record the part in hand, empty for none. On a full disk nothing is recorded: that costs no verdict and blames no part."""
        try:
            os.pwrite(self._file, result_id.encode()[:LONGEST].ljust(LONGEST), 0)
        except OSError:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def take_part_in_hand(runtime_directory: Path, process: str) -> str:
    """Return, once, the part that an ended process had in hand; empty if it had none."""
    path = hand_file(runtime_directory, process)
    try:
        found = path.read_text("ascii", errors="replace").strip()
        path.unlink()
    except FileNotFoundError:
        return ""
    return found


def hand_file(runtime_directory: Path, process: str) -> Path:
    """Return the path of a process's hand file."""
    return runtime_directory / f"{process}.hand"
