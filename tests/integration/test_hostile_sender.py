"""A hostile sender gets a NACK or is cut off, and another camera gets all its verdicts meanwhile: real `ingest`, with and without keys."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import msgspec
import numpy as np
import pytest

from daemon.ingest import LARGEST_PAYLOAD_BYTES
from demo.station import free_port
from mdss.client import CurveKeys, FrameSender
from mdss.wire import camera
from mdss.wire.camera import Ack, Credit, Done, Hello, Nack, Ping, Pong
from mdss.wire.headers import CloudFormat
from mdss.wire.messages import Accepted
from tests.front_door import header, payloads
from tests.hostile import LONG, MEGABYTE, PATIENCE_S, Hostile, Raw
from tests.ingest_process import Line
from tests.keys import KeyRing

pytestmark = pytest.mark.timeout(120)
RGB, XYZ = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64, 3), np.float32)
RATHER_LITTLE = 384 * MEGABYTE  # of memory for an ingest that is to run out of it


class Honest(Thread):
    """A camera that sends part after part and minds its own business."""

    def __init__(self, endpoint: str, keys: CurveKeys | None) -> None:
        super().__init__()
        self._endpoint, self._keys, self.is_over = endpoint, keys, Event()
        self.sent: list[str] = []
        self.done: dict[str, Done] = {}
        self.refused: dict[str, Nack] = {}

    def run(self) -> None:
        with FrameSender(self._endpoint, "honest", send_timeout_s=60, keys=self._keys) as sender:
            while not self.is_over.is_set():
                self.sent.append(sender.send(RGB, XYZ, part_id=f"part-{len(self.sent)}", recipe_id="gland"))
                sender.attend(0.02)
            sender.wait_until_done(60)
            self.done, self.refused = dict(sender.done), dict(sender.rejected)


class IngestUnderAttack:
    """Ingest, an honest camera at work, and the test as everything behind the door."""

    def __init__(self, line: Line, ring: KeyRing | None) -> None:
        self.line, self.ring, self.endpoint = line, ring, line.settings.camera.endpoint
        self.accepted: list[Accepted] = []
        self.honest = Honest(self.endpoint, self.keys("honest"))
        self.honest.start()
        self.serve_until(3)

    def keys(self, name: str) -> CurveKeys | None:
        return None if self.ring is None else self.ring.of(name)

    def mallory(self, most_unread: int = 1000) -> Hostile:
        """Return a sender that has introduced itself properly, and for which so many unread answers wait at its end."""
        made = Hostile(self.endpoint, self.keys("mallory"), most_unread=most_unread)
        assert isinstance(made.ask(camera.compose(Hello(source_id="mallory"))), Credit)
        return made

    def serve(self) -> None:
        """Judge what was accepted meanwhile."""
        message = self.line.fusion.receive(20)
        if isinstance(message, Accepted):
            self.accepted.append(message)
            self.line.to_ingest.send(self.line.judge(message))

    def serve_until(self, more: int) -> None:
        """Judge until the honest camera got through with some more parts."""
        wanted = self.of("honest") + more
        while self.of("honest") < wanted:
            self.serve()

    def of(self, source: str) -> int:
        """Return how many parts of a source were accepted."""
        return sum(each.identity.source_id == source for each in self.accepted)

    def end(self) -> None:
        """Let the honest camera get some more through and finish, and see that it got for each part what was promised."""
        self.serve_until(3)
        self.honest.is_over.set()
        while self.honest.is_alive():
            self.serve()
        assert self.honest.refused == {}
        assert sorted(self.honest.done) == sorted(self.honest.sent)
        assert len({done.sequence for done in self.honest.done.values()}) == len(self.honest.sent) > 3


@pytest.fixture(params=["ipc", "curve"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IngestUnderAttack]:
    ring = KeyRing.make(tmp_path / "keys", "honest", "mallory") if request.param == "curve" else None
    doors: dict[str, Any] = {} if ring is None else {"endpoint": f"tcp://127.0.0.1:{free_port()}", "security": ring.section}
    with TemporaryDirectory() as folder, Line(Path(folder), **doors) as line:
        made = IngestUnderAttack(line, ring)
        yield made
        made.end()
        assert line.process.poll() is None


def frame(data: list[bytes], **changes: Any) -> list[bytes]:
    """Return a FRAME of mallory's."""
    return [bytes(part) for part in camera.compose_frame(header("bad", source_id="mallory", **changes), data)]


def with_header(content: bytes) -> list[bytes]:
    return [b"MDSS1", b"FRAME", content, *payloads()]


def bare(**changes: Any) -> bytes:
    """Return a header that need not fit its type."""
    return json.dumps(msgspec.to_builtins(header("bad", source_id="mallory")) | changes).encode()


