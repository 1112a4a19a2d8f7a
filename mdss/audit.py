"""Records who changed a recipe's models, when and why: one line per change in `audit.jsonl` in the recipe's folder of the store."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mdss.errors import UNREADABLE
from mdss.user_name import user
from mdss.whole_files import flush, named_as

AUDIT = "audit.jsonl"
NO_EVENT = "unreadable"


class Event(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """One change; `before` and `after` are versions, named `from` and `to` in the file."""

    when: str  # UTC, ISO 8601
    who: str
    what: str  # train, promote, rollback, calibrate, import, candidate ...
    before: str = ""
    after: str = ""
    why: str = ""


def record(folder: Path, what: str, versions: tuple[str | None, str | None], why: str = "") -> None:
    """Append a change of a recipe's models and flush it to disk; half a line left by a power cut does not spoil the new one."""
    before, after = (version or "" for version in versions)
    event = Event(when=datetime.now(UTC).isoformat(timespec="seconds"), who=user(), what=what, before=before, after=after, why=why)
    path = folder / AUDIT
    with named_as(path, path), path.open("ab+") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        is_cut = file.read(1) not in (b"", b"\n")
        file.write(b"\n" * is_cut + msgspec.json.encode(event) + b"\n")
        flush(file)


def events(folder: Path) -> list[Event]:
    """Return all changes, oldest first; a line that cannot be read becomes an event that says so."""
    path = folder / AUDIT
    return [_event(line) for line in path.read_bytes().splitlines() if line.strip()] if path.is_file() else []


def _event(line: bytes) -> Event:
    try:
        return msgspec.json.decode(line, type=Event)
    except UNREADABLE as error:
        return Event(when="", who="", what=NO_EVENT, why=f"{error}: {line.decode(errors='replace')}")
