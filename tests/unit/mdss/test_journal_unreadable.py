"""What cannot be read in the journal, of a later release or damaged, keeps back nothing else and is never lost without a word."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from mdss.journal import Journal
from mdss.settings import FusionSettings
from mdss.wire.snapshot import answer, read_reply
from mdss.wire.verdict import Verdict
from tests.parts import accepted, verdict
from workers.judge import Judge, JudgedPart, VerdictOrigin, verdict_of
from workers.part_join import GRACE_NS, PartJoin


def of_a_later_release(text: bytes) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(text) | {"attempt": "A_WORD_OF_LATER"})


def damaged(text: bytes) -> bytes:
    return text.replace(b'"cam"', b'"c\xe1m"')


class Station:
    """A journal with alerts in it, how it is made unreadable, and how many verdicts were counted as that."""

    def __init__(self, path: Path, spoilt: Callable[[bytes], bytes]) -> None:
        self.counted, self.spoilt = 0, spoilt
        self.journal = Journal(path, on_unreadable=self._count)

    def _count(self) -> None:
        self.counted += 1

    def judge(self, *names: str) -> None:
        """Journal a verdict that is not OK for each name."""
        for name in names:
            self.journal.judge(verdict(accepted(name, 100), "NotOK"))

    def make_unreadable(self, *names: str) -> None:
        """Spoil the verdicts of these parts."""
        for name in names:
            ((text,),) = self.journal._file.rows("SELECT verdict FROM part WHERE result_id = ?", name)
            self.journal._file.rows("UPDATE part SET verdict = CAST(? AS TEXT) WHERE result_id = ?", self.spoilt(text), name)

    def make_acceptance_unreadable(self, name: str) -> None:
        """Spoil what was accepted of a part."""
        ((text,),) = self.journal._file.rows("SELECT accepted FROM part WHERE result_id = ?", name)
        self.journal._file.rows("UPDATE part SET accepted = CAST(? AS TEXT) WHERE result_id = ?", self.spoilt(text), name)


@pytest.fixture(params=[of_a_later_release, damaged])
def station(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Station]:
    made = Station(tmp_path / "journal.sqlite", request.param)
    yield made
    made.journal.close()


def names(verdicts: list[Verdict]) -> list[str]:
    return [each.result_id for each in verdicts]


def test_a_subscriber_gets_every_other_verdict_and_the_last_sequence(station: Station) -> None:
    station.judge("a", "b", "c")
    station.make_unreadable("b")
    reply = read_reply(answer(b'{"since":0}', station.journal, "boot"))
    assert [each.sequence for each in reply.verdicts] == [1, 3]
    assert reply.last_sequence == 3


def test_more_than_one_answer_holds_are_no_end_of_the_journal(station: Station) -> None:
    station.judge("a", "b", "c", "d", "e")
    station.make_unreadable("a", "b", "c")
    assert names(station.journal.since(0, 2)) == ["d", "e"]
    assert names(station.journal.since(4, 2)) == ["e"]
    assert names(station.journal.since(5, 2)) == []


def test_those_behind_it_come_in_the_order_in_which_they_were_judged_and_not_in_that_of_their_acceptance(station: Station) -> None:
    for name in "abcde":
        station.journal.accept(accepted(name, 100))
    station.judge(*"edcba")
    station.make_unreadable("e", "d")
    assert [names(station.journal.since(0, limit)) for limit in (1, 2, 3)] == [["c"], ["c", "b"], ["c", "b", "a"]]


def test_alerts_get_past_it_and_its_own_waits_for_a_release_that_can_read_it(station: Station) -> None:
    station.judge("a", "b")
    ((readable,),) = station.journal._file.rows("SELECT verdict FROM part WHERE result_id = 'a'")
    station.make_unreadable("a")
    assert names(station.journal.undelivered(1)) == ["b"]
    station.journal.mark_delivered(["b"])
    assert station.journal.undelivered(1) == []
    assert station.journal.prune(2**62) == 1
    station.journal._file.rows("UPDATE part SET verdict = CAST(? AS TEXT)", readable)
    assert names(station.journal.undelivered(1)) == ["a"]


def test_it_is_named_and_counted_once_however_often_it_is_met(station: Station) -> None:
    station.judge("a", "b")
    station.make_unreadable("a")
    with capture_logs() as logs:
        for _ in range(3):
            station.journal.since(0, 10)
            station.journal.undelivered(10)
    assert [(line["sequence"], line["result_id"]) for line in logs] == [(1, "a")]
    assert any(word in logs[0]["reason"] for word in ("attempt", "utf-8"))
    assert station.counted == 1


def test_a_part_whose_acceptance_cannot_be_read_is_asked_for_again_and_gets_its_verdict(station: Station) -> None:
    journal = station.journal
    for name in ("a", "b"):
        journal.accept(accepted(name, 100))
    station.make_acceptance_unreadable("a")
    with capture_logs() as logs:
        unread, readable = journal.pending()
        assert journal.pending() == [unread, readable]
    assert [(line["result_id"], line["frame_id"]) for line in logs] == [("a", "a")]
    assert readable == accepted("b", 100)
    assert (unread.result_id, unread.identity.source_id, unread.identity.frame_id, unread.identity.part_id) == ("a", "cam", "a", "")
    found = journal.find("cam", "a")
    assert found is not None and (found.sequence, found.attempt) == (None, 1)
    join, judge = PartJoin(), Judge({}, FusionSettings())
    join.recover([unread], now_ns=0)
    assert [asked.result_id for asked in join.resends()] == ["a"]
    (lost,) = join.tick(GRACE_NS)
    journal.judge(verdict_of(JudgedPart(lost, judge.judge(lost), None), VerdictOrigin("station", "boot", "configuration"), 7))
    (said,) = journal.since(0, 10)
    assert (said.result_id, said.frame_id, said.evaluation, said.code) == ("a", "a", "Undefined", "LOST")
    assert [each.result_id for each in journal.pending()] == ["b"]


def test_both_are_said_where_neither_what_was_accepted_nor_the_verdict_can_be_read(station: Station) -> None:
    station.journal.accept(accepted("a", 100))
    station.judge("a")
    station.make_unreadable("a")
    station.make_acceptance_unreadable("a")
    with capture_logs() as logs:
        for _ in range(2):
            found = station.journal.find("cam", "a")
            assert found is not None and (found.sequence, found.attempt, found.judged) == (1, 1, None)
    assert [line["result_id"] for line in logs] == ["a", "a"]
    assert station.counted == 1


def test_a_camera_that_sends_its_frame_again_learns_that_it_was_judged(station: Station) -> None:
    station.judge("a")
    known = station.journal.find("cam", "a")
    station.make_unreadable("a")
    assert known is not None and known.judged is not None
    assert station.journal.find("cam", "a") == replace(known, judged=None)
    assert station.counted == 1


def test_a_byte_that_the_disk_damaged_costs_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(Journal(path)) as journal:
        for name in ("open", "owed"):
            journal.accept(accepted(name, 100))
        for name in ("told", "seen"):
            journal.judge(verdict(accepted(name, 100), "NotOK"))
    content = path.read_bytes()
    for whole, broken in ((b'"frame_id":"open"', b'"frame_id":"ope\xee"'), (b'"frame_id":"told"', b'"frame_id":"tol\xe4"')):
        assert content.count(whole) == 1
        content = content.replace(whole, broken)
    path.write_bytes(content)
    with closing(Journal(path)) as journal:
        assert [(each.result_id, each.identity.part_id) for each in journal.pending()] == [("open", ""), ("owed", "p")]
        assert names(journal.since(0, 10)) == names(journal.undelivered(10)) == ["seen"]


def test_a_verdict_that_is_gone_from_its_row_costs_nothing_beside_it(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        for name in ("gone", "seen"):
            journal.judge(verdict(accepted(name, 100), "NotOK"))
        journal._file.rows("UPDATE part SET verdict = NULL WHERE result_id = 'gone'")
        assert names(journal.since(0, 10)) == names(journal.undelivered(10)) == ["seen"]


def test_a_damaged_name_of_camera_or_frame_costs_nothing_where_the_rest_can_be_read(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        journal.accept(accepted("a", 100))
        journal._file.rows("UPDATE part SET source_id = CAST(x'e1' AS TEXT), frame_id = CAST(x'e1' AS TEXT)")
        assert journal.pending() == [accepted("a", 100)]
        journal.judge(verdict(accepted("a", 100)))
        assert names(journal.since(0, 10)) == ["a"]


@pytest.mark.parametrize("spoilt", [b"ope\xee", b"opem"])
def test_a_part_whose_result_id_the_disk_damaged_has_it_again_after_a_restart_and_gets_its_verdict(tmp_path: Path, spoilt: bytes) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(Journal(path)) as journal:
        for name in ("open", "owed"):
            journal.accept(accepted(name, 100))
    content = path.read_bytes()
    row = b"open" + b"cam" + b"open" + b'{"type"'  # of the table: the indices keep it as it was
    assert content.count(row) == 1
    path.write_bytes(content.replace(row, spoilt + row[4:]))
    with closing(Journal(path)) as journal, capture_logs() as logs:
        assert journal.pending() == [accepted("owed", 100)]
        for _ in range(2):
            journal.repair()
        assert journal.pending() == [accepted("open", 100), accepted("owed", 100)]
        assert [line["frame_ids"] for line in logs] == [["open"]]
        journal.judge(verdict(accepted("open", 100)))
        found = journal.find("cam", "open")
        assert found is not None and (found.result_id, found.sequence) == ("open", 1)
        assert journal._file.rows("PRAGMA integrity_check") == [(b"ok",)]


def test_a_part_whose_result_id_stands_nowhere_any_more_gets_another_and_its_verdict_under_that(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        journal.accept(accepted("a", 100))
        journal._file.rows("UPDATE part SET result_id = CAST(x'e1' AS TEXT), accepted = '{'")
        journal.repair()
        (part,) = journal.pending()
        assert journal.pending() == [part] and part.identity.frame_id == "a"
        assert journal.judge(verdict(part)).sequence == 1
        assert journal.pending() == []


def test_a_part_that_no_verdict_can_be_stored_for_is_named_and_left_out_until_it_can(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.sqlite", busy_timeout_s=0.01)) as journal:
        for name in ("a", "b"):
            journal.accept(accepted(name, 100))
        journal._file.rows("UPDATE part SET result_id = CAST(x'e1' AS TEXT) WHERE result_id = 'a'")
        with capture_logs() as logs, closing(sqlite3.connect(journal._file.path)) as other:
            other.execute("BEGIN IMMEDIATE")
            journal.repair()
            assert journal.pending() == [accepted("b", 100)]
        assert [(line["frame_ids"], "locked" in line["reason"]) for line in logs] == [(["a"], True)]
        journal.repair()
        assert journal.pending() == [accepted("a", 100), accepted("b", 100)]
