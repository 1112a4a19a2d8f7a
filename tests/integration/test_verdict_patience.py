"""What a subscriber asks the snapshot port, and when: how long it waits where nothing is answered, and that it asks nothing in vain."""

from __future__ import annotations

import psutil
import pytest

from mdss.client import VerdictStream
from tests.station import wait_until
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
    monkeypatch.setattr("mdss.wire.verdict_stream.ASK_AGAIN_S", 1.5)
    station.unanswered = 1
    for sequence in range(1, 601):
        station.judge(sequence, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        assert all(stream.receive(20) is not None for _ in range(600))
    assert station.asked == 1 + 2  # half of the most at first, which came in time, and then the rest


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask nothing again because its answer was late: busy cores may be slow."""
    monkeypatch.setattr("mdss.wire.verdict_stream.ASK_AGAIN_S", 20.0)


def heard(stream: VerdictStream, station: Station, beats: int) -> None:
    """Let a subscriber hear so many heartbeats."""
    for _ in range(beats):
        stream.beats = None
        station.beat()
        while stream.beats is None:
            assert stream.receive(0.1) is None


def test_who_has_every_verdict_asks_nothing_however_many_heartbeats_come(station: Station, patient: None) -> None:
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        station.judge(1)
        assert stream.receive(20) is not None
        heard(stream, station, 1)
        asked = station.asked
        station.judge(2)
        assert stream.receive(20) is not None
        heard(stream, station, 3)
        assert station.asked == asked


def test_verdicts_that_the_station_keeps_no_longer_are_not_asked_for_at_each_heartbeat(station: Station, patient: None) -> None:
    station.forgotten = 7
    with VerdictStream(station.endpoint, station.snapshots, since=2) as stream:
        station.wait_for_subscriber()
        heard(stream, station, 4)
        assert (station.asked, stream.last_sequence) == (1, 2)
        station.judge(8, is_published=False)
        station.beat()
        verdict = stream.receive(20)
        assert verdict is not None and verdict.sequence == 8


def test_verdicts_that_the_station_keeps_no_longer_are_not_asked_for_without_end(station: Station, patient: None) -> None:
    station.forgotten = 7
    with VerdictStream(station.endpoint, station.snapshots, since=2) as stream:
        station.wait_for_subscriber()
        station.wait_for_question()
        assert stream.receive(0.5) is None
        assert station.asked == 1
        station.judge(8)
        verdict = stream.receive(20)
        assert verdict is not None and verdict.sequence == 8


def test_a_connection_that_is_made_anew_takes_the_place_of_the_one_before(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdss.wire.verdict_stream.SILENT_S", 0.05)
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        assert stream.receive(0.3) is None
        station.subscribed_anew()
        opened, anew = psutil.Process().num_fds(), 0
        while anew <= 15:  # on busy cores some end before the station has heard of them
            assert stream.receive(0.06) is None
            anew += station.subscribed_anew(within_ms=0)
        wait_until(lambda: psutil.Process().num_fds() < opened + 10)
