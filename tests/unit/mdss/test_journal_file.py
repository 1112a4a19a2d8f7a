"""The journal's file where another process is at it in the same moment, and where what stands on a damaged page is worked round."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from mdss import journal_file
from mdss.journal import Journal, JournalFailed
from mdss.journal_file import Row

MOVED_AND_KILLED = """
import os, signal, sys
from pathlib import Path
from mdss.journal import Journal
from tests.parts import accepted, verdict

path, end = sys.argv[1:]
journal = Journal(Path(path))
for name in "abcdef":
    if name == "d":
        os.rename(path + end, path + ".away")
    journal.accept(accepted(name, deadline_ns=0))
    journal.judge(verdict(accepted(name, deadline_ns=0)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_that_another_process_locks_while_it_is_made_is_waited_for_though_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, clock, pauses = tmp_path / "journal.sqlite", SimpleNamespace(now_s=0.0, free_s=1.0), list[float]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.now_s += 0.004
        if clock.now_s >= clock.free_s:
            other.execute("COMMIT")

    monkeypatch.setattr(journal_file, "time", SimpleNamespace(monotonic=lambda: clock.now_s, sleep=sleep))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalFailed, match=r"another process keeps it locked, expected it free within 0\.01 s"):
            Journal(path, busy_timeout_s=0.01)
        assert len(pauses) == 3
        clock.free_s = clock.now_s + 0.006
        with closing(Journal(path, busy_timeout_s=0.01)) as journal:
            assert (journal.last_sequence(), len(pauses)) == (0, 5)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CORRUPT_INDEX, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_READ])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_what_is_beside_damage_is_changed_however_few_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, code: int
) -> None:
    damage = sqlite3.DatabaseError("what SQLite says of it")
    damage.sqlite_errorcode = code
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        for damaged in range(count):
            changed = set[int]()

            def rows(query: str, key: int, lost: int = damaged, seen: set[int] = changed) -> list[Row]:
                if key == lost:
                    raise damage
                seen.add(key)
                return [(key,)]

            monkeypatch.setattr(journal._file, "rows", rows)
            assert journal._file.change_each("", [(key,) for key in range(count)]) == count - 1
            assert changed == set(range(count)) - {damaged}


@pytest.mark.parametrize(("end", "is_back", "kept"), [("-wal", True, 6), ("-wal", False, 0), ("-shm", False, 6)])
def test_what_stands_in_a_wal_that_was_moved_away_before_a_kill_is_there_again_once_it_is_moved_back(
    tmp_path: Path, end: str, is_back: bool, kept: int
) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(Journal(path)):
        pass
    killed = subprocess.run([sys.executable, "-c", MOVED_AND_KILLED, path, end], check=False)
    assert killed.returncode == -signal.SIGKILL
    if is_back:
        Path(f"{path}.away").rename(f"{path}{end}")
    with closing(Journal(path)) as journal:
        assert [each.sequence for each in journal.since(0, 100)] == list(range(1, 1 + kept))
