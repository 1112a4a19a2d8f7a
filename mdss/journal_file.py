"""The journal's SQLite file: opened, checked, and written in transactions that survive a power cut (WAL, synchronous FULL).

A damaged page costs only the parts on it: everything else is still read and pruned.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mdss.errors import UNREADABLE, MdssError

APPLICATION_ID = 0x4D445353  # "MDSS", in the file's header
VERSION = 1
RETRY_S = 0.01
BESIDE = ("-wal", "-shm")  # how the files are called that SQLite keeps beside its own while any process has it open
TABLES = (
    # `accepted` is null if a verdict came without it; `sequence`, `evaluation`, `judged_ns` and `verdict` are null until judged.
    """CREATE TABLE part (
        result_id TEXT PRIMARY KEY, source_id TEXT NOT NULL, frame_id TEXT NOT NULL, accepted TEXT,
        sequence INTEGER UNIQUE, evaluation TEXT, judged_ns INTEGER, verdict TEXT, delivered INTEGER NOT NULL DEFAULT 0,
        UNIQUE (source_id, frame_id))""",
    "CREATE INDEX pending ON part (result_id) WHERE sequence IS NULL",
    "CREATE INDEX undelivered ON part (sequence) WHERE evaluation <> 'OK' AND delivered = 0",
    "CREATE INDEX judged ON part (judged_ns) WHERE sequence IS NOT NULL",
    # The counter survives pruning, so that no sequence is given twice.
    "CREATE TABLE counter (last_sequence INTEGER NOT NULL)",
    "INSERT INTO counter VALUES (0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
KEYS = "SELECT rowid, sequence FROM part "  # columns that an index alone can answer
BY_ROWID = "WHERE rowid = ?"
Row = tuple[Any, ...]


class JournalFailed(MdssError):
    """The journal could not be read or written: the text names the file and the cause."""

    may_pass = True


class JournalDamaged(JournalFailed):
    """The disk damaged what is needed for the answer."""

    may_pass = False


class JournalFile:
    """One process's connection; any fault of file, disk, lock or content is a JournalFailed; `damage` is the last damage worked around."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self.path, self._busy_timeout_s, self.damage = path, busy_timeout_s, ""
        with self.naming_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
            self._db.text_factory = bytes  # texts are decoded row by row: sqlite3 fails a whole query for one damaged byte
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def rows(self, query: str, *values: object) -> list[Row]:
        """Run one statement and return its rows, with texts as bytes."""
        return self._db.execute(query, values).fetchall()

    def parts(self, select: str, which: str, *values: object) -> list[Row]:
        """Return parts, each with its rowid, its sequence and the texts of `select`; a damaged part has no texts.

        SQLite fails a whole query for one damaged page; then an index tells which parts there are, and each part is read by itself.
        """
        try:
            return self.rows(select + which, *values)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self.damage = str(error)
        return [(*key, *self._texts(select, key[0])) for key in self.rows(KEYS + which, *values)]

    def change_each(self, query: str, keys: list[Row]) -> int:
        """Run a statement for each key and return the total number of rows returned; keys that meet damage change nothing.

        SQLite rolls back a whole transaction that met damage, so the keys are halved until the damaged ones are isolated.
        """
        try:
            with self.transaction():
                return sum(len(self.rows(query, *key)) for key in keys)
        except JournalDamaged:
            half = len(keys) // 2
            return self.change_each(query, keys[:half]) + self.change_each(query, keys[half:]) if half else 0

    def _texts(self, select: str, rowid: int) -> Row:
        try:
            return tuple(text for row in self.rows(select + BY_ROWID, rowid) for text in row[2:])
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return ()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store all of the block's changes or none; writers of other processes wait meanwhile."""
        with self.naming_file():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # some faults have ended it already
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def naming_file(self) -> Iterator[None]:
        """Add the file's name to every fault."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            kind = JournalDamaged if is_damage(error) else JournalFailed
            raise kind(f"journal {self.path}: {error}{self._files_of_others()}") from error
        except UNREADABLE as error:
            raise JournalFailed(f"journal {self.path}: found an entry that cannot be read ({error})") from error

    def _files_of_others(self) -> str:
        """Return which of the files belong to another user, as after a restore; SQLite does not say why it cannot open one."""
        files = [f"{self.path}{end}" for end in ("", *BESIDE)]
        names = ", ".join(file for file in files if os.access(file, os.F_OK) and not os.access(file, os.R_OK | os.W_OK))
        return f"; this user may not read and write {names}" if names else ""

    def _prepare(self) -> None:
        """Refuse a file that is no journal of this version before anything is changed; create what does not exist yet."""
        if not self._is_new():
            self._check()
        self._use_wal()
        self.rows("PRAGMA synchronous = FULL")
        if self._is_new():
            self._create()
        self._check()

    def _create(self) -> None:
        with self.transaction():
            if self._is_new():  # still new, so no other process was faster
                for statement in TABLES:
                    self.rows(statement)

    def _use_wal(self) -> None:
        end_s = time.monotonic() + self._busy_timeout_s
        while not self._is_wal():
            if time.monotonic() > end_s:
                raise JournalFailed(
                    f"journal {self.path}: another process keeps it locked, expected it free within {self._busy_timeout_s} s"
                )
            time.sleep(RETRY_S)

    def _is_new(self) -> bool:
        return not self.rows("SELECT 1 FROM sqlite_master LIMIT 1")

    def _check(self) -> None:
        ((found,),), ((version,),) = self.rows("PRAGMA application_id"), self.rows("PRAGMA user_version")
        if found != APPLICATION_ID:
            raise JournalFailed(f"journal {self.path}: found a database of another program, expected a journal of this one")
        if version != VERSION:
            raise JournalFailed(f"journal {self.path}: found version {version}, expected {VERSION}; move the file away to begin a new one")

    def _is_wal(self) -> bool:
        """Ask for WAL; return False if several processes ask at the same moment, because SQLite does not wait then."""
        try:
            return bool(self.rows("PRAGMA journal_mode = WAL") == [(b"wal",)])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return False
            raise


def is_damage(error: Exception) -> bool:
    """Return whether SQLite found content that it cannot have written, or a sector that cannot be read."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code == sqlite3.SQLITE_IOERR_READ or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
