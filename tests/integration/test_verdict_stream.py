"""A subscriber against a real XPUB and a real snapshot port: each verdict once, in order, whatever was missed."""

from __future__ import annotations

from threading import Timer

import msgspec
import pytest
import zmq

from mdss.client import VerdictStream
from mdss.errors import MdssError
from mdss.wire import snapshot
from tests.verdict_station import Station

pytestmark = pytest.mark.timeout(60)


def take(stream: VerdictStream, count: int) -> list[int]:
    got = [stream.receive(20) for _ in range(count)]
    return [one.sequence for one in got if one is not None]


def test_a_start_from_a_known_sequence_brings_what_was_missed_then_what_comes(station: Station) -> None:
    for sequence in range(1, 6):
        station.judge(sequence, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=2) as stream:
        station.wait_for_subscriber()
        assert take(stream, 3) == [3, 4, 5]
        station.judge(6)
        assert take(stream, 1) == [6]


def test_a_start_from_now_leaves_out_the_past(station: Station) -> None:
    station.judge(1, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots) as stream:
        station.wait_for_subscriber()
        station.wait_for_question()
        assert stream.receive(0.5) is None
        station.judge(2)
        assert take(stream, 1) == [2]


def test_now_is_when_the_stream_was_made_not_when_it_was_first_read(station: Station) -> None:
    with VerdictStream(station.endpoint, station.snapshots) as stream:
        station.wait_for_subscriber()
        station.wait_for_question()
        station.judge(1)
        assert take(stream, 1) == [1]


def test_a_gap_is_filled_in_order_and_nothing_comes_twice(station: Station) -> None:
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        station.judge(1)
        station.judge(2, is_published=False)
        station.judge(3)
        station.judge(4)
        assert take(stream, 4) == [1, 2, 3, 4]
        assert stream.receive(0.1) is None


def test_a_heartbeat_tells_of_the_last_verdict_that_was_missed(station: Station) -> None:
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        station.judge(1)
        assert take(stream, 1) == [1]
        station.judge(2, is_published=False)
        station.beat()
        assert take(stream, 1) == [2]
        assert stream.beats is not None and stream.beats.sequence == 2


def test_a_restarted_station_continues_and_a_new_journal_begins_again(station: Station) -> None:
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        station.judge(1)
        station.beat()
        station.boot_id = "after restart"
        station.judge(2)
        station.beat()
        assert take(stream, 2) == [1, 2]
        station.boot_id, station.journal = "new journal", []
        station.judge(1, is_published=False)
        station.beat()
        assert take(stream, 1) == [1]


def test_a_stored_sequence_beyond_a_new_journal_starts_again_from_its_first_verdict(station: Station) -> None:
    station.judge(1, is_published=False)
    station.judge(2, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=40) as stream:
        station.wait_for_subscriber()
        assert take(stream, 2) == [1, 2]
        station.beat()
        station.judge(3)
        assert take(stream, 1) == [3]


def test_a_journal_that_began_anew_before_the_first_heartbeat_is_noticed_by_it(station: Station) -> None:
    station.judge(7, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=6) as stream:
        station.wait_for_subscriber()
        assert take(stream, 1) == [7]
        station.boot_id, station.journal = "new journal", []
        station.judge(1)
        station.beat()
        assert take(stream, 1) == [1]


@pytest.mark.parametrize("length", [2, 3, 5])
@pytest.mark.parametrize("is_told_by", ["beat", "verdict"])
def test_a_new_journal_that_is_as_long_as_the_old_one_by_now_is_noticed(station: Station, length: int, is_told_by: str) -> None:
    for sequence in (1, 2):
        station.judge(sequence, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=1) as stream:
        station.wait_for_subscriber()
        assert take(stream, 1) == [2]
        station.install_anew(length - (is_told_by == "verdict"))
        if is_told_by == "verdict":
            station.judge(length)
        else:
            station.beat()
        got = [stream.receive(20) for _ in range(length)]
        assert [one and one.result_id for one in got] == [f"new-r{sequence}" for sequence in range(1, length + 1)]
        assert stream.new_journals == 1


@pytest.mark.parametrize("since", [2, None])
def test_a_new_journal_is_noticed_by_who_knew_a_sequence_alone_or_began_with_what_comes_next(station: Station, since: int | None) -> None:
    for sequence in (1, 2):
        station.judge(sequence, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=since) as stream:
        station.wait_for_subscriber()
        station.wait_for_question()
        while stream._is_behind:  # until it has been told of the last verdict, and which that is
            assert stream.receive(0.1) is None
        assert stream.last_sequence == 2
        station.install_anew(3)
        station.beat()
        assert take(stream, 3) == [1, 2, 3]


