"""What a camera makes of a station's answers, one by one: credit taken back, refusals that end, and words that come late or twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from mdss.client import FrameSender
from mdss.errors import MdssError
from mdss.wire import camera as wire
from mdss.wire.camera import Ack, Credit, Done, FrameMessage, Hello, Nack, Pong
from mdss.wire.client_socket import try_send
from mdss.wire.headers import NackCode
from mdss.wire.outstanding_frames import MOST_WAITING
from tests.fake_station import FakeStation

RGB = np.zeros((64, 64, 3), np.uint8)
XYZ = np.ones((64, 64, 3), np.float32)
CREDIT, NO_CREDIT = (Credit(credit=credit, boot_id="boot", heartbeat_ms=60_000) for credit in (1, 0))
pytestmark = pytest.mark.timeout(60)


def done(name: str) -> Done:
    return Done(frame_id=name, result_id=f"r-{name}", sequence=1)


class Door:
    """A station's door in the hands of a test, and a camera before it that never waits."""

    def __init__(self, endpoint: str) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(endpoint)
        self.camera = FrameSender(endpoint, "camera", overflow_policy="drop_latest")
        self._peer, *hello = self._socket.recv_multipart()
        assert isinstance(wire.parse(hello), Hello)
        self._said = 0

    def close(self) -> None:
        self.camera.close()
        self._socket.close()
        self._context.term()

    def say(self, *messages: wire.Header) -> None:
        """Say something, and let the camera hear all of it."""
        self._said += 1
        for message in (*messages, done(f"nobody's, number {self._said}")):
            self.unheard(message)
        while f"nobody's, number {self._said}" not in self.camera.done:
            self.camera.attend()

    def unheard(self, message: wire.Header) -> None:
        """Say something that the camera hears only with what it does next."""
        self._socket.send_multipart([self._peer, *wire.compose(message)])

    def frames(self, least: int) -> list[str]:
        """Wait for so many frames, and return them with all that come right behind them."""
        found: list[str] = []
        while self._socket.poll(100 if len(found) >= least else 10_000):
            message = wire.parse(self._socket.recv_multipart()[1:])
            found += [message.header.frame_id] if isinstance(message, FrameMessage) else []
        return found

    def sent(self, name: str) -> None:
        """Let the camera send a frame."""
        self.camera.send(RGB, XYZ, frame_id=name, part_id=name, recipe_id="r")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    made = Door(f"ipc://{tmp_path}/frames.sock")
    made.camera._liveness = 60  # in place of 3 heartbeats: on busy cores the test may come to its first word later than that
    yield made
    made.close()


def test_for_credit_that_is_taken_back_nothing_leaves(door: Door) -> None:
    door.say(CREDIT, NO_CREDIT)
    door.sent("a")
    assert door.frames(0) == []
    door.say(CREDIT)
    assert door.frames(1) == ["a"]


def test_who_hears_of_another_boot_sends_again_what_has_no_done_though_the_station_knows_the_camera(door: Door) -> None:
    door.say(CREDIT)
    door.sent("a")
    assert door.frames(1) == ["a"]
    door.say(Pong(is_known=True, boot_id="boot"), CREDIT)
    assert door.frames(0) == []
    door.say(Pong(is_known=True, boot_id="another boot"), CREDIT)
    assert door.frames(1) == ["a"]


@pytest.mark.parametrize("answer", [Ack(frame_id="a", result_id="r-a"), Nack(frame_id="a", code="CRC", reason="damaged"), done("a")])
def test_why_a_frame_is_put_off_is_said_until_it_is_answered_for_good(door: Door, answer: wire.Header) -> None:
    door.sent("a")
    door.say(CREDIT, Nack(frame_id="a", code="BUSY", reason="full"))
    assert {name: nack.reason for name, nack in door.camera.put_off.items()} == {"a": "full"}
    door.say(answer)
    assert door.camera.put_off == {}


@pytest.mark.parametrize("code", ["BUSY", "NOT_READY"])
def test_words_on_a_frame_that_is_done_change_nothing_and_the_next_frame_leaves(door: Door, code: NackCode) -> None:
    door.sent("a")
    door.say(CREDIT)
    door.say(done("a"), Ack(frame_id="a", result_id="r-a"), done("a"), Nack(frame_id="a", code=code, reason="late"))
    assert (door.camera.put_off, door.camera.outstanding) == ({}, 0)
    door.sent("b")
    door.camera.attend(0.5)
    assert door.frames(2) == ["a", "b"]


def test_a_frame_that_is_refused_twice_is_counted_once(door: Door) -> None:
    door.sent("a")
    door.say(CREDIT)
    door.say(*[Nack(frame_id="a", code="CRC", reason="damaged")] * 2)
    assert (door.camera.rejected_count, list(door.camera.rejected), door.camera.outstanding) == (1, ["a"], 0)


@pytest.mark.parametrize("code", ["BUSY", "NOT_READY"])
def test_a_frame_that_is_refused_for_now_twice_leaves_once(door: Door, code: NackCode) -> None:
    door.sent("a")
    door.say(CREDIT)
    door.say(*[Nack(frame_id="a", code=code, reason="not now")] * 2)
    door.camera.attend(0.5)
    assert door.frames(2) == ["a", "a"]


