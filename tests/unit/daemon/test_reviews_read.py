"""How reviews are read: how often, from whom, in which order, and when the note on them is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.reviews import AGAIN_AFTER_S, MOST_AT_ONCE
from tests.unit.daemon.test_reviews import Bench


class CountingBench(Bench):
    """A stream that counts how often it is read."""

    asked = 0

    def reviews_from(self, entry: str, limit: int) -> list[tuple[str, dict[str, str]]]:
        self.asked += 1
        return super().reviews_from(entry, limit)

    def turns(self, seconds: float) -> int:
        """Take turns eight times a second, and return how often the stream was read meanwhile."""
        before = self.asked
        for _ in range(round(seconds * 8)):
            self.reviews.turn()
            self.clock.advance(1 / 8)
        return self.asked - before


@pytest.fixture
def bench(tmp_path: Path) -> CountingBench:
    return CountingBench(tmp_path)


def test_redis_is_asked_once_a_second_and_less_often_after_a_refusal_which_is_said_once(
    bench: CountingBench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.turns(5) == 5
    bench.away = "Redis does not answer"
    assert bench.turns(3 * AGAIN_AFTER_S) == 3
    bench.away = ""
    assert bench.turns(5) == 5
    assert capsys.readouterr().out.count("reviews cannot be carried to the scans") == 1


def test_another_redis_is_asked_at_once_however_long_the_first_would_have_been_left_alone(bench: CountingBench, tmp_path: Path) -> None:
    bench.away = "Redis does not answer"
    bench.turns(1)
    other = CountingBench(tmp_path / "other")
    bench.reviews.read_from(other)
    bench.turns(1 / 8)
    assert (other.asked, bench.reviews.trouble) == (1, "")


def test_the_note_is_written_when_something_was_read_and_not_at_every_turn(bench: CountingBench) -> None:
    note = bench.folder / "reviews.json"
    bench.turns(2)
    assert not note.exists()
    bench.say("a", "acknowledged")
    bench.turns(2)
    written = note.stat()
    bench.turns(2)
    assert (note.stat().st_ino, note.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def test_of_two_reviews_that_redis_took_in_one_millisecond_the_later_counts(bench: CountingBench) -> None:
    bench.keep("a")
    for entry, state in (("5-9", "confirmed"), ("5-10", "false_reject")):
        bench.stream.append((entry, {"result_id": "a", "state": state}))
    bench.turns(1)
    assert (bench.label("a"), bench.count("labelled")) == ("good", 2)


def test_a_review_of_no_result_is_of_no_use_and_no_log_line_is_as_long_as_another_consoles_text(
    bench: CountingBench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.stream.append(("1-0", {"state": "confirmed"}))
    bench.stream.append(("2-0", {"state": 10_000 * "x", "result_id": 10_000 * "y"}))
    bench.turns(1)
    assert (bench.count("unusable"), bench.count("not_collected")) == (2, 0)
    said = capsys.readouterr().out
    assert f"found state '{80 * 'x'}' of result '{80 * 'y'}', expected" in said


@pytest.mark.parametrize("who", [{}, {"by": ""}])
def test_whoever_says_no_name_is_unknown(bench: CountingBench, who: dict[str, str]) -> None:
    bench.keep("a")
    bench.stream.append(("1-0", {"result_id": "a", "state": "confirmed", **who}))
    bench.turns(1)
    found = bench.collection.find("a")
    assert found is not None and found.review is not None and found.review.by == "unknown"


def test_more_reviews_than_are_read_at_once_are_all_read_in_the_turns_after(bench: CountingBench) -> None:
    bench.keep("a")
    for _ in range(2 * MOST_AT_ONCE):
        bench.say("a", "acknowledged")
    bench.say("a", "confirmed")
    bench.turns(2)
    assert bench.label("a") is None
    bench.turns(1)
    assert bench.label("a") == "defect"


def test_whatever_breaks_is_said_and_never_raised(
    bench: CountingBench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.keep("a")
    bench.say("a", "confirmed")

    def broken(*_: object) -> list[tuple[str, dict[str, str]]]:
        raise RuntimeError("broken library")

    with monkeypatch.context() as other:
        other.setattr(bench, "reviews_from", broken)
        bench.turns(AGAIN_AFTER_S)
    assert bench.reviews.trouble == "reviews cannot be carried to the scans: RuntimeError: broken library"
    assert "reading reviews broke" in capsys.readouterr().out  # with its traceback
    bench.turns(AGAIN_AFTER_S)
    assert (bench.label("a"), bench.reviews.trouble) == ("defect", "")
