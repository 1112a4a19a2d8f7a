"""The record of every part: one verdict each, no gap in the sequence, whoever writes and whenever it ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mdss.journal import Entry, Journal, JournalFailed
from mdss.wire.messages import Judged
from tests.parts import accepted, verdict

WRITER = """
import sys
from pathlib import Path
from mdss.journal import Journal
from tests.parts import accepted, verdict
journal = Journal(Path(sys.argv[1]), busy_timeout_s=60.0)
for number in range(int(sys.argv[3])):
    part = accepted(f"{sys.argv[2]}-{number}", 100)
    journal.accept(part)
    print(journal.judge(verdict(part)).sequence, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal(path)
    yield made
    made.close()


def record(journal: Journal, *names: str) -> list[int]:
    """Accept and judge parts; return their sequences."""
    parts = [accepted(name, 100) for name in names]
    for part in parts:
        journal.accept(part)
    return [journal.judge(verdict(part)).sequence for part in parts]


def judged_entry(journal: Journal, name: str) -> Entry:
    """Return the entry of a part that has the first verdict of all, at its first attempt."""
    (first,) = journal.since(0, 1)
    return Entry(name, 1, 1, Judged.of(first), accepted(name, 100).identity)


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE, text=True)


def test_a_new_journal_is_empty(journal: Journal) -> None:
    assert journal.last_sequence() == 0
    assert [*journal.since(0, 10), *journal.pending(), *journal.undelivered(10)] == []
    assert journal.find("cam", "a") is None


def test_a_part_goes_from_accepted_to_judged(journal: Journal) -> None:
    part = accepted("a", 100)
    journal.accept(part)
    assert journal.pending() == [part]
    assert journal.find("cam", "a") == Entry("a", None, 1, identity=part.identity)
    stored = journal.judge(verdict(part))
    assert stored == msgspec.structs.replace(verdict(part), sequence=1)
    assert journal.pending() == []
    assert journal.find("cam", "a") == judged_entry(journal, "a")
    assert journal.since(0, 10) == [stored]


def test_the_sequence_begins_at_one_and_has_no_gap(journal: Journal) -> None:
    assert record(journal, "a", "b", "c") == [1, 2, 3]
    assert [found.sequence for found in journal.since(1, 1)] == [2]
    assert journal.last_sequence() == 3


def test_a_second_verdict_on_a_part_is_the_first_one(journal: Journal) -> None:
    record(journal, "a")
    again = journal.judge(verdict(accepted("a", 100), "NotOK"))
    assert (again.sequence, again.evaluation) == (1, "OK")
    assert record(journal, "b") == [2]


def test_another_attempt_keeps_the_result_and_changes_the_deadline(journal: Journal) -> None:
    journal.accept(accepted("a", 100))
    second = accepted("a", 200, attempt=2)
    journal.accept(second)
    assert journal.pending() == [second]
    assert journal.find("cam", "a") == Entry("a", None, 2, identity=second.identity)


def test_accepting_what_is_judged_changes_nothing(journal: Journal) -> None:
    record(journal, "a")
    journal.accept(accepted("a", 200, attempt=2))
    assert journal.find("cam", "a") == judged_entry(journal, "a")
    assert journal.pending() == []


def test_one_frame_never_gets_two_results(journal: Journal) -> None:
    journal.accept(accepted("a", 100))
    other = msgspec.structs.replace(accepted("a", 100), result_id="other")
    with pytest.raises(JournalFailed, match="UNIQUE"):
        journal.accept(other)
    assert [part.result_id for part in journal.pending()] == ["a"]


def test_a_verdict_on_a_part_that_was_never_accepted_is_kept(journal: Journal) -> None:
    assert journal.judge(verdict(accepted("a", 100))).sequence == 1
    assert journal.find("cam", "a") == replace(judged_entry(journal, "a"), identity=None)


def test_what_is_not_ok_waits_until_it_is_delivered(journal: Journal) -> None:
    for name, evaluation in (("a", "OK"), ("b", "NotOK"), ("c", "Undefined"), ("d", "NotDecidable")):
        journal.judge(verdict(accepted(name, 100), evaluation))  # type: ignore[arg-type]
    assert [found.result_id for found in journal.undelivered(2)] == ["b", "c"]
    journal.mark_delivered(["b", "d"])
    assert [found.result_id for found in journal.undelivered(10)] == ["c"]


def test_only_old_parts_that_nobody_waits_for_are_forgotten(journal: Journal) -> None:
    for name, evaluation, when_ns in (("old", "OK", 10), ("alert", "NotOK", 10), ("delivered", "NotOK", 10), ("new", "OK", 99)):
        journal.judge(verdict(accepted(name, 100), evaluation, when_ns))  # type: ignore[arg-type]
    journal.accept(accepted("open", 100))
    journal.mark_delivered(["delivered"])
    assert journal.prune(50) == 2
    assert [found.result_id for found in journal.since(0, 10)] == ["alert", "new"]
    assert [part.result_id for part in journal.pending()] == ["open"]
    assert journal.prune(50) == 0


def test_no_sequence_is_given_twice_even_when_all_is_forgotten(journal: Journal, path: Path) -> None:
    record(journal, "a", "b")
    assert journal.prune(2**62) == 2
    assert journal.last_sequence() == 2
    reopened = Journal(path)
    assert record(reopened, "c") == [3]
    reopened.close()