def test_four_frames_for_which_there_is_no_room_keep_a_fifth_from_nothing(door: Door) -> None:
    for name in "abcd":
        door.sent(name)
    door.say(Credit(credit=8, boot_id="boot", heartbeat_ms=60_000))
    door.say(*[Nack(frame_id=name, code="BUSY", reason="full") for name in "abcd"])
    door.sent("e")
    door.camera.attend(0.5)
    assert "e" in door.frames(5)


def test_a_camera_that_waits_for_its_place_takes_frames_meanwhile(door: Door) -> None:
    door.say(Nack(frame_id="", code="NOT_READY", reason="64 cameras are connected already"))
    door.sent("a")
    door.say(CREDIT)
    door.camera.attend(0.5)
    assert door.frames(1) == ["a"]


def test_a_frame_that_the_socket_does_not_take_has_not_left_and_takes_the_room_of_one_that_waits(door: Door) -> None:
    door.say(Credit(credit=8, boot_id="boot", heartbeat_ms=60_000))
    door.camera._socket.disconnect(door.camera.endpoint)  # as zmq does by itself once the station refuses the camera's key
    for name in "abcdef":
        door.sent(name)
    assert (list(door.camera.dropped), door.camera.outstanding) == (["e", "f"], MOST_WAITING)


def test_a_frame_that_left_before_and_that_the_socket_does_not_take_again_is_not_taken_for_a_new_one(door: Door) -> None:
    door.say(Credit(credit=8, boot_id="boot", heartbeat_ms=60_000))
    door.sent("a")
    door.say(Nack(frame_id="a", code="BUSY", reason="full"))
    door.camera._socket.disconnect(door.camera.endpoint)
    door.camera.attend(0.5)  # by then it has been offered again
    for name in "bcdef":
        door.sent(name)
    assert (list(door.camera.dropped), door.camera.outstanding) == (["f"], 1 + MOST_WAITING)


def test_a_frame_that_leaves_just_as_ctrl_c_is_pressed_is_known_until_it_is_done(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed_meanwhile(socket: zmq.Socket[bytes], message: list[bytes | memoryview]) -> bool:
        try_send(socket, message)
        raise KeyboardInterrupt

    door.camera.overflow_policy = "wait"
    door.say(CREDIT)
    with monkeypatch.context() as patch:
        patch.setattr("mdss.client.try_send", pressed_meanwhile)
        with pytest.raises(KeyboardInterrupt):
            door.sent("a")
    assert (door.frames(1), door.camera.outstanding) == (["a"], 1)
    door.say(done("a"))
    assert door.camera.outstanding == 0


def test_a_station_that_falls_silent_while_a_frame_waits_has_answered_and_its_reason_is_said(door: Door) -> None:
    door.camera.overflow_policy, door.camera.send_timeout_s = "wait", 2.0
    door.unheard(Credit(credit=0, boot_id="boot", heartbeat_ms=50, liveness=4))  # silence is dead 0.2 s after the first PING
    door.unheard(Nack(frame_id="", code="NOT_READY", reason="starting"))
    with pytest.raises(MdssError, match=r"found no credit for frame a within 2.0 s; the station said NOT_READY: starting$"):
        door.sent("a")
    while door.camera.is_answered:  # on busy cores it may not have had its 0.2 s yet
        door.camera.attend(0.02)
    door.camera.send_timeout_s = 0.1
    with pytest.raises(MdssError, match=r"no station answered within 0.1 s; frame b cannot be sent; the station said NOT_READY: starting$"):
        door.sent("b")


def test_of_a_scan_whose_sending_failed_because_the_camera_was_refused_nothing_is_kept(door: Door) -> None:
    door.camera.overflow_policy = "wait"
    for name in "ab":
        door.unheard(Nack(frame_id="", code="SCHEMA", reason="expected another source_id"))
        with pytest.raises(MdssError, match="refused camera: SCHEMA: expected another source_id"):
            door.sent(name)
    assert door.camera.outstanding == 0
    door.say(CREDIT)
    door.sent("c")
    assert door.frames(1) == ["c"]


def test_a_frame_that_is_done_before_it_could_leave_is_waited_for_no_longer(door: Door) -> None:
    door.camera.overflow_policy, door.camera.send_timeout_s = "wait", 20
    door.say(NO_CREDIT)
    door.unheard(done("a"))  # by a camera of an earlier life
    door.sent("a")
    assert (list(door.camera.done)[-1], door.camera.outstanding) == ("a", 0)


def test_a_frame_that_waits_and_is_given_again_leaves_once(door: Door) -> None:
    door.sent("a")
    door.sent("a")
    door.say(Credit(credit=4, boot_id="boot", heartbeat_ms=60_000))
    assert door.frames(1) == ["a"]


def test_a_frame_that_is_given_again_before_it_left_leaves_as_it_was_given_last(tmp_path: Path) -> None:
    station = FakeStation(f"ipc://{tmp_path}/frames.sock")
    with FrameSender(station.endpoint, "camera", overflow_policy="drop_latest") as camera:
        for job in ("first", "second"):
            camera.send(RGB, XYZ, frame_id="a", part_id="a", recipe_id="r", job_id=job)
        with station:
            assert camera.wait_until_done(30)
            assert [frame.header.job_id for frame in station.frames] == ["second"]


def test_who_closes_a_camera_twice_closes_it_once(tmp_path: Path) -> None:
    with FrameSender(f"ipc://{tmp_path}/nobody.sock", "camera") as camera:
        camera.close()
