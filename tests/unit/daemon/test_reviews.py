"""What people say of alerts reaches the kept scans, once, in order, and not without its scan's chance to be written."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from daemon.alert_store import review_time
from daemon.reviews import AGAIN_AFTER_S, PATIENCE_S, Reviews, counter_of
from mdss.collection import CollectedPart, CollectedScan, Collection, Review
from mdss.errors import MdssError
from mdss.wire.heartbeat import Tally
from tests.fakes import FakeClock, refuses_with

MS, HOUR_NS = 10**6, 3600 * 10**9


class Bench:
    """A stream of reviews in a list, and the collection that they are about."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.tally = folder, FakeClock(), Tally()
        self.stream: list[tuple[str, dict[str, str]]] = []
        self.collection, self.away = Collection(folder / "collected"), ""
        self.reviews = self.begun()

    def begun(self) -> Reviews:
        """Return what a process that starts now works with."""
        return Reviews(self, self.collection, self.folder / "reviews.json", self.tally, self.clock)

    def reviews_from(self, entry: str, limit: int) -> list[tuple[str, dict[str, str]]]:
        if self.away:
            raise MdssError(self.away)
        return [row for row in self.stream if key(row[0]) >= key(entry)][:limit]

    def lose_the_note(self) -> None:
        """Begin anew with a note that says nothing."""
        (self.folder / "reviews.json").write_text("{")
        self.reviews = self.begun()

    def keep(self, name: str) -> None:
        part = CollectedPart(result_id=name, part_id="p", source_id="cam", recipe_id="cap", captured_ns=1, judged_ns=2, evaluation="NotOK")
        self.collection.add(part, np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.float32))

    def say(self, name: str, state: str, at_ns: int = 50, **more: str) -> None:
        self.stream.append((f"{len(self.stream) + 1}-0", {"result_id": name, "state": state, "by": "anna", "at_ns": str(at_ns)} | more))

    def turn(self) -> None:
        self.clock.advance(AGAIN_AFTER_S)
        self.reviews.turn()

    def label(self, name: str) -> str | None:
        found = self.collection.find(name)
        assert found is not None
        return found.label

    def count(self, result: str) -> float:
        return self.tally.counters[counter_of(result)]


def key(entry: str) -> tuple[int, int]:
    milliseconds, number = entry.split("-")
    return int(milliseconds), int(number)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_false_reject_is_a_good_part_and_a_confirmed_one_a_defect(bench: Bench) -> None:
    for name in ("dust", "dent", "seen"):
        bench.keep(name)
    bench.say("dust", "false_reject", note="only dust")
    bench.say("dent", "confirmed")
    bench.say("seen", "acknowledged")
    bench.turn()
    assert [bench.label(name) for name in ("dust", "dent", "seen")] == ["good", "defect", None]
    found = bench.collection.find("dust")
    assert found is not None and found.review == Review(label="good", by="anna", at_ns=50, note="only dust", entry="1-0")
    assert bench.count("labelled") == 2


def test_a_scan_that_is_removed_while_it_is_labelled_is_not_counted_as_labelled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.keep("a")
    find = Collection.find

    def found_and_removed(collection: Collection, result_id: str) -> CollectedScan | None:
        found = find(collection, result_id)
        collection.prune(0)
        return found

    monkeypatch.setattr(Collection, "find", found_and_removed)
    bench.say("a", "confirmed")
    for _ in range(2):
        bench.turn()
    assert (bench.count("labelled"), bench.count("not_collected")) == (0, 1)


def test_a_corrected_review_is_the_one_that_counts(bench: Bench) -> None:
    bench.keep("a")
    bench.stream.extend((f"{number}-0", {}) for number in range(1, 9))  # as texts, the tenth entry comes before the ninth
    bench.say("a", "confirmed", 50)
    bench.say("a", "false_reject", 60)
    bench.turn()
    assert bench.label("a") == "good"


@pytest.mark.parametrize("turns", [1, 2])
def test_the_later_review_counts_though_the_clock_of_its_console_is_behind(bench: Bench, turns: int) -> None:
    bench.keep("a")
    bench.say("a", "false_reject", 2 * HOUR_NS)
    for _ in range(turns - 1):
        bench.turn()
    bench.say("a", "confirmed", HOUR_NS, note="dent")
    bench.turn()
    assert (bench.label("a"), bench.count("labelled")) == ("defect", 2)
    bench.lose_the_note()
    bench.turn()
    assert (bench.label("a"), bench.count("labelled")) == ("defect", 0), "what is read once more changes nothing"


