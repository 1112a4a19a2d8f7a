"""A camera whose connection is dead, or for which a station has no room: it goes on by itself, and shouts at nobody meanwhile."""

from __future__ import annotations

import numpy as np
import pytest

from mdss import client
from mdss.client import FrameSender
from mdss.errors import MdssError
from tests.fake_station import FakeStation
from tests.fakes import clock_of_waits
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


def test_a_camera_for_which_there_is_no_room_says_so_and_sends_once_there_is(endpoint: str) -> None:
    station = FakeStation(endpoint)
    station.hello_refusals = ["NOT_READY"] * 1000
    with station, FrameSender(endpoint, "camera", send_timeout_s=0.3) as camera:
        until(camera, lambda: bool(camera.put_off))
        with pytest.raises(MdssError, match=r"no credit for frame \w+ within 0.3 s; the station said NOT_READY: as the test asked"):
            send(camera, "a")
        assert list(camera.put_off) == [""]
        station.hello_refusals.clear()
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


def test_who_attends_for_a_moment_is_kept_no_longer_though_nothing_is_heard(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = clock_of_waits(monkeypatch, client)
    with FrameSender(endpoint, "camera") as camera:
        began_s = clock()
        camera.attend(0.002)
    assert clock() - began_s == pytest.approx(0.002, abs=0.0011)  # waits are counted in whole ms


def test_what_a_camera_says_last_arrives_though_it_closes_at_once(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeStation(endpoint) as station:
        with FrameSender(endpoint, "camera") as camera:
            camera.send(*LARGE, part_id="a", recipe_id="r")
            destroy = camera._context.destroy
            monkeypatch.setattr(camera._context, "destroy", lambda linger_ms: destroy(100 * linger_ms))  # for megabytes on busy cores
        assert station.has_ended.wait(5)
    assert station.part_ids == ["a"]
