"""A snapshot port that answers nothing for a while: how long a subscriber waits for it then, and how much it asks for."""

from __future__ import annotations

import pytest

from mdss.client import VerdictStream
from tests.verdict_station import Station

pytestmark = pytest.mark.timeout(60)


def test_however_many_questions_had_no_answer_the_next_one_comes_after_the_longest_patience(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mdss.wire.verdict_stream.ASK_AGAIN_S", 0.05)
    monkeypatch.setattr("mdss.wire.verdict_stream.LONGEST_PATIENCE_S", 0.2)
    station.unanswered = 9
    station.judge(1, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        verdict = stream.receive(10)
    assert verdict is not None and verdict.sequence == 1


def test_once_answers_come_in_time_again_as_much_is_asked_for_at_once_as_before(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdss.wire.verdict_stream.ASK_AGAIN_S", 0.5)
    station.unanswered = 2
    for sequence in range(1, 601):
        station.judge(sequence, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        assert all(stream.receive(20) is not None for _ in range(600))
    assert station.asked == 2 + 2  # a quarter of the most at first, which came in time, and then the rest