def test_a_label_given_at_the_station_gives_way_to_what_redis_took_later_and_to_nothing_else(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, at_ns in (("earlier", MS), ("later", 9 * MS)):
        bench.keep(name)
        bench.collection.label(name, Review(label="good", by="by hand", at_ns=at_ns))
    bench.stream.append(("5-0", {"result_id": "earlier", "state": "confirmed", "at_ns": "0"}))
    bench.stream.append(("5-1", {"result_id": "later", "state": "confirmed", "at_ns": str(HOUR_NS)}))
    bench.turn()
    assert [bench.label(name) for name in ("earlier", "later")] == ["defect", "good"]
    assert (bench.count("labelled"), bench.count("outdated")) == (1, 1)
    assert "a review is older than the label that was given at the station" in capsys.readouterr().out


def test_what_was_read_is_not_read_again_after_a_restart(bench: Bench) -> None:
    bench.keep("a")
    bench.say("a", "confirmed")
    bench.turn()
    bench.collection.label("a", Review(label="good", by="by hand", at_ns=1))
    bench.reviews = bench.begun()
    bench.turn()
    assert bench.label("a") == "good" and bench.count("labelled") == 0, "the counters begin anew, nothing is labelled"


def test_a_stream_without_the_last_entry_that_was_read_is_read_anew_and_that_is_said_once(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.keep("a")
    bench.stream.append(("9-0", {"result_id": "gone", "state": "acknowledged"}))
    bench.turn()
    bench.stream.clear()
    for _ in range(3):
        bench.turn()
    bench.say("a", "confirmed")
    bench.turn()
    assert (bench.label("a"), bench.count("labelled")) == ("defect", 1)
    assert capsys.readouterr().out.count("its stream is read anew") == 1


def test_a_lost_note_changes_nothing_that_was_said_later(bench: Bench) -> None:
    bench.keep("a")
    bench.say("a", "confirmed", 50)
    bench.turn()
    bench.collection.label("a", Review(label="good", by="by hand", at_ns=70 * MS))
    bench.lose_the_note()
    bench.turn()
    assert (bench.label("a"), bench.count("outdated")) == ("good", 1)


@pytest.mark.parametrize("entry", ["", "1", "abc-0", "1-0 +", f"{10**20}-0"])
def test_a_note_of_no_entry_that_redis_knows_is_as_good_as_none(bench: Bench, entry: str) -> None:
    bench.keep("a")
    bench.say("a", "confirmed")
    (bench.folder / "reviews.json").write_text(f'{{"entry": "{entry}"}}')
    bench.reviews = bench.begun()
    bench.turn()
    assert (bench.label("a"), bench.reviews.trouble) == ("defect", "")


def test_a_scan_that_is_only_being_written_is_waited_for(bench: Bench) -> None:
    bench.say("a", "false_reject")
    bench.turn()
    bench.keep("a")
    bench.turn()
    assert (bench.label("a"), bench.count("not_collected")) == ("good", 0)


def test_a_review_without_its_scan_is_counted_once_and_holds_up_no_other(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.keep("b")
    bench.say("never kept", "false_reject")
    bench.say("b", "false_reject")
    bench.turn()
    assert bench.label("b") is None
    bench.clock.advance(PATIENCE_S)
    bench.turn()
    assert (bench.label("b"), bench.count("not_collected"), bench.count("labelled")) == ("good", 1, 1)
    assert "whose scan is not kept" in capsys.readouterr().out
    bench.turn()
    assert bench.count("not_collected") == 1


def test_many_reviews_without_their_scans_hold_up_the_next_no_longer_than_one(bench: Bench) -> None:
    bench.keep("b")
    for number in range(50):
        bench.say(f"pruned {number}", "confirmed")
    bench.say("b", "confirmed")
    bench.turn()
    bench.turn()
    assert (bench.label("b"), bench.count("not_collected")) == ("defect", 50)


def test_foreign_entries_do_no_harm_and_those_that_say_nothing_are_counted_and_said(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.keep("a")
    bench.stream.append(("1-0", {}))
    bench.stream.append(("2-0", {"result_id": "../../etc", "state": "confirmed"}))
    bench.stream.append(("3-7", {"result_id": "a", "state": "eaten"}))
    bench.stream.append(("4000-1", {"result_id": "a", "state": "confirmed", "at_ns": "yesterday"}))
    for _ in range(3):
        bench.turn()
    found = bench.collection.find("a")
    assert found is not None and found.review == Review(label="defect", by="unknown", at_ns=4_000_000_000, entry="4000-1")
    assert bench.count("unusable") == 2
    said = capsys.readouterr().out
    assert "found state 'eaten' of result 'a', expected one of acknowledged, confirmed, false_reject, and a result id" in said


def test_while_redis_is_away_nothing_is_lost_and_it_is_said(bench: Bench) -> None:
    bench.keep("a")
    bench.say("a", "confirmed")
    bench.away = "Redis does not answer"
    bench.turn()
    assert bench.reviews.trouble == "reviews cannot be carried to the scans: Redis does not answer"
    bench.away = ""
    bench.turn()
    assert (bench.label("a"), bench.reviews.trouble) == ("defect", "")


def test_a_disk_that_takes_no_label_keeps_the_review_waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.keep("a")
    bench.say("a", "confirmed")

    with monkeypatch.context() as broken:
        broken.setattr(bench.collection, "label", refuses_with(errno.ENOSPC))
        bench.turn()
    told = "reviews cannot be carried to the scans: [Errno 28] No space left on device"
    assert (bench.reviews.trouble, bench.label("a")) == (told, None)
    bench.turn()
    assert (bench.label("a"), bench.reviews.trouble) == ("defect", "")


def test_a_review_that_cannot_be_used_is_counted_said_and_holds_up_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        bench.keep(name)
        bench.say(name, "confirmed")
    find = bench.collection.find

    def find_all_but_a(result_id: str) -> CollectedScan | None:
        if result_id == "a":
            raise ValueError("whatever the next release has not thought of")
        return find(result_id)

    with monkeypatch.context() as broken:
        broken.setattr(bench.collection, "find", find_all_but_a)
        bench.turn()
    assert (bench.label("a"), bench.label("b"), bench.count("unusable"), bench.reviews.trouble) == (None, "defect", 1, "")
    assert "a review cannot be used" in capsys.readouterr().out
    bench.reviews = bench.begun()
    bench.turn()
    assert bench.count("unusable") == 0, "the counters begin anew, and the next life does not read it again"


@pytest.mark.parametrize(("text", "said"), [("9" * 19, 10**19 - 1), ("0", 0), ("1" * 20, None), ("", None), ("\u0663", None), ("-1", None)])
def test_a_time_is_a_number_of_at_most_19_plain_digits(text: str, said: int | None) -> None:
    assert review_time(text) == said
