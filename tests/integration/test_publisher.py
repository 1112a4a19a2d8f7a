"""The sockets that face outwards, over real zmq: topics, maps, heartbeat and catching up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import msgspec
import pytest
import zmq
from structlog.testing import capture_logs

from mdss.client import VerdictStream
from mdss.errors import BadInput
from mdss.journal import Journal
from mdss.settings import Settings, VerdictSettings
from mdss.wire.heartbeat import Tally
from mdss.wire.snapshot import MOST_VERDICTS, SnapshotRequest, VerdictSource, read_reply
from mdss.wire.verdict import Beat, Verdict
from tests.parts import accepted, model
from workers import publisher
from workers.judge import JudgedPart, Judgement, VerdictOrigin, verdict_of
from workers.part_join import JoinedPart
from workers.publisher import LARGEST_QUESTION_BYTES, MOST_NOTICES, Publisher

pytestmark = pytest.mark.timeout(30)
MANY = 5000  # verdicts; a link keeps 1000 at each end, and what the kernel takes between
BEAT = Beat(station="line", boot_id="boot", sequence=1, time_ns=5)


def verdict(sequence: int) -> Verdict:
    """Return a good part's verdict."""
    settled = JudgedPart(JoinedPart(accepted("a", 100), None, {}, None), Judgement("OK", score=1.0), model())
    return msgspec.structs.replace(verdict_of(settled, VerdictOrigin("line", "boot", "configuration"), 50), sequence=sequence)


class Memory:
    """A journal, with two verdicts at first."""

    def __init__(self) -> None:
        self.last = 2

    def since(self, sequence: int, limit: int) -> Sequence[Verdict]:
        return [verdict(number) for number in range(sequence + 1, min(self.last, sequence + limit) + 1)]

    def last_sequence(self) -> int:
        return self.last


class Stage:
    """A publisher on sockets of its own."""

    def __init__(self, folder: Path, *, with_maps: bool = True, journal: VerdictSource | None = None) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.verdicts, self.snapshots = f"ipc://{folder}/verdicts", f"ipc://{folder}/snapshot"
        self.settings = Settings(verdicts=VerdictSettings(publish_maps=with_maps, endpoint=self.verdicts, snapshot_endpoint=self.snapshots))
        self.tally = Tally()
        self.opened = ExitStack()
        self.memory = Memory()
        self.publisher = Publisher(self.context, self.settings, journal or self.memory, "boot", self.tally)

    def subscriber(self, topic: bytes) -> zmq.Socket[bytes]:
        """Return a subscriber that the publisher has noticed."""
        socket = self.connected(zmq.SUB, self.verdicts)
        socket.subscribe(topic)
        known = self.tally.counters.get("mdss_subscriptions", 0.0)
        while self.tally.counters.get("mdss_subscriptions", 0.0) == known:
            self.publisher.serve(lambda: BEAT)
        return socket

    def connected(self, kind: int, endpoint: str, rcvhwm: int = 1000) -> zmq.Socket[bytes]:
        """Return a socket that is closed with the stage."""
        socket: zmq.Socket[bytes] = self.context.socket(kind)
        socket.linger, socket.rcvhwm = 0, rcvhwm
        socket.connect(endpoint)
        self.opened.callback(socket.close)
        return socket

    def close(self) -> None:
        """Close everything."""
        self.opened.close()
        self.publisher.close()
        self.context.destroy(linger=0)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def test_a_verdict_goes_to_its_topic_and_its_map_to_another(stage: Stage) -> None:
    subscriber = stage.subscriber(b"verdict/line/cam/OK")
    maps = stage.subscriber(b"map/")
    stage.publisher.publish(verdict(1), lambda: b"png")
    topic, payload = subscriber.recv_multipart()
    assert topic == b"verdict/line/cam/OK"
    assert msgspec.json.decode(payload, type=Verdict) == verdict(1)
    assert maps.recv_multipart() == [b"map/line/cam", b"a", b"png"]


