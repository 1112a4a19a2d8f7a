"""A camera against a front door over real ZeroMQ: credit, refusals, restarts."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
import pytest

from mdss.client import FrameLabels, FrameSender, Invalid, OverflowPolicy, VerdictStream
from mdss.errors import BadInput, MdssError
from mdss.wire.labels import EXPECTED
from mdss.wire.outstanding_frames import MOST_WAITING
from tests.fake_station import FakeStation

RGB = np.zeros((64, 64, 3), np.uint8)
XYZ = np.ones((64, 64, 3), np.float32)
pytestmark = pytest.mark.timeout(60)


def send(camera: FrameSender, *parts: str) -> list[str]:
    return [camera.send(RGB, XYZ, part_id=part, recipe_id="r") for part in parts]


def test_every_frame_is_acknowledged_and_done(endpoint: str) -> None:
    with FakeStation(endpoint) as station:
        with FrameSender(endpoint, "camera") as camera:
            sent = send(camera, *"abcde")
            assert camera.wait_until_done(30) and camera.wait_until_done(0)
            assert list(camera.done) == list(camera.acknowledged) == sent
        assert station.has_ended.wait(10)
    assert [(frame.header.part_id, frame.header.sequence) for frame in station.frames] == list(zip("abcde", range(1, 6), strict=True))


def test_no_more_frames_leave_than_there_is_credit(endpoint: str) -> None:
    with FakeStation(endpoint, credit=2, finishes=False) as station, FrameSender(endpoint, "camera") as camera:
        send(camera, "a", "b")
        while len(camera.acknowledged) < 2:
            camera.attend(0.02)
        camera.send_timeout_s = 0.5
        with pytest.raises(MdssError, match="no credit"):
            send(camera, "c")
        assert station.part_ids == ["a", "b"]
        assert camera.outstanding == 2


def test_a_station_that_says_nothing_is_named_and_not_its_credit(endpoint: str) -> None:
    with FrameSender(endpoint, "camera", send_timeout_s=0.3) as camera:
        with pytest.raises(MdssError, match=r"ipc://.*: no station answered within 0.3 s; frame \w+ cannot be sent$"):
            send(camera, "a")
        assert not camera.is_answered
        with FakeStation(endpoint):
            camera.send_timeout_s = 30
            send(camera, "b")
            assert camera.is_answered


def test_a_refused_frame_is_reported_and_the_next_goes_on(endpoint: str) -> None:
    with FakeStation(endpoint) as station, FrameSender(endpoint, "camera") as camera:
        station.refusals["bad"] = ["UNKNOWN_RECIPE"]
        bad, good = send(camera, "bad", "good")
        assert camera.wait_until_done(30)
        assert camera.rejected[bad].code == "UNKNOWN_RECIPE"
        assert list(camera.done) == [good]


def test_all_refusals_are_counted_and_the_newest_remembered(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdss.client.MOST_REMEMBERED", 2)
    with FakeStation(endpoint) as station, FrameSender(endpoint, "camera") as camera:
        station.refusals = {part: ["CRC"] for part in "abcd"}
        sent = send(camera, *"abcde")
        assert camera.wait_until_done(30)
        assert (camera.rejected_count, list(camera.rejected)) == (4, sent[2:4])


def test_a_frame_refused_for_now_is_offered_again(endpoint: str) -> None:
    with FakeStation(endpoint) as station, FrameSender(endpoint, "camera") as camera:
        station.refusals["a"] = ["BUSY", "NOT_READY"]
        (sent,) = send(camera, "a")
        assert camera.wait_until_done(30)
        assert list(camera.done) == [sent] and not camera.rejected


def test_what_is_refused_for_now_says_why_until_it_is_taken_and_so_does_a_frame_that_finds_no_credit(endpoint: str) -> None:
    with FakeStation(endpoint, credit=1) as station, FrameSender(endpoint, "camera") as camera:
        station.refusals["a"] = ["BUSY"] * 1000
        (sent,) = send(camera, "a")
        while not camera.put_off:
            camera.attend(0.02)
        camera.send_timeout_s = 0.5
        with pytest.raises(MdssError, match=r"no credit for frame \w+ within 0.5 s; the station said BUSY: as the test asked"):
            send(camera, "b")
        assert {frame_id: nack.reason for frame_id, nack in camera.put_off.items()} == {sent: "as the test asked"}
        station.refusals.clear()
        assert camera.wait_until_done(30)
        assert not camera.put_off


def test_frames_refused_for_now_are_offered_again_in_the_order_in_which_they_came(endpoint: str) -> None:
    with FrameSender(endpoint, "camera", overflow_policy="drop_latest") as camera:
        send(camera, "a", "b", "c")  # all three wait for the first credit, and then leave together
        with FakeStation(endpoint, credit=3) as station:
            station.refusals = {"a": ["BUSY"], "b": ["BUSY"], "c": ["BUSY"]}
            assert camera.wait_until_done(30)
            assert station.part_ids == ["a", "b", "c"]


def test_frames_of_a_recipe_that_is_being_loaded_keep_no_others_waiting(endpoint: str) -> None:
    with FrameSender(endpoint, "camera", overflow_policy="drop_latest") as camera:
        send(camera, "a", "b", "other")
        with FakeStation(endpoint, credit=2) as station:
            station.refusals = {"a": ["NOT_READY"] * 3, "b": ["NOT_READY"] * 3}
            assert camera.wait_until_done(30)
            assert station.part_ids == ["other", "a", "b"]


def put_off(camera: FrameSender, count: int) -> list[str]:
    """Send so many frames of a recipe that is not ready, each once the station has said so of the one before."""
    sent = []
    for _ in range(count):
        sent += send(camera, "a")
        while sent[-1] not in camera.put_off:
            camera.attend(0.02)
    return sent


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_latest"])
def test_of_a_recipe_that_never_comes_no_more_frames_are_kept_than_of_one_without_credit(endpoint: str, policy: OverflowPolicy) -> None:
    with FakeStation(endpoint, credit=8) as station, FrameSender(endpoint, "camera", overflow_policy=policy) as camera:
        station.refusals["a"] = ["NOT_READY"] * 10_000
        sent = put_off(camera, MOST_WAITING)
        for _ in range(MOST_WAITING + 2):
            sent += send(camera, "a")
            left = len(station.refusals["a"])
            while len(station.refusals["a"]) > left - 2 * MOST_WAITING:  # by then all that wait have had their turn
                camera.attend(0.02)
        gone = sent[MOST_WAITING:][:2] if policy == "drop_oldest" else sent[-2:]
        assert (list(camera.dropped), camera.outstanding) == (gone, 2 * MOST_WAITING)
        ready = camera.send(RGB, XYZ, part_id="b", recipe_id="ready")
        while ready not in camera.done:
            camera.attend(0.02)
        sent.append(ready)
        assert list(camera.dropped) == gone
        station.refusals.clear()
        assert camera.wait_until_done(30)
        assert sorted(camera.done) == sorted(set(sent) - set(gone))


def test_beyond_a_few_frames_of_a_recipe_that_is_not_ready_send_waits_and_says_why_and_other_recipes_go_on(endpoint: str) -> None:
    with FakeStation(endpoint, credit=8) as station, FrameSender(endpoint, "camera") as camera:
        station.refusals["a"] = ["NOT_READY"] * 10_000
        put_off(camera, MOST_WAITING)
        camera.send_timeout_s = 0.5
        with pytest.raises(MdssError, match=r"no credit for frame \w+ within 0.5 s; the station said NOT_READY: as the test asked"):
            send(camera, "a")
        camera.send_timeout_s = None
        ready = [camera.send(RGB, XYZ, part_id="b", recipe_id="ready") for _ in range(3)]
        while list(camera.done) != ready:
            camera.attend(0.02)
        assert camera.outstanding == MOST_WAITING


def test_frames_that_were_acknowledged_and_are_not_taken_after_a_restart_keep_no_new_ones_waiting(endpoint: str) -> None:
    with FrameSender(endpoint, "camera") as camera:
        with FakeStation(endpoint, credit=2 * MOST_WAITING, finishes=False):
            sent = send(camera, *["a"] * MOST_WAITING)
            while len(camera.acknowledged) < MOST_WAITING:
                camera.attend(0.05)
        with FakeStation(endpoint, boot_id="boot-2", credit=2 * MOST_WAITING) as second:
            second.refusals["a"] = ["NOT_READY"] * 10_000
            while list(camera.put_off) != sent:
                camera.attend(0.02)
            (new,) = send(camera, "b")
            while new not in camera.done:
                camera.attend(0.02)


def test_what_has_no_done_is_sent_again_to_a_restarted_station(endpoint: str) -> None:
    with FrameSender(endpoint, "camera") as camera:
        with FakeStation(endpoint, finishes=False) as first:
            sent = send(camera, "a", "b")
            while len(camera.acknowledged) < 2:
                camera.attend(0.05)
        with FakeStation(endpoint, boot_id="boot-2") as second:
            assert camera.wait_until_done(30)
            assert sorted(camera.done) == sorted(sent)
            assert [frame.header.frame_id for frame in first.frames] == sent
            assert sorted({frame.header.frame_id for frame in second.frames}) == sorted(sent)


def test_a_large_frame_on_a_slow_link_is_not_taken_for_a_dead_connection(endpoint: str) -> None:
    station = FakeStation(endpoint)
    station.liveness, station.frame_takes_s = 4, 0.6  # silence is dead after 0.2 s
    side = 300  # 1.35 MB: as many seconds more
    with station, FrameSender(endpoint, "camera") as camera:
        camera.attend(1.5)  # the first PING comes a second after HELLO, whatever the station wishes
        sent = camera.send(np.zeros((side, side, 3), np.uint8), np.ones((side, side, 3), np.float32), part_id="a", recipe_id="r")
        assert camera.wait_until_done(20)
        assert list(camera.done) == [sent]


def test_arrays_of_another_kind_are_refused_before_they_leave(endpoint: str) -> None:
    with FrameSender(endpoint, "camera") as camera:
        with pytest.raises(BadInput, match="rgb: found float32"):
            camera.send(XYZ, XYZ, part_id="a", recipe_id="r")  # type: ignore[arg-type]
        with pytest.raises(BadInput, match=r"rgb: found no array but list, expected uint8 of shape \(H, W, 3\)"):
            camera.send(RGB.tolist(), XYZ, part_id="a", recipe_id="r")  # type: ignore[arg-type]
        with pytest.raises(BadInput, match=r"xyz: found no array but NoneType, expected float32 of shape \(64, 64, 3\)"):
            camera.send(RGB, None, part_id="a", recipe_id="r")  # type: ignore[arg-type]
        with pytest.raises(BadInput, match="xyz: found float64"):
            camera.send(RGB, XYZ.astype(np.float64), part_id="a", recipe_id="r")
        with pytest.raises(BadInput, match="rgb: found 64 x 2001 px, expected at most 2000 on each side"):
            camera.send(np.zeros((64, 2001, 3), np.uint8), np.zeros((64, 2001, 3), np.float32), part_id="a", recipe_id="r")
        with pytest.raises(BadInput, match="rgb: found 63 x 64 px, expected at least 64 on each side"):
            camera.send(RGB[1:], XYZ[1:], part_id="a", recipe_id="r")
        assert camera.outstanding == 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"simulated": True, "deadline": 1},
            "labels: found simulated, deadline, expected only part_id, recipe_id, frame_id, job_id, unit, ",
        ),
        ({"part_id": np.int64(7)}, "part_id: found np.int64(7), expected a str of 1 to 128 characters without control characters"),
        ({"part_id": "\udcff"}, r"part_id: found '\udcff', expected a str of 1 to 128 characters without control characters"),
        ({"frame_id": b"f"}, "frame_id: found b'f', expected a str of"),
        ({"job_id": 5}, "job_id: found 5, expected a str of"),
        ({"recipe_id": "a/b"}, "recipe_id: found 'a/b', expected a str of 1 to 64 of the characters A-Z a-z 0-9 . _ : -"),
        ({"unit": "cm"}, "unit: found 'cm', expected 'mm' or 'm'"),
        ({"invalid": Invalid(value=float("nan"))}, "invalid: found Invalid(kind='nan', value=nan), expected an Invalid of kind "),
        ({"invalid": "nan"}, "invalid: found 'nan', expected an Invalid of kind 'nan', 'value' or 'confidence' with a finite float"),
        ({"confidence": [1.0]}, "confidence: found no array but list, expected float32 of shape (64, 64)"),
        ({"confidence": XYZ}, "confidence: found float32 of shape (64, 64, 3), expected float32 of shape (64, 64)"),
        ({"confidence": XYZ[..., 0]}, "confidence: found one with invalid.kind 'nan', expected one with 'confidence' and with no other"),
        ({"invalid": Invalid(kind="confidence")}, "confidence: found none with invalid.kind 'confidence', expected one with 'confidence'"),
        ({"capture_time": 1.5}, "capture_time: found 1.5, expected an int of ns since 1970"),
        ({"deadline_ms": 0}, "deadline_ms: found 0, expected an int from 1 to 600000"),
        ({"is_simulated": np.bool_(True)}, "is_simulated: found np.True_, expected True or False"),
    ],
)
def test_labels_that_no_station_would_take_are_refused_before_they_leave(endpoint: str, wrong: dict[str, Any], sentence: str) -> None:
    with FrameSender(endpoint, "camera", send_timeout_s=0) as camera:
        with pytest.raises(BadInput, match=f"^{re.escape(sentence)}"):
            camera.send(RGB, XYZ, **({"part_id": "a", "recipe_id": "r"} | wrong))
        assert camera.outstanding == 0


def test_the_id_of_an_outstanding_frame_is_refused_to_another_part_and_may_be_sent_again_with_its_own(endpoint: str) -> None:
    first: FrameLabels = {"frame_id": "f1", "part_id": "a", "recipe_id": "r"}
    with FrameSender(endpoint, "camera", overflow_policy="drop_latest") as camera:
        camera.send(RGB, XYZ, **first)
        for part, recipe in (("b", "r"), ("a", "s")):
            sentence = (
                f"frame_id: found f1, which part a of recipe r has until it is done; expected another id for part {part} of recipe {recipe}"
            )
            with pytest.raises(BadInput, match=f"^{sentence}$"):
                camera.send(RGB, XYZ, frame_id="f1", part_id=part, recipe_id=recipe)
        camera.send(RGB, XYZ, **first)
        with FakeStation(endpoint) as station:
            assert camera.wait_until_done(30)
            assert [frame.header.part_id for frame in station.frames] == ["a"]


def test_what_must_be_said_of_every_scan_is_missed(endpoint: str) -> None:
    with FrameSender(endpoint, "camera", send_timeout_s=0) as camera:
        with pytest.raises(BadInput, match="labels: found no part_id, expected part_id and recipe_id with every scan"):
            camera.send(RGB, XYZ, recipe_id="r")  # type: ignore[call-arg]
        with pytest.raises(BadInput, match="labels: found no part_id and no recipe_id, expected"):
            camera.send(RGB, XYZ)  # type: ignore[call-arg]


def test_every_label_arrives_as_it_was_said(endpoint: str) -> None:
    plain: dict[str, Any] = {"part_id": "größe 7", "recipe_id": "r", "frame_id": "f", "job_id": "j"}
    plain |= {"capture_time": 5, "deadline_ms": 600_000, "is_simulated": True}
    of_cloud = {"unit": "m", "invalid": Invalid(kind="confidence", value=0.5)}
    labels: Any = plain | of_cloud | {"confidence": XYZ[..., 0]}
    assert labels.keys() == FrameLabels.__annotations__.keys() == EXPECTED.keys() | {"confidence"}
    with FakeStation(endpoint) as station, FrameSender(endpoint, "camera") as camera:
        camera.send(RGB, XYZ, **labels)
        assert camera.wait_until_done(30)
    (frame,) = station.frames
    assert msgspec.structs.asdict(frame.header).items() >= plain.items()
    assert msgspec.structs.asdict(frame.header.xyz).items() >= of_cloud.items()
    assert len(frame.payloads) == 3


@pytest.mark.parametrize("wrong", ["frames.sock", "udp://x", "tcp://127.0.0.1:port"])
def test_an_address_that_is_none_is_refused_in_words(wrong: str) -> None:
    for connect in (
        lambda: FrameSender(wrong, "camera"),
        lambda: VerdictStream(wrong, "ipc:///tmp/s"),
        lambda: VerdictStream("ipc:///tmp/v", wrong),
    ):
        with pytest.raises(BadInput, match=f"endpoint '{wrong}': .*; expected ipc://PATH or tcp://HOST:PORT"):
            connect()
