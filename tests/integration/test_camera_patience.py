"""How long a camera bears a station's silence, on a clock that only tests move: what is under way lengthens it until it is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mdss.wire import camera as wire
from mdss.wire.camera import Ack, Credit, Hello, Nack, Ping, Pong
from tests.fakes import FakeClock
from tests.integration.test_camera_answers import CREDIT, Door

LARGE = np.zeros((400, 400, 3), np.uint8), np.ones((400, 400, 3), np.float32)  # 2.4 MB
QUICK = Credit(credit=1, boot_id="boot", heartbeat_ms=1000, liveness=3)
SILENT_S, UNDER_WAY_S = 3.0, 2.4  # after so long a connection is given up, and after so much more while that frame is under way
pytestmark = pytest.mark.timeout(60)


class TimedDoor(Door):
    """A door before which time passes only when a test says so."""

    def __init__(self, endpoint: str, clock: FakeClock) -> None:
        super().__init__(endpoint)
        self._clock = clock

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the camera do what is due then."""
        self._clock.advance(seconds)
        self.camera.attend()

    def hears(self, kind: type[wire.CameraMessage]) -> bool:
        """Wait for a message of a kind, over whatever connection; return False if none comes."""
        while self._socket.poll(20_000):
            if self.next() is kind:
                return True
        return False

    def next(self) -> type[wire.CameraMessage]:
        """Wait for the next message, over whatever connection, and return its kind."""
        return type(wire.parse(self._socket.recv_multipart()[1:]))

    def heard(self, within_ms: int = 200) -> list[type[wire.CameraMessage]]:
        """Return the kinds of all that has come by now; each may take so long."""
        found = []
        while self._socket.poll(within_ms):
            found.append(self.next())
        return found


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TimedDoor]:
    clock = FakeClock()
    monkeypatch.setattr("mdss.client.time", SimpleNamespace(monotonic=clock))
    with closing(TimedDoor(f"ipc://{tmp_path}/frames.sock", clock)) as made:
        yield made


def send_large(door: TimedDoor) -> None:
    """Let a large frame leave, and take it from the door."""
    door.camera.send(*LARGE, frame_id="a", part_id="a", recipe_id="r")
    assert door.frames(1) == ["a"]


def ask(door: TimedDoor) -> None:
    """Let the camera ask whether the station is there."""
    door.pass_time(1.0)
    assert door.hears(Ping)


def test_a_hello_that_nobody_answers_is_said_over_another_connection_after_three_seconds(door: TimedDoor) -> None:
    door.pass_time(2.9)
    assert Hello not in door.heard()
    door.pass_time(0.2)
    assert door.hears(Hello)


def test_a_frame_under_way_has_a_second_more_for_each_megabyte(door: TimedDoor) -> None:
    door.say(QUICK)
    send_large(door)
    ask(door)
    door.pass_time(SILENT_S + UNDER_WAY_S - 0.1)
    assert Hello not in door.heard()
    door.pass_time(0.2)
    assert door.hears(Hello)


@pytest.mark.parametrize(
    "answer",
    [
        Ack(frame_id="a", result_id="r-a"),
        Nack(frame_id="a", code="BUSY", reason="full"),
        Pong(is_known=False, boot_id="boot"),
    ],
)
def test_once_a_frame_is_answered_or_to_be_sent_anew_silence_is_no_longer_excused_by_it(door: TimedDoor, answer: wire.Header) -> None:
    door.say(QUICK)
    send_large(door)
    door.say(answer, Credit(credit=0, boot_id="boot", heartbeat_ms=1000, liveness=3))  # for which the frame waits now
    assert door.camera.outstanding == 1
    door.heard()
    ask(door)
    door.pass_time(SILENT_S + 0.1)
    assert door.hears(Hello)


def test_after_a_new_connection_what_was_under_way_on_the_old_one_excuses_nothing(door: TimedDoor) -> None:
    door.say(QUICK)
    send_large(door)
    ask(door)
    door.pass_time(SILENT_S + UNDER_WAY_S + 0.1)
    assert door.hears(Hello)
    door.pass_time(SILENT_S + 0.1)
    assert door.hears(Hello)


def test_a_connection_over_which_the_station_answers_is_kept(door: TimedDoor) -> None:
    door.say(QUICK)
    for _ in range(4):  # unanswered it would be given up at the last
        door.pass_time(1.0)
        assert door.next() is Ping
        door.say(Pong(is_known=True, boot_id="boot"))


@pytest.mark.parametrize(("heartbeat_ms", "liveness", "hellos", "pings"), [(200, 2, 3, 7), (100, 100, 0, 13), (60_000, 2, 0, 1)])
def test_a_station_that_says_nothing_is_asked_once_a_heartbeat_and_each_connection_gets_its_time(
    door: TimedDoor, heartbeat_ms: int, liveness: int, hellos: int, pings: int
) -> None:
    door.say(Credit(credit=1, boot_id="boot", heartbeat_ms=heartbeat_ms, liveness=liveness))
    said = Counter[type]()
    for _ in range(44):  # the first PING comes a second after HELLO, whatever the station wishes
        door.pass_time(0.05)
        said.update(door.heard(5))
    assert said[Hello] <= hellos and said[Ping] <= pings


def test_a_frame_that_is_refused_for_now_is_offered_again_after_a_moment_and_no_sooner(door: TimedDoor) -> None:
    door.say(CREDIT)
    door.sent("a")
    assert door.frames(1) == ["a"]
    door.say(Nack(frame_id="a", code="BUSY", reason="full"))
    door.pass_time(0.15)
    assert door.frames(0) == []
    door.pass_time(0.1)
    assert door.frames(1) == ["a"]