def test_a_station_that_publishes_no_maps_makes_no_picture_of_them(tmp_path: Path) -> None:
    quiet = Stage(tmp_path, with_maps=False)
    subscriber = quiet.subscriber(b"verdict/")
    quiet.publisher.publish(verdict(1), lambda: pytest.fail("a map became a picture"))
    assert subscriber.recv_multipart()[0] == b"verdict/line/cam/OK"
    quiet.close()


def test_the_heartbeat_comes_without_any_part(stage: Stage) -> None:
    subscriber = stage.subscriber(b"heartbeat/line")
    while not subscriber.poll(10):
        stage.publisher.serve(lambda: BEAT)
    assert msgspec.json.decode(subscriber.recv_multipart()[1], type=Beat) == BEAT


def test_the_heartbeat_comes_no_more_often_than_it_is_due(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "BEAT_EVERY_S", 60.0)
    beats = list[Beat]()
    for _ in range(10):
        stage.publisher.serve(lambda: beats.append(BEAT) or BEAT)  # type: ignore[func-returns-value]
    assert beats == [BEAT]


def test_who_missed_a_verdict_asks_the_snapshot_port(stage: Stage) -> None:
    asking = stage.connected(zmq.DEALER, stage.snapshots)
    asking.send(msgspec.json.encode(SnapshotRequest(since=1)))
    while not asking.poll(10):
        stage.publisher.serve(lambda: BEAT)
    reply = read_reply(asking.recv_multipart()[-1])
    assert [found.sequence for found in reply.verdicts] == [2]
    assert (reply.boot_id, reply.last_sequence) == ("boot", 2)


