"""Ctrl-C in the middle of a message: a program that goes on with the same sender or stream joins no two messages and loses no answer."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import pytest
import zmq

from mdss import client
from mdss.client import FrameSender, OverflowPolicy, VerdictStream
from mdss.wire import client_socket, outstanding_frames, verdict_stream
from mdss.wire.outstanding_frames import MOST_WAITING
from tests.fake_station import FakeStation
from tests.ingest_process import until
from tests.verdict_station import Station

RGB = np.zeros((64, 64, 3), np.uint8)
XYZ = np.ones((64, 64, 3), np.float32)
PARTS_OF_FRAME, PARTS_OF_ANSWER = 5, 3
LIBRARY = {module.__file__ for module in (client, client_socket, outstanding_frames, verdict_stream)}
pytestmark = pytest.mark.timeout(60)


def ctrl_c_after(parts: int, how: Literal["send", "recv"], action: Callable[[], object]) -> None:
    """Do something, and press Ctrl-C as soon as so many parts of messages have been sent or received."""
    original, count, program = getattr(zmq.Socket, how), 0, threading.current_thread()

    def pressed(socket: zmq.Socket[bytes], *values: Any, **names: Any) -> Any:
        nonlocal count
        result = original(socket, *values, **names)
        if threading.current_thread() is program:
            count += 1
            if count == parts:
                signal.raise_signal(signal.SIGINT)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zmq.Socket, how, pressed)
        with pytest.raises(KeyboardInterrupt):
            action()


def ctrl_c_at(number: int, action: Callable[[], object]) -> bool:
    """Do something, and press Ctrl-C at the line of this number that the library runs for it; return whether there was such a line."""
    lines, before = itertools.count(1), sys.gettrace()

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in LIBRARY:
            return None
        if event == "line" and next(lines) == number:
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.fixture
def station(tmp_path: Path) -> Iterator[FakeStation]:
    with FakeStation(f"ipc://{tmp_path}/frames.sock") as started:
        yield started


@pytest.fixture
def camera(station: FakeStation) -> Iterator[FrameSender]:
    """A camera that has credit."""
    with FrameSender(station.endpoint, "camera") as connected:
        until(connected, lambda: connected.is_answered)
        yield connected


def send(camera: FrameSender, name: str) -> None:
    camera.send(RGB, XYZ, frame_id=name, part_id=name, recipe_id="r")


def take(stream: VerdictStream, timeout_s: float, found: list[int]) -> None:
    """Wait for a verdict, and add its sequence to what was found."""
    found += [each.sequence for each in [stream.receive(timeout_s)] if each is not None]


@pytest.mark.parametrize("parts", range(1, PARTS_OF_FRAME + 1))
def test_a_frame_that_was_interrupted_between_two_of_its_parts_and_the_next_one_each_get_their_verdict(
    station: FakeStation, camera: FrameSender, parts: int
) -> None:
    ctrl_c_after(parts, "send", lambda: send(camera, "a"))
    send(camera, "b")
    assert camera.wait_until_done(10)
    assert sorted(camera.done) == sorted({*station.part_ids}) == ["a", "b"]


def test_at_whatever_line_ctrl_c_is_pressed_a_frame_is_sent_or_forgotten_and_the_next_one_gets_its_verdict(station: FakeStation) -> None:
    for number in itertools.count(1):
        with FrameSender(station.endpoint, "camera") as camera:
            until(camera, lambda: camera.is_answered)
            was_pressed = ctrl_c_at(number, partial(send, camera, f"{number}a"))
            send(camera, f"{number}b")
            assert camera.wait_until_done(10), number
            assert f"{number}b" in camera.done and {*camera.done} <= {*station.part_ids}
        if not was_pressed:
            break
    assert number > 50


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_latest"])
def test_at_whatever_line_ctrl_c_is_pressed_a_frame_waits_or_is_listed_as_dropped_and_never_both(
    tmp_path: Path, policy: OverflowPolicy
) -> None:
    old = [f"{each}" for each in range(MOST_WAITING)]
    for number in itertools.count(1):
        with FrameSender(f"ipc://{tmp_path}/nobody.sock", "camera", overflow_policy=policy) as camera:
            for name in old:
                send(camera, name)
            was_pressed = ctrl_c_at(number, partial(send, camera, "new"))
            waiting = [*camera._frames._frames]
            assert {*old} <= {*waiting, *camera.dropped} and not {*waiting} & {*camera.dropped}, number
            assert (camera.dropped_count, camera._frames.sent) == (len(camera.dropped), 0), number
        if not was_pressed:
            break
    assert number > 30


def test_at_whatever_line_ctrl_c_is_pressed_while_answers_are_heard_none_is_lost(station: FakeStation) -> None:
    for number in itertools.count(1):
        with FrameSender(station.endpoint, "camera") as camera:
            send(camera, f"{number}")
            was_pressed = ctrl_c_at(number, partial(camera.wait_until_done, 10))
            assert camera.wait_until_done(10), number
            assert list(camera.done) == [f"{number}"]
        if not was_pressed:
            break
    assert number > 50


@pytest.mark.parametrize("parts", range(1, 2 * PARTS_OF_ANSWER + 1))
def test_an_answer_that_was_interrupted_is_heard_all_the_same(station: FakeStation, camera: FrameSender, parts: int) -> None:
    send(camera, "a")
    ctrl_c_after(parts, "recv", lambda: camera.wait_until_done(10))
    assert camera.wait_until_done(10)
    assert list(camera.done) == ["a"]


@pytest.mark.parametrize("parts", range(1, PARTS_OF_FRAME + 1))
def test_who_closes_after_ctrl_c_in_the_middle_of_a_frame_says_so_to_the_station(
    station: FakeStation, camera: FrameSender, parts: int
) -> None:
    ctrl_c_after(parts, "send", lambda: send(camera, "a"))
    camera.close()
    assert station.has_ended.wait(10)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_verdict_that_was_interrupted_between_its_two_parts_is_received_all_the_same(tmp_path: Path, parts: int) -> None:
    with closing(Station(tmp_path)) as station, VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
        station.wait_for_subscriber()
        assert stream.receive(0.5) is None
        station.judge(1)
        ctrl_c_after(parts, "recv", lambda: stream.receive(10))
        found = None
        while found is None:
            station.beat()
            found = stream.receive(0.1)
        assert found.sequence == 1


@pytest.mark.parametrize("is_published", [True, False], ids=["published", "fetched"])
def test_at_whatever_line_ctrl_c_is_pressed_each_verdict_is_received_once_and_in_order(tmp_path: Path, is_published: bool) -> None:
    for number in itertools.count(1):
        (folder := tmp_path / f"{number}").mkdir()
        with closing(Station(folder)) as station, VerdictStream(station.endpoint, station.snapshots, since=0) as stream:
            found: list[int] = []
            if is_published:
                station.wait_for_subscriber()
                assert stream.receive(0.05) is None
            for sequence in (1, 2):
                station.judge(sequence, is_published=is_published)
            was_pressed = ctrl_c_at(number, partial(take, stream, 10, found))
            assert stream.last_sequence == len(found), number
            while len(found) < 3:
                if len(found) == len(station.journal):
                    station.judge(3)
                station.beat()
                take(stream, 0.05, found)
            assert found == [1, 2, 3], number
        if not was_pressed:
            break
    assert number > 25
