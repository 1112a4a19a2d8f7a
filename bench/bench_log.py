"""A log that outlives its writer: one JSON line per event, whole or not at all, read by the writer's next life and by the bench."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

Line = TypeVar("Line", bound=msgspec.Struct)


class LineLog(Generic[Line]):
    """Appends lines; `before` holds those of the writer's earlier lives."""

    def __init__(self, path: Path, kind: type[Line]) -> None:
        self.before = read_lines(path, kind)
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        whole = path.read_bytes().rfind(b"\n") + 1
        os.ftruncate(self._file, whole)  # cuts off half a line, if the writer was killed while writing

    def write(self, line: Line) -> None:
        """Append one line in one call, so that what a killed process has written stays."""
        os.write(self._file, msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_lines(path: Path, kind: type[Line]) -> list[Line]:
    """Return the whole lines of a log; none if there is no log."""
    text = path.read_bytes() if path.exists() else b""
    return [msgspec.json.decode(line, type=kind) for line in text[: text.rfind(b"\n") + 1].splitlines()]
