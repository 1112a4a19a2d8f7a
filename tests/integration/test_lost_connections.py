"""A camera whose connection is dead, or for which a station has no room: it goes on by itself, and shouts at nobody meanwhile."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest
import zmq

from mdss.client import FrameSender
from mdss.errors import MdssError
from mdss.wire import camera as wire
from mdss.wire.camera import Credit, Hello, Ping
from tests.fake_station import FakeStation
from tests.ingest_process import until

RGB = np.zeros((64, 64, 3), np.uint8)
XYZ = np.ones((64, 64, 3), np.float32)
# 2.4 MB: as many seconds more until silence is dead, as long as the frame is not answered
LARGE = np.zeros((400, 400, 3), np.uint8), np.ones((400, 400, 3), np.float32)
pytestmark = pytest.mark.timeout(60)


def send(camera: FrameSender, *parts: str) -> list[str]:
    return [camera.send(RGB, XYZ, part_id=part, recipe_id="r") for part in parts]


def test_a_connection_over_which_nothing_comes_any_more_is_given_up_for_another(endpoint: str) -> None:
    station = FakeStation(endpoint)
    station.liveness = 4  # silence is dead after 0.2 s
    with station, FrameSender(endpoint, "camera") as camera:
        before = [camera.send(*LARGE, part_id="a", recipe_id="r") for _ in range(10)]
        assert camera.wait_until_done(30)
        station.lose_connections()
        after = send(camera, "b")
        assert camera.wait_until_done(15)
        assert list(camera.done) == before + after


def test_a_camera_that_its_station_no_longer_knows_says_hello_again(endpoint: str) -> None:
    with FakeStation(endpoint) as station, FrameSender(endpoint, "camera") as camera:
        before = send(camera, "a")
        assert camera.wait_until_done(30)
        station.forget_connections()
        after = send(camera, "b")
        assert camera.wait_until_done(30)
        assert list(camera.done) == before + after


def test_a_connection_over_which_the_station_answers_is_kept(endpoint: str) -> None:
    station = FakeStation(endpoint)
    station.liveness = 20  # silence is dead after a second
    with station, FrameSender(endpoint, "camera") as camera:
        camera.attend(1.6)
        assert station.connections == 1


@pytest.mark.parametrize(("heartbeat_ms", "liveness", "hellos", "pings"), [(200, 2, 3, 7), (100, 100, 0, 13), (60_000, 2, 0, 1)])
def test_a_station_that_says_nothing_is_asked_once_a_heartbeat_and_each_connection_gets_its_time(
    endpoint: str, heartbeat_ms: int, liveness: int, hellos: int, pings: int
) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as door:
        door.bind(endpoint)
        with FrameSender(endpoint, "camera") as camera:
            peer, *_ = door.recv_multipart()
            credit = Credit(credit=1, boot_id="boot", heartbeat_ms=heartbeat_ms, liveness=liveness)
            door.send_multipart([peer, *wire.compose(credit)])
            camera.attend(2.2)  # the first PING comes a second after HELLO, whatever the station wishes
        said = Counter[type]()
        while door.poll(100):
            said[type(wire.parse(door.recv_multipart()[1:]))] += 1
    assert said[Hello] <= hellos and said[Ping] <= pings


def test_a_camera_for_which_there_is_no_room_says_so_and_sends_once_there_is(endpoint: str) -> None:
    station = FakeStation(endpoint)
    station.hello_refusals = ["NOT_READY"]
    with station, FrameSender(endpoint, "camera", send_timeout_s=0.3) as camera:
        with pytest.raises(MdssError, match=r"no credit for frame \w+ within 0.3 s; the station said NOT_READY: as the test asked"):
            send(camera, "a")
        assert list(camera.put_off) == [""]
        camera.send_timeout_s = None
        sent = send(camera, "b")
        assert not camera.put_off and camera.wait_until_done(30)
        assert list(camera.done) == sent


def test_after_a_restart_no_more_frames_leave_than_the_new_station_gives_credit_for_and_the_oldest_first(endpoint: str) -> None:
    with FrameSender(endpoint, "camera") as camera:
        with FakeStation(endpoint, credit=3, finishes=False):
            send(camera, "a", "b", "c")
            until(camera, lambda: len(camera.acknowledged) >= 3)
        with FakeStation(endpoint, boot_id="boot-2", credit=1, finishes=False) as second:
            until(camera, lambda: bool(second.frames))
            camera.attend(0.3)
            assert second.part_ids == ["a"]


def test_who_attends_for_a_moment_is_kept_no_longer_though_nothing_is_heard(endpoint: str) -> None:
    with FrameSender(endpoint, "camera") as camera:
        began_s = time.monotonic()
        for _ in range(50):
            camera.attend(0.002)
        assert 0.1 <= time.monotonic() - began_s < 3.0


def test_what_a_camera_says_last_arrives_though_it_closes_at_once(endpoint: str) -> None:
    with FakeStation(endpoint) as station:
        with FrameSender(endpoint, "camera") as camera:
            camera.send(*LARGE, part_id="a", recipe_id="r")
        assert station.has_ended.wait(5)
    assert station.part_ids == ["a"]
