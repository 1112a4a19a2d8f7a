"""What the journal forgets is found without holding anybody up, and is as old as it is in truth."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mdss import journal_ageing
from mdss.journal import Journal
from tests.parts import accepted, verdict


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.sqlite")) as made:
        yield made


def test_while_old_alerts_wait_that_nobody_takes_pruning_keeps_no_other_process_from_writing(journal: Journal) -> None:
    """As after weeks without Redis: whatever else may go is looked for before anybody has to wait."""
    alerts, refused = 3000, list[bool]()
    insert = "INSERT INTO part (result_id, source_id, frame_id, sequence, evaluation, judged_ns) VALUES (?1, 'cam', ?1, ?2, 'NotOK', 10)"
    with journal._file.transaction():
        for number in range(1, alerts + 1):
            journal._file.rows(insert, f"alert-{number}", number)
        journal._file.rows("UPDATE counter SET last_sequence = ?", alerts)
    journal.judge(verdict(accepted("old", 100), "OK", 20))
    other = sqlite3.connect(journal._file.path, isolation_level=None, timeout=0)

    def write() -> None:
        try:
            other.execute("BEGIN IMMEDIATE").execute("ROLLBACK")
        except sqlite3.OperationalError:
            refused.append(True)
        else:
            refused.append(False)

    journal._file._db.set_progress_handler(write, 1000)  # each so many steps of SQLite, which passes over some hundred alerts in them
    assert [journal.prune(50), journal.prune(50)] == [1, 0]
    other.close()
    assert len(refused) > 10 and sum(refused) <= 1


def test_what_may_be_forgotten_is_found_without_a_file_for_which_a_full_disk_has_no_room(journal: Journal) -> None:
    journal.prune(50)
    assert journal._file.rows("PRAGMA temp_store") == [(2,)]  # MEMORY


@pytest.mark.parametrize("at_once", [1000, 2])
def test_parts_that_a_wrong_clock_dated_are_dated_anew_and_no_others_and_no_verdict_changes(
    journal: Journal, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_ageing, "AT_ONCE", at_once)
    judged = [journal.judge(verdict(accepted(f"at-{when_ns}", 100), "OK", when_ns)) for when_ns in (9, 10, 11, 15, 20, 21)]
    journal.accept(accepted("open", 100))
    assert journal.redate(10, 20, 8) == 4
    assert journal._file.rows("SELECT judged_ns FROM part ORDER BY rowid") == [(9,), (18,), (19,), (23,), (28,), (21,), (None,)]
    assert journal.since(0, 10) == judged
    assert journal.redate(10, 17, 8) == 0