def test_a_restart_finds_what_was_stored(journal: Journal, path: Path) -> None:
    record(journal, "a")
    journal.accept(accepted("b", 100))
    journal.close()
    reopened = Journal(path)
    assert [part.result_id for part in reopened.pending()] == ["b"]
    assert record(reopened, "c") == [2]
    reopened.close()


def test_processes_that_write_at_once_share_one_sequence(path: Path) -> None:
    writers = [writer(path, name, 30) for name in "abc"]
    outputs = [process.communicate()[0] for process in writers]
    given = [int(line) for output in outputs for line in output.split()]
    assert sorted(given) == list(range(1, 91))
    journal = Journal(path)
    assert [found.sequence for found in journal.since(0, 500)] == list(range(1, 91))
    journal.close()


def test_a_process_that_is_killed_leaves_no_gap_and_loses_nothing_it_was_told_of(path: Path) -> None:
    process = writer(path, "a", 100_000)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    told += [int(line) for line in process.communicate()[0].split()]
    journal = Journal(path)
    stored = [found.sequence for found in journal.since(0, 100_000)]
    assert stored == list(range(1, len(stored) + 1))
    assert set(told) <= set(stored)
    assert record(journal, "next") == [len(stored) + 1]
    journal.close()


def test_a_verdict_that_was_not_stored_uses_up_no_sequence(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("mdss.journal.text", lambda entry: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            journal.judge(verdict(accepted("a", 100)))
    assert record(journal, "a") == [1]


def test_while_another_process_writes_the_wait_has_an_end(journal: Journal, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = Journal(path, busy_timeout_s=0.05)
    with pytest.raises(JournalFailed, match=r"journal .*journal\.sqlite: database is locked"):
        waiting.accept(accepted("a", 100))
    assert waiting.find("cam", "a") is None  # readers do not wait for writers
    other.execute("ROLLBACK")
    waiting.accept(accepted("a", 100))
    waiting.close()
    other.close()


def test_what_is_accepted_is_on_the_disk_and_not_only_on_its_way(journal: Journal, path: Path) -> None:
    assert journal._file.rows("PRAGMA synchronous") == [(2,)]
    assert journal._file.rows("PRAGMA journal_mode") == [(b"wal",)]


def test_a_full_disk_is_a_sentence_and_the_next_part_is_stored_when_there_is_room(journal: Journal) -> None:
    ((pages,),) = journal._file.rows("PRAGMA page_count")
    journal._file.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalFailed, match="database or disk is full"):
        record(journal, *(f"part-{number}" for number in range(500)))
    stored = journal.last_sequence() + len(journal.pending())
    journal._file.rows("PRAGMA max_page_count = 1000000")
    journal.accept(accepted("after", 100))
    assert journal.last_sequence() + len(journal.pending()) == stored + 1


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to be read as one" * 40, b"SQLite format 3\x00" + b"\xff" * 4096]
)
def test_a_corrupt_file_is_refused_with_its_name_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(JournalFailed, match=r"journal\.sqlite: "):
        Journal(path)
    assert path.read_bytes() == content


def test_another_program_s_database_is_refused_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE notes (text)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(JournalFailed, match="found a database of another program"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_journal_of_another_version_is_refused(journal: Journal, path: Path) -> None:
    journal._file.rows("PRAGMA user_version = 7")
    with pytest.raises(JournalFailed, match="found version 7, expected 1"):
        Journal(path)


@pytest.mark.parametrize("damaged", [b"{", b'{"schema":"\xed"}'])
def test_a_damaged_entry_is_a_sentence(journal: Journal, damaged: bytes) -> None:
    record(journal, "a")
    journal._file.rows("UPDATE part SET verdict = CAST(? AS TEXT)", damaged)
    with pytest.raises(JournalFailed, match="found an entry that cannot be read"):
        journal.judge(verdict(accepted("a", 100)))


def test_an_entry_of_a_later_release_is_read(journal: Journal) -> None:
    record(journal, "a")
    ((text,),) = journal._file.rows("SELECT verdict FROM part")
    newer = msgspec.json.encode(msgspec.json.decode(text) | {"colour": "red"}).decode()
    journal._file.rows("UPDATE part SET verdict = ?", newer)
    assert journal.since(0, 1) == [msgspec.structs.replace(verdict(accepted("a", 100)), sequence=1)]


def test_a_journal_of_another_user_is_refused_with_that_reason(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    path.write_bytes(b"SQLite would not open it, but root may write whatever it wants to" * 40)
    monkeypatch.setattr(os, "access", lambda file, mode: file == str(path) and not mode & os.W_OK)
    with pytest.raises(JournalFailed, match=f"journal {path}: .*; this user may not read and write {path}"):
        Journal(path)


def test_a_place_that_cannot_be_written_is_named() -> None:
    with pytest.raises(JournalFailed, match=r"journal /proc/nowhere/journal\.sqlite"):
        Journal(Path("/proc/nowhere/journal.sqlite"))


def test_the_journal_needs_neither_sockets_nor_torch() -> None:
    script = "import sys, mdss.journal; print({'zmq', 'torch', 'redis'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_pending_keeps_the_order_of_arrival(journal: Journal) -> None:
    names = ["z", "a", "m"]
    for name in names:
        journal.accept(accepted(name, 100))
    assert [part.result_id for part in journal.pending()] == names