def test_a_question_that_the_journal_cannot_answer_waits_for_one_that_it_can_and_is_said_once(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal, closing(Stage(tmp_path, journal=journal)) as stage:
        asking = stage.connected(zmq.DEALER, stage.snapshots)
        journal.judge(verdict(0))
        journal._file.rows("ALTER TABLE part RENAME TO lost")
        with capture_logs() as logs:
            for _ in range(2):
                asking.send(msgspec.json.encode(SnapshotRequest(since=0)))
            while not logs:
                stage.publisher.serve(lambda: BEAT)
            for _ in range(50):
                stage.publisher.serve(lambda: BEAT)
                assert not asking.poll(10)
        assert [line["reason"].endswith("journal.sqlite: no such table: part") for line in logs] == [True]
        journal._file.rows("ALTER TABLE lost RENAME TO part")
        asking.send(msgspec.json.encode(SnapshotRequest(since=0)))
        while not asking.poll(10):
            stage.publisher.serve(lambda: BEAT)
        assert [found.sequence for found in read_reply(asking.recv_multipart()[-1]).verdicts] == [1]
        journal._file.rows("ALTER TABLE part RENAME TO lost")
        asking.send(msgspec.json.encode(SnapshotRequest(since=0)))
        with capture_logs() as logs:  # what was over and is there again is said again
            while not logs:
                stage.publisher.serve(lambda: BEAT)


def test_topics_that_are_subscribed_to_are_counted_from_the_start_and_each_once(stage: Stage) -> None:
    assert stage.tally.counters["mdss_subscriptions"] == 0  # as long as nobody listens
    stage.subscriber(b"verdict/")
    again = stage.connected(zmq.SUB, stage.verdicts)
    again.subscribe(b"verdict/")
    again.subscribe(b"heartbeat/")
    while stage.tally.counters["mdss_subscriptions"] < 2:
        stage.publisher.serve(lambda: BEAT)
    assert stage.tally.counters["mdss_subscriptions"] == 2
    again.close()
    while stage.tally.counters["mdss_subscriptions"] != 1:  # nobody is left that listens to heartbeats
        stage.publisher.serve(lambda: BEAT)


def test_a_subscriber_that_does_not_read_holds_nobody_up_and_catches_up_when_it_does(stage: Stage) -> None:
    quick, deaf = stage.subscriber(b"verdict/line"), stage.subscriber(b"verdict/line/cam")  # XPUB tells of each topic once
    with VerdictStream(stage.verdicts, stage.snapshots, since=2) as slow:
        while stage.tally.counters["mdss_subscriptions"] < 4:  # it subscribes to verdicts and heartbeats
            stage.publisher.serve(lambda: BEAT)
        for sequence in range(3, 3 + MANY):  # a publish that waited for the two that do not read would never come to its end
            stage.memory.last = sequence
            stage.publisher.publish(verdict(sequence), None)
            assert msgspec.json.decode(quick.recv_multipart()[1], type=Verdict).sequence == sequence
        assert taken_at_last(deaf) < MANY  # so much is too much for a link
        with serving(stage):
            caught_up = [slow.receive(20) for _ in range(MANY)]
    assert [found.sequence for found in caught_up if found] == list(range(3, 3 + MANY))


def test_who_asks_and_asks_and_reads_no_answer_fills_no_memory(tmp_path: Path) -> None:
    asked, history = 60, [verdict(number) for number in range(1, MOST_VERDICTS + 1)]

    class Long(Memory):
        answers = 0

        def since(self, sequence: int, limit: int) -> Sequence[Verdict]:
            self.answers += 1
            return history

    journal = Long()
    with closing(Stage(tmp_path, journal=journal)) as stage:
        deaf = stage.connected(zmq.DEALER, stage.snapshots, rcvhwm=1)
        for _ in range(asked):
            deaf.send(b'{"since":0}')
        while journal.answers < asked:
            stage.publisher.serve(lambda: BEAT)
        assert 1 <= taken_at_last(deaf) < asked / 2  # what the link and the kernel keep between


def taken_at_last(socket: zmq.Socket[bytes]) -> int:
    """Return how many messages were kept for a subscriber that reads only now, one at least."""
    count = 0
    while socket.poll(200 if count else 20_000):
        socket.recv_multipart()
        count += 1
    return count


@contextmanager
def serving(stage: Stage) -> Iterator[None]:
    """Answer subscribers in a thread until the block ends; meanwhile nobody else may touch the publisher."""
    is_over = Event()

    def serve() -> None:
        while not is_over.wait(0.001):
            stage.publisher.serve(lambda: msgspec.structs.replace(BEAT, sequence=stage.memory.last))

    thread = Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_an_address_that_cannot_be_opened_is_named(stage: Stage) -> None:
    settings = Settings(verdicts=VerdictSettings(endpoint="ipc:///proc/nowhere/at/all"))
    with pytest.raises(BadInput, match="verdicts endpoint ipc:///proc/nowhere/at/all: cannot be opened"):
        Publisher(stage.context, settings, Memory(), "boot", stage.tally)


def test_a_subscriber_that_talks_nonsense_changes_no_count_and_costs_no_verdict(stage: Stage) -> None:
    honest = stage.subscriber(b"verdict/")
    before, noisy = dict(stage.tally.counters), stage.connected(zmq.XSUB, stage.verdicts)
    asking, shouting = stage.connected(zmq.DEALER, stage.snapshots), stage.connected(zmq.DEALER, stage.snapshots)
    for _ in range(3 * MOST_NOTICES):
        noisy.send(b"\x07 nonsense")
    asking.send_multipart([b"x"] * 1000)
    shouting.send(bytes(2 * LARGEST_QUESTION_BYTES))
    while not asking.poll(1, zmq.POLLIN):
        stage.publisher.serve(lambda: BEAT)
    way_back, answered = asking.recv_multipart()
    assert way_back == b"x" and b"snapshot request" in answered  # of its thousand frames no more came in
    stage.publisher.publish(verdict(3), None)
    while not honest.poll(1, zmq.POLLIN):
        stage.publisher.serve(lambda: BEAT)
    assert honest.recv_multipart()[0].startswith(b"verdict/")
    assert stage.tally.counters == before
