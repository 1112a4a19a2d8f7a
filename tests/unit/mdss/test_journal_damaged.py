"""Pages of the journal that the disk damaged cost what stands on them, and nothing beside it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mdss import journal as journal_module
from mdss import journal_ageing
from mdss.journal import Journal, JournalDamaged
from mdss.wire.snapshot import answer, read_reply
from tests.parts import accepted, verdict

PAGE = 4096
JUDGED = [f"part-{number:02}" for number in range(60)]
OPEN = [f"open-{number:02}" for number in range(30)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a journal of parts that are not OK, and of open ones."""
    made = tmp_path / "journal.sqlite"
    with closing(Journal(made)) as journal:
        journal._file.rows("PRAGMA synchronous = OFF")
        for name in JUDGED:
            journal.judge(verdict(accepted(name, 100), "NotOK"))
        for name in OPEN:
            journal.accept(accepted(name, 100))
    return made


def damage(path: Path, name: str) -> list[str]:
    """Overwrite the page on which the journal's text of a part stands; return the parts whose texts stood there."""
    content = path.read_bytes()
    marks = {each: b'"frame_id":"%s"' % each.encode() for each in JUDGED + OPEN}
    assert content.count(marks[name]) == 1
    at = content.index(marks[name]) // PAGE * PAGE
    path.write_bytes(content[:at] + bytes(range(256)) * (PAGE // 256) + content[at + PAGE :])
    return [each for each, mark in marks.items() if mark in content[at : at + PAGE]]


def test_a_damaged_page_costs_its_verdicts_alone_and_each_is_named_and_counted_once(path: Path) -> None:
    lost = damage(path, "part-30")
    assert 0 < len(lost) < 10
    readable = [name for name in JUDGED if name not in lost]
    counted = list[None]()
    with closing(Journal(path, on_unreadable=lambda: counted.append(None))) as journal, capture_logs() as logs:
        for _ in range(2):
            assert [each.result_id for each in journal.since(0, 1000)] == readable
            assert [each.result_id for each in journal.undelivered(1000)] == readable
            assert [each.result_id for each in journal.since(0, 31)] == readable[:31]
        reply = read_reply(answer(b'{"since":0}', journal, "boot"))
        assert ([each.result_id for each in reply.verdicts], reply.last_sequence) == (readable, len(JUDGED))
        journal.mark_delivered(readable)
        assert journal.undelivered(1000) == []
        assert journal.judge(verdict(accepted("new", 100), "NotOK")).sequence == len(JUDGED) + 1
        assert [each.result_id for each in journal.undelivered(1000)] == ["new"]
    assert [line["sequence"] for line in logs] == [JUDGED.index(name) + 1 for name in lost]
    assert {line["reason"] for line in logs} == {journal.damage} == {"database disk image is malformed"}
    assert len(counted) == len(lost)


def test_open_parts_on_a_damaged_page_are_named_left_out_and_keep_no_other_from_its_verdict(path: Path) -> None:
    lost = damage(path, "open-10")
    assert 0 < len(lost) < len(OPEN)
    with closing(Journal(path)) as journal, capture_logs() as logs:
        journal.repair()
        assert [line["frame_ids"] for line in logs] == [lost]
        pending = journal.pending()
        assert [each.result_id for each in pending] == [name for name in OPEN if name not in lost]
        for part in pending:
            journal.judge(verdict(part))
        assert journal.pending() == []
        found = journal.find("cam", pending[0].identity.frame_id)
        assert found is not None and found.sequence == len(JUDGED) + 1
        with pytest.raises(JournalDamaged, match="malformed"):
            journal.find("cam", lost[0])


@pytest.mark.parametrize("at_once", [1000, 2])
def test_what_can_be_forgotten_is_forgotten_round_a_damaged_page_however_many_parts_it_holds(
    path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_ageing, "AT_ONCE", at_once)
    lost = damage(path, "part-30")
    with closing(Journal(path)) as journal:
        journal.mark_delivered([each.result_id for each in journal.since(0, 1000)])
        forgotten = 0
        while step := journal.prune(2**62):
            forgotten += step
        left = [sequence for (sequence,) in journal._file.rows("SELECT sequence FROM part WHERE sequence IS NOT NULL ORDER BY sequence")]
        assert forgotten == len(JUDGED) - len(left)
        assert {JUDGED.index(name) + 1 for name in lost} <= set(left)
        assert left[0] > len(JUDGED) // 4 and len(left) <= 3 * len(lost)  # what stands on the pages beside it may have to stay
        journal.accept(accepted("new", 100))
        assert journal.judge(verdict(accepted("new", 100))).sequence == len(JUDGED) + 1


def test_an_alert_that_nobody_has_got_is_not_forgotten_round_a_damaged_page_either(path: Path) -> None:
    damage(path, "part-30")
    with closing(Journal(path)) as journal:
        journal.mark_delivered([each.result_id for each in journal.since(0, 1000) if each.result_id != "part-03"])
        while journal.prune(2**62):
            pass
        assert [each.result_id for each in journal.undelivered(1000)] == ["part-03"]


def test_room_is_made_for_open_parts_alone_so_that_no_verdict_is_lost_to_it(path: Path) -> None:
    with closing(Journal(path)) as journal:
        before = journal.since(0, 1000)
        for name in (JUDGED[0], OPEN[0]):
            journal._file.rows(journal_module.MOVE_PART, name)
        assert journal.since(0, 1000) == before
        assert [each.result_id for each in journal.pending()] == [*OPEN[1:], OPEN[0]]
