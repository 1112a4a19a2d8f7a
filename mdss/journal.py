"""The durable record of every part: accepted, judged, delivered. One SQLite file that the station's processes share.

What a method has stored when it returns survives a power cut. Each process opens a Journal of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from mdss import journal_ageing
from mdss.errors import UNREADABLE
from mdss.journal_file import BESIDE, JournalDamaged, JournalFailed, JournalFile, Row
from mdss.wire.messages import NEVER_NS, Accepted, FrameIdentity, Judged
from mdss.wire.verdict import Verdict

__all__ = ["BESIDE", "JOURNAL", "Entry", "Journal", "JournalDamaged", "JournalFailed"]
JOURNAL = "journal.sqlite"  # in the station's state directory
# These columns are null only through damage, for example an older page in place of the last one written.
VERDICTS = "SELECT rowid, sequence, result_id, ifnull(verdict, '') FROM part "
ACCEPTED = "SELECT rowid, sequence, result_id, source_id, frame_id, ifnull(accepted, '') FROM part "
AFTER = "WHERE sequence > ? ORDER BY sequence LIMIT ?"
UNDELIVERED_AFTER = "WHERE evaluation <> 'OK' AND delivered = 0 AND sequence > ? ORDER BY sequence LIMIT ?"
OPEN = "WHERE sequence IS NULL ORDER BY rowid"
MOVE_PART = (
    "REPLACE INTO part (result_id, source_id, frame_id, accepted) SELECT result_id, source_id, frame_id, accepted"
    " FROM part WHERE result_id = ? AND sequence IS NULL"
)
# Answered from an index alone, even if the disk damaged the parts themselves; it is that of camera and frame.
OPEN_FRAMES = (
    "SELECT rowid, frame_id FROM part INDEXED BY sqlite_autoindex_part_3 WHERE +rowid IN (SELECT rowid FROM part WHERE sequence IS NULL)"
)
Stored = TypeVar("Stored")
log = structlog.get_logger()


@dataclass(frozen=True)
class Entry:
    """What the journal knows about a frame; `sequence` is None until it is judged."""

    result_id: str
    sequence: int | None
    attempt: int
    judged: Judged | None = None
    identity: FrameIdentity | None = None  # as it was accepted; part and recipe are empty if that cannot be read


class Journal:
    """Every method is one step that happens completely or, with JournalFailed, not at all.

    `on_unreadable` is called once for each verdict that this release cannot read. Such a verdict stays in the journal; later ones are still
    read.
    """

    def __init__(self, path: Path, busy_timeout_s: float = 5.0, on_unreadable: Callable[[], object] = lambda: None) -> None:
        self._file = JournalFile(path, busy_timeout_s)
        self._on_unreadable, self._unreadable = on_unreadable, set[tuple[object, ...]]()

    @property
    def damage(self) -> str:
        """SQLite's message on damage that was met and worked around since this journal was opened; empty if there was none."""
        return self._file.damage

    def close(self) -> None:
        """Close this process's connection."""
        self._file.close()

    def accept(self, accepted: Accepted) -> None:
        """Store that exactly one verdict will follow; the same result id again is another attempt."""
        self._with_room(accepted.result_id, partial(self._accept, accepted))

    def _accept(self, accepted: Accepted) -> None:
        identity = accepted.identity
        with self._file.transaction():
            self._file.rows(
                "INSERT INTO part (result_id, source_id, frame_id, accepted) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (result_id) DO UPDATE SET accepted = excluded.accepted WHERE sequence IS NULL",
                *(accepted.result_id, identity.source_id, identity.frame_id, text(accepted)),
            )

    def judge(self, verdict: Verdict) -> Verdict:
        """Store a verdict under the next sequence and return it; if the part has a verdict already, return that one instead."""
        return self._with_room(verdict.result_id, partial(self._judge, verdict))

    def _judge(self, verdict: Verdict) -> Verdict:
        file = self._file
        with file.transaction():
            stored = file.rows("SELECT verdict FROM part WHERE result_id = ? AND sequence IS NOT NULL", verdict.result_id)
            if stored:
                return read_verdict(stored[0][0])
            file.rows("UPDATE counter SET last_sequence = last_sequence + 1")
            ((sequence,),) = file.rows("SELECT last_sequence FROM counter")
            numbered = msgspec.structs.replace(verdict, sequence=sequence)
            file.rows(
                "INSERT INTO part (result_id, source_id, frame_id, sequence, evaluation, judged_ns, verdict) VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (result_id) DO UPDATE SET sequence = excluded.sequence, evaluation = excluded.evaluation,"
                " judged_ns = excluded.judged_ns, verdict = excluded.verdict",
                *(verdict.result_id, verdict.source_id, verdict.frame_id, sequence),
                *(verdict.evaluation, verdict.times.published, text(numbered)),
            )
            return numbered

    def _with_room(self, result_id: str, store: Callable[[], Stored]) -> Stored:
        """Store a change that makes an open part longer; beside a damaged page a part cannot grow, so it is moved to the end first."""
        try:
            return store()
        except JournalDamaged:
            with self._file.transaction():
                self._file.rows(MOVE_PART, result_id)
            return store()

    def last_sequence(self) -> int:
        """Return the sequence of the last verdict, 0 before the first."""
        with self._file.naming_file():
            return int(self._file.rows("SELECT last_sequence FROM counter")[0][0])

    def since(self, sequence: int, limit: int) -> list[Verdict]:
        """Return at most `limit` verdicts after a sequence, in order; one that cannot be read is logged once and left out."""
        with self._file.naming_file():
            return self._readable(AFTER, sequence, limit)

    def pending(self) -> list[Accepted]:
        """Return accepted parts without a verdict, oldest first; if the acceptance cannot be read, the result has only its frame's names.

        A part with a damaged result id is left out, because no verdict could be stored under it; `repair` mends or names it.
        """
        with self._file.naming_file():
            whole = [row[2:] for row in self._file.parts(ACCEPTED, OPEN) if not (is_lost(row) or is_damaged(row))]
            return [self._accepted(printable(name), printable(source), printable(frame), stored) for name, source, frame, stored in whole]

    def repair(self) -> None:
        """Give open parts with a damaged result id a readable one and log it; parts that will get no verdict are named in the log.

        The indices are rebuilt, because they may hold the id from before the damage.
        """
        with self._file.naming_file():
            parts = self._file.parts(ACCEPTED, OPEN)
            lost = {row[0] for row in parts if is_lost(row)}
            frames = [printable(frame) for rowid, frame in self._file.rows(OPEN_FRAMES) if rowid in lost] if lost else []
        if lost:
            log.error("parts get no verdict: the disk damaged what the journal says of them", frame_ids=frames, reason=self.damage)
        damaged = [row for row in parts if row[0] not in lost and is_damaged(row)]
        if damaged:
            self._repair([printable(row[4]) for row in damaged])

    def _repair(self, frames: list[str]) -> None:
        try:
            with self._file.transaction():
                self._file.rows("REINDEX part")
                for row in filter(is_damaged, self._file.rows(ACCEPTED + OPEN)):  # again: another process may have repaired some of them
                    self._file.rows("UPDATE part SET result_id = ? WHERE rowid = ?", true_result_id(row), row[0])
        except JournalFailed as error:
            log.error("parts get no verdict: their result ids in the journal are damaged", frame_ids=frames, reason=str(error))
            return
        log.warning("damaged result ids in the journal are mended", frame_ids=frames)

    def find(self, source_id: str, frame_id: str) -> Entry | None:
        """Return what is known about a frame, None if it is not (or no longer) there; `judged` is None if the verdict cannot be read."""
        query = "SELECT result_id, sequence, accepted, verdict FROM part WHERE source_id = ? AND frame_id = ?"
        with self._file.naming_file():
            for name, sequence, accepted, verdict in self._file.rows(query, source_id, frame_id):
                result_id = printable(name)
                known = None if accepted is None else self._accepted(result_id, source_id, frame_id, accepted)
                attempt, identity = (1, None) if known is None else (known.attempt, known.identity)
                if sequence is None:
                    return Entry(result_id, None, attempt, identity=identity)
                try:
                    return Entry(result_id, sequence, attempt, Judged.of(read_verdict(verdict)), identity)
                except UNREADABLE as error:
                    self._log_left_out(sequence, result_id, error)
                    return Entry(result_id, sequence, attempt, identity=identity)
        return None

    def undelivered(self, limit: int) -> list[Verdict]:
        """Return at most `limit` verdicts, oldest first, that are not OK and whose alerts are not delivered yet.

        One that cannot be read is logged once and left out; it stays undelivered for a release that can read it.
        """
        with self._file.naming_file():
            return self._readable(UNDELIVERED_AFTER, 0, limit)

    def mark_delivered(self, result_ids: Iterable[str]) -> None:
        """Record that the alerts of these parts are delivered."""
        with self._file.transaction():
            for result_id in result_ids:
                self._file.rows("UPDATE part SET delivered = 1 WHERE result_id = ?", result_id)

    def prune(self, older_than_ns: int) -> int:
        """Delete up to a thousand parts judged before this time (UTC ns) and return how many; undelivered alerts are kept."""
        with self._file.naming_file():
            return journal_ageing.prune(self._file, older_than_ns)

    def redate(self, first_ns: int, last_ns: int, by_ns: int) -> int:
        """Move the times by which `prune` goes, where they are from `first_ns` to `last_ns` (UTC), and return of how many parts."""
        with self._file.naming_file():
            return journal_ageing.redate(self._file, first_ns, last_ns, by_ns)

    def _readable(self, which: str, after: int, limit: int) -> list[Verdict]:
        """Return as many verdicts as asked for, if there are: entries that cannot be read must not look like the end of the journal."""
        found: list[Verdict] = []
        while lacking := limit - len(found):
            rows = self._file.parts(VERDICTS, which, after, lacking)
            for _, sequence, *texts in rows:
                if not texts:
                    self._log_left_out(sequence, "", self.damage)
                    continue
                name, stored = texts
                try:
                    found.append(read_verdict(stored))
                except UNREADABLE as error:
                    self._log_left_out(sequence, printable(name), error)
            if len(rows) < lacking:
                break
            after = rows[-1][1]
        return found

    def _accepted(self, result_id: str, source_id: str, frame_id: str, stored: bytes) -> Accepted:
        """Return what was accepted; if this release cannot read it, enough for a verdict, because the part is owed one all the same."""
        try:
            return msgspec.json.decode(stored, type=Accepted)
        except UNREADABLE as error:
            self._log_once("what the journal says was accepted cannot be read", result_id, error, frame_id=frame_id)
        identity = FrameIdentity(source_id=source_id, sequence=0, frame_id=frame_id, part_id="", job_id="", recipe_id="", capture_time_ns=0)
        return Accepted(result_id=result_id, identity=identity, received_ns=0, deadline_ns=NEVER_NS)

    def _log_left_out(self, sequence: int, result_id: str, error: Exception | str) -> None:
        if self._log_once("a verdict in the journal cannot be read", result_id, error, sequence=sequence):
            self._on_unreadable()

    def _log_once(self, sentence: str, result_id: str, error: Exception | str, **known: object) -> bool:
        """Log once, however often it is met, what cannot be read of a part; return whether this was the first time."""
        key = sentence, result_id, *known.values()
        if key in self._unreadable:
            return False
        self._unreadable.add(key)
        log.error(sentence, result_id=result_id, reason=str(error), **known)
        return True


def text(entry: Accepted | Verdict) -> str:
    """Return an entry as it is stored: JSON, readable in any SQLite shell."""
    return msgspec.json.encode(entry).decode()


class _OnlyResultId(msgspec.Struct):
    result_id: str


def true_result_id(row: Row) -> str:
    """Return an open part's true result id: the one in its acceptance, else the one in its own column, else a new one."""
    with suppress(*UNREADABLE):
        return msgspec.json.decode(row[5], type=_OnlyResultId).result_id
    with suppress(*UNREADABLE):
        return bytes(row[2]).decode()
    return uuid.uuid4().hex


def is_damaged(row: Row) -> bool:
    """Return whether an open part's result id differs from the one it was accepted under, or cannot be read."""
    return true_result_id(row).encode() != bytes(row[2])


def is_lost(row: Row) -> bool:
    """Return whether the disk damaged a part so far that only its keys are left."""
    return not row[2:]


def printable(name: bytes) -> str:
    """Return a stored name as text; damaged bytes are replaced by a mark."""
    return name.decode(errors="replace")


def read_verdict(stored: bytes) -> Verdict:
    """Return a verdict as it was stored."""
    return msgspec.json.decode(stored, type=Verdict)