def test_what_waited_of_the_old_journal_is_not_delivered_among_the_new(station: Station) -> None:
    station.judge(1, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        assert take(stream, 1) == [1]
        station.judge(2, is_published=False)  # a gap
        for sequence in (3, 4):  # waits in the stream's queue while the station is installed anew
            station.judge(sequence)
        station.install_anew(2)
        station.judge(3)
        got = [stream.receive(20) for _ in range(3)]
        assert [one and one.result_id for one in got] == ["new-r1", "new-r2", "new-r3"]
        assert stream.receive(0.3) is None


def test_a_known_verdict_that_the_station_keeps_no_longer_is_no_sign_of_a_new_journal(station: Station) -> None:
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        station.judge(1, "NotOK")
        station.judge(2)
        assert take(stream, 2) == [1, 2]
        station.judge(3, is_published=False)
        del station.journal[1]  # too old; the first one is kept until its alert is delivered
        station.beat()
        assert take(stream, 1) == [3]
        assert stream.receive(0.3) is None


def test_a_new_journal_is_noticed_though_the_old_one_kept_the_last_known_verdict_no_longer(station: Station) -> None:
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        station.judge(1)
        assert take(stream, 1) == [1]
        station.boot_id, station.journal, station.forgotten = "after restart", [], 1
        station.beat()
        while stream.beats is None or stream.beats.boot_id != station.boot_id or stream._is_behind:
            assert stream.receive(0.1) is None
        station.forgotten = 0
        station.install_anew(2)
        station.beat()
        assert take(stream, 2) == [1, 2]


def test_the_last_sequence_is_that_of_what_was_returned_however_much_has_arrived(station: Station) -> None:
    for sequence in range(1, 6):
        station.judge(sequence, "OK" if sequence % 2 else "NotOK", is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, topics=("verdict/s/c/NotOK",), since=0) as stream:
        assert [(take(stream, 1), stream.last_sequence) for _ in range(2)] == [([2], 3), ([4], 5)]


def test_a_connection_over_which_nothing_comes_is_made_anew_and_one_over_which_heartbeats_come_is_not(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mdss.wire.verdict_stream.SILENT_S", 0.6)
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        for _ in range(20):
            station.beat()
            assert stream.receive(0.05) is None
        assert station.subscribed_anew() == 0
        for _ in range(20):
            assert stream.receive(0.05) is None
        assert 1 <= station.subscribed_anew() <= 3
        assert stream.receive(2.0) is None  # however long somebody waits at once
        assert 2 <= station.subscribed_anew() <= 4
        station.judge(1)
        while (verdict := stream.receive(0.1)) is None:
            station.beat()  # the verdict itself may have come before the newest connection was there
        assert verdict.sequence == 1


def test_who_iterates_is_given_each_verdict_however_long_the_line_rests_before_it(station: Station) -> None:
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        station.judge(1)
        verdicts = iter(stream)
        assert next(verdicts).sequence == 1
        after_a_rest = Timer(1.2, station.judge, (2,))
        after_a_rest.start()
        assert next(verdicts).sequence == 2
        after_a_rest.join()


def test_an_old_heartbeat_that_waited_brings_nothing_twice(station: Station) -> None:
    station.judge(1, is_published=False)
    station.judge(2, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        station.beat(sequence=1)
        assert take(stream, 2) == [1, 2]
        assert stream.receive(0.1) is None
        station.judge(3)
        assert take(stream, 1) == [3]


def test_after_a_restart_a_heartbeat_older_than_the_snapshot_brings_nothing_twice(station: Station) -> None:
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        station.beat()
        station.judge(1)
        assert take(stream, 1) == [1]
        station.boot_id = "after restart"
        station.judge(2, is_published=False)
        station.judge(3)
        station.beat()
        station.judge(4)
        assert take(stream, 3) == [2, 3, 4]  # all from the snapshot port, before that beat is heard
        while stream.beats is None or stream.beats.sequence < 3:
            assert stream.receive(0.1) is None
        assert stream.receive(0.1) is None
        station.judge(5)
        assert take(stream, 1) == [5]


def test_a_question_without_an_answer_is_asked_again_however_long_somebody_waits_for_the_next_verdict(station: Station) -> None:
    station.unanswered = 1
    station.judge(1, is_published=False)
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        assert take(stream, 1) == [1]


def test_over_a_slow_link_less_is_asked_at_once_and_waited_for_longer(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdss.wire.verdict_stream.ASK_AGAIN_S", 0.05)
    monkeypatch.setattr("mdss.wire.verdict_stream.LONGEST_PATIENCE_S", 0.8)
    for sequence in range(1, 151):
        station.judge(sequence, is_published=False)
    station.byte_takes_s = 1.0 / len(snapshot.answer(b'{"since": 0}', station, "b"))  # all of them take longer than anybody waits
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        assert take(stream, 150) == list(range(1, 151))
    assert station.asked < 25  # what was learned of the link is kept: without that it is more than thirty


@pytest.mark.parametrize("message", [[b"verdict/s/c/OK", b'{"schema": "mdss.verdict.v2"}'], [b"heartbeat/s", b"\xff"], [b"verdict/s/c/OK"]])
def test_what_no_station_of_this_release_says_is_refused_with_the_endpoint(station: Station, message: list[bytes]) -> None:
    with VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        station.publisher.send_multipart(message)
        with pytest.raises(MdssError, match=f"{station.endpoint}: found a message that cannot be read"):
            stream.receive(20)


def test_topics_choose_without_breaking_the_order(station: Station) -> None:
    with VerdictStream(station.endpoint, station.snapshots, since=0, topics=("verdict/s/c/NotOK",)) as stream:
        station.wait_for_subscriber()
        station.judge(1)
        station.judge(2, "NotOK")
        station.judge(3)
        station.judge(4, "NotOK")
        assert take(stream, 2) == [2, 4]


def test_a_request_that_cannot_be_read_is_answered_with_the_reason(station: Station) -> None:
    with station.context.socket(zmq.DEALER) as dealer:
        dealer.connect(station.snapshots)
        dealer.send(b'{"sins": 3}')
        assert "snapshot request" in msgspec.json.decode(dealer.recv(), type=snapshot.SnapshotReply).error