BIG = {"pixel_format": "RGB8", "height": 2**62, "width": 2**62}
MESSAGES = {
    "another protocol": ([b"GET / HTTP/1.1", b"", b""], "SCHEMA"),
    "a megabyte of magic": ([b"MDSS1" * 200_000, b"FRAME", b"{}"], "SCHEMA"),
    "nothing": ([b""], "SCHEMA"),
    "too few frames": ([b"MDSS1", b"FRAME"], "SCHEMA"),
    "a kind that is none": ([b"MDSS1", b"\xff" * MEGABYTE, b"{}"], "SCHEMA"),
    "a thousand payloads": ([*frame(payloads()), *[b"x"] * 1000], "SHAPE_MISMATCH"),
    "no payloads": (frame([]), "SHAPE_MISMATCH"),
    "brackets without end": (with_header(b"[" * 60_000), "SCHEMA"),
    "objects without end": (with_header(b'{"a":' * 12_000), "SCHEMA"),
    "a header of ten megabytes": (with_header(b'{"frame_id": "' + b"a" * 10 * MEGABYTE + b'"}'), "SCHEMA"),
    "ten megabytes of brackets": (with_header(b"[" * 10 * MEGABYTE), "SCHEMA"),
    "a HELLO of a megabyte": ([b"MDSS1", b"HELLO", b" " * MEGABYTE], "SCHEMA"),
    "a header that is no text": (with_header(b"\xff\xfe{}"), "SCHEMA"),
    "a number of sixty thousand digits": (with_header(b'{"sequence": ' + b"9" * 60_000 + b"}"), "SCHEMA"),
    "numbers that are none": (with_header(b'{"sequence": NaN, "capture_time": Infinity}'), "SCHEMA"),
    "a frame id of sixty kilobytes": (with_header(bare(frame_id="a" * 60_000)), "SCHEMA"),
    "a frame id with a line break": (with_header(bare(frame_id="a\nb")), "SCHEMA"),
    "a recipe that is a path": (with_header(bare(recipe_id="../../etc/passwd")), "SCHEMA"),
    "less than the header says": (frame([payloads()[0], payloads()[1][:-1]]), "SHAPE_MISMATCH"),
    "more than the header says": (frame([payloads()[0], payloads()[1] + b"x"]), "SHAPE_MISMATCH"),
    "larger than any memory": (with_header(bare(rgb=BIG)), "TOO_LARGE"),
    "a size that overflows": (with_header(bare(rgb=BIG | {"height": 2**63})), "SCHEMA"),
    "a size below zero": (with_header(bare(rgb=BIG | {"height": -64, "width": -64})), "SCHEMA"),
    "no size at all": (with_header(bare(rgb=BIG | {"height": 0, "width": 0})), "SHAPE_MISMATCH"),
    "a checksum that lies": (frame(payloads(), crc32c=1), "CRC"),
    "another source's id": (with_header(bare(source_id="honest")), "SCHEMA"),
}


def test_whatever_it_sends_is_answered_by_a_nack_with_a_sentence(scene: IngestUnderAttack) -> None:
    with scene.mallory() as mallory:
        for what, (frames, code) in MESSAGES.items():
            nack = mallory.ask(frames)
            assert isinstance(nack, Nack), what
            assert (what, nack.code, len(nack.reason) < 400) == (what, code, True)
            scene.serve()
    assert scene.of("mallory") == 0


def test_of_more_frames_than_a_message_has_no_more_are_looked_at(scene: IngestUnderAttack) -> None:
    with scene.mallory() as mallory:
        nack = mallory.ask([*frame(payloads()), *[b"x"] * 100_000])
        assert isinstance(nack, Nack) and nack.reason == "FRAME: found 4 payloads, expected at most 3"


def test_what_only_a_station_says_is_not_answered(scene: IngestUnderAttack) -> None:
    with scene.mallory() as mallory:
        for kind in (b"ACK", b"CREDIT", b"DONE", b"NACK", b"PONG"):
            mallory.send([b"MDSS1", kind, b"{}"])
        for message in (Ack(frame_id="x", result_id="y"), Pong(boot_id="x", is_known=True), Credit(credit=64, boot_id="x")):
            mallory.send(camera.compose(message))
        answers = mallory.said_before_pong("mallory")
    assert [type(answer) for answer in answers] == [Nack] * 5  # for each header that is none


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_flood_of_what_is_no_number_is_a_part_like_any_other(scene: IngestUnderAttack, value: float) -> None:
    cloud = payloads(np.full((64, 64, 3), value, np.float32))
    with scene.mallory() as mallory:
        assert isinstance(mallory.ask(frame(cloud, xyz=CloudFormat(unit="m"))), Ack)
        while scene.of("mallory") < 1:
            scene.serve()
        assert isinstance(mallory.answer(), Done)


def test_a_frame_that_is_sent_again_and_again_is_judged_once(scene: IngestUnderAttack) -> None:
    with scene.mallory() as mallory:
        first = mallory.ask(frame(payloads()))
        assert isinstance(first, Ack)
        while scene.of("mallory") < 1:
            scene.serve()
        done = mallory.answer()
        for _ in range(50):
            assert (mallory.ask(frame(payloads())), mallory.answer()) == (first, done)
    assert scene.of("mallory") == 1


def test_more_than_credit_is_refused_and_takes_no_room_from_others(scene: IngestUnderAttack) -> None:
    with scene.mallory() as mallory:
        for number in range(100):
            mallory.send([bytes(part) for part in camera.compose_frame(header(f"f{number}", source_id="mallory"), payloads())])
        answers = mallory.said_before_pong("mallory")
        refused = {answer.code for answer in answers if isinstance(answer, Nack)}
        assert refused == {"BUSY"}
        assert sum(isinstance(answer, Ack) for answer in answers) <= scene.line.settings.camera.credit
        assert len(answers) == 100


@pytest.mark.parametrize("scene", ["ipc"], indirect=True)
def test_no_answer_is_dropped_while_a_sender_reads_none_of_a_thousand(scene: IngestUnderAttack) -> None:
    names = [f"{number:0128}" for number in range(1000)]
    with scene.mallory(most_unread=1) as mallory:
        for name in names:
            mallory.send(with_header(bare(frame_id=name, source_id="n" * 64)))
        scene.serve_until(3)
        answers = mallory.said_before_pong("mallory")
        assert [answer.frame_id for answer in answers if isinstance(answer, Nack)] == names


def test_a_payload_larger_than_any_cloud_costs_its_sender_the_connection(scene: IngestUnderAttack) -> None:
    with scene.mallory() as mallory:
        mallory.send([*frame([]), bytes(LARGEST_PAYLOAD_BYTES + 1)])
        pong = mallory.ask(camera.compose(Ping(source_id="mallory")))
    assert isinstance(pong, Pong) and not pong.is_known, "it speaks on a connection of its own, which has not said HELLO"


@pytest.mark.parametrize(
    "content",
    [bytes(MEGABYTE), b"\xff" * MEGABYTE, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 100, bytes(range(256)) * 40],
    ids=["zeros", "ones", "http", "all bytes"],
)
def test_bytes_that_are_no_zeromq_end_their_connection_or_are_refused_as_no_message(scene: IngestUnderAttack, content: bytes) -> None:
    with Raw(scene.endpoint) as raw:
        raw.write(content)
        if not raw.is_cut_off(PATIENCE_S if scene.ring else 1):  # to ZeroMQ it may look like its own first version, which has no keys
            assert scene.ring is None
            assert not {kind for kind in (b"ACK", b"CREDIT", b"DONE") if kind in raw.heard.replace(b"NACK", b"")}


@pytest.mark.parametrize("length", [LARGEST_PAYLOAD_BYTES + 1, 2**64 - 1])
def test_a_length_that_no_memory_has_ends_the_connection_before_any_is_taken(scene: IngestUnderAttack, length: int) -> None:
    with Raw(scene.endpoint) as raw:
        raw.introduce()
        raw.write(bytes([LONG]) + struct.pack(">Q", length) + b"x" * 1000)
        assert raw.is_cut_off()


@pytest.mark.parametrize("scene", ["curve"], indirect=True)
def test_who_has_no_key_on_the_list_is_not_heard(scene: IngestUnderAttack) -> None:
    assert scene.ring is not None
    scene.ring.add("stranger", is_listed=False)
    for keys in (scene.ring.of("stranger"), None):
        with Hostile(scene.endpoint, keys) as stranger:
            stranger.send(camera.compose(Hello(source_id="honest")))
            assert stranger.answer(1000) is None


@pytest.mark.parametrize("scene", ["curve"], indirect=True)
def test_who_has_a_key_is_no_other_source_and_takes_over_no_other_connection(scene: IngestUnderAttack) -> None:
    with scene.mallory() as mallory:
        for _ in range(20):
            nack = mallory.ask(camera.compose(Hello(source_id="honest")))
            assert isinstance(nack, Nack)
            assert (nack.code, nack.reason) == ("SCHEMA", "HELLO source_id: found honest, expected mallory as the name of the key's file")
        scene.serve_until(3)
    with Hostile(scene.endpoint, scene.keys("honest"), b"chosen") as owner:
        assert isinstance(owner.ask(camera.compose(Ping(source_id="honest"))), Pong)
        with Hostile(scene.endpoint, scene.keys("mallory"), b"chosen") as mallory:
            mallory.send(camera.compose(Hello(source_id="honest")))
            assert mallory.answer(500) is None
        assert isinstance(owner.ask(camera.compose(Ping(source_id="honest"))), Pong)


class ShortOfMemory(Line):
    """An ingest that may take little memory, so that a test need not fill much."""

    program = ("-c", f"import daemon.ingest as ingest; ingest.MEMORY_BYTES = {RATHER_LITTLE}; ingest.main(ingest.command)")


def test_a_message_without_end_is_cut_off_at_the_memory_of_ingest() -> None:
    with TemporaryDirectory() as folder, ShortOfMemory(Path(folder)) as line:
        scene = IngestUnderAttack(line, None)
        for _ in range(3):
            with Raw(scene.endpoint) as raw:
                raw.introduce()
                assert raw.write_without_end(2 * RATHER_LITTLE) < RATHER_LITTLE
            scene.serve_until(3)
        scene.end()
        assert line.process.poll() is None
