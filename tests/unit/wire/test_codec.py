"""Promises of the codec between processes."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from mdss.wire.cloud import SensorCloud
from mdss.wire.codec import VERSION, DecodeError, decode, encode
from mdss.wire.messages import Frame, Heartbeat, Judged


def frame(height: int = 3, width: int = 4) -> Frame:
    rgb = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    return Frame(
        result_id="r", recipe_id="a", model_version="0001", rgb=rgb, xyz=SensorCloud(given=np.full((height, width, 3), np.nan, np.float32))
    )


@given(st.integers(0, 9), st.integers(1, 9))
def test_arrays_come_back_as_they_were_sent(height: int, width: int) -> None:
    sent = frame(height, width)
    got = decode([bytes(part) for part in encode(sent)])
    assert isinstance(got, Frame)
    np.testing.assert_array_equal(got.rgb, sent.rgb)
    np.testing.assert_array_equal(got.xyz[:], sent.xyz[:])


def test_arrays_are_neither_copied_when_sent_nor_writeable_when_received() -> None:
    sent = frame()
    parts = encode(sent)
    assert np.shares_memory(np.frombuffer(parts[1], np.uint8), sent.rgb)
    got = decode([zmq.Frame(bytes(part)) for part in parts])
    assert isinstance(got, Frame)
    assert not got.rgb.flags.writeable


def test_an_array_whose_numbers_do_not_lie_side_by_side_comes_back_as_well() -> None:
    every_second = np.arange(72, dtype=np.float32).reshape(3, 4, 6)[..., ::2]
    got = decode([bytes(part) for part in encode(msgspec.structs.replace(frame(), xyz=SensorCloud(given=every_second)))])
    assert isinstance(got, Frame)
    np.testing.assert_array_equal(got.xyz[:], every_second)


def test_a_message_without_arrays_is_one_frame() -> None:
    beat = Heartbeat(process="rgb", pid=1, state="running", reason="", steps=2, waiting=0, counters={"a": 1.0}, timings={"b": [0.5]})
    assert [decode([bytes(part) for part in encode(message)]) for message in (beat, Judged(result_id="r", sequence=3))] == [
        beat,
        Judged(result_id="r", sequence=3),
    ]


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ([], "no frames"),
        ([b""], "version"),
        ([b"\x09abc"], "version"),
        ([VERSION + b"\xff\xff"], "header"),
        ([VERSION + b"\x81\xa4type\xa3Own"], "Invalid value"),
        ([VERSION + b"\x81\xa4typ\xff\xa3Own"], "header"),
        ([VERSION + b"\x82\xa4type\xa6Judged\xa1x" + b"\x91" * 5000], "header"),
        ([bytes(part) for part in encode(frame())][:2], "has no frame"),
        ([*(bytes(part) for part in encode(frame())), b"more"], "3 array frames, expected 2"),
        ([bytes(encode(frame())[0]), b"short", b"short"], "bytes, expected 36"),
        ([bytes(encode(frame())[0]).replace(b"\x93\x03\x04\x03", b"\x93\xfd\xfc\x03"), bytes(36), bytes(144)], "header"),  # -3 x -4
        ([bytes(encode(frame())[0]).replace(b"<f4", b"<f8"), bytes(36), bytes(288)], "expected <f4"),
    ],
)
def test_what_is_off_is_refused_with_its_reason(parts: list[bytes], sentence: str) -> None:
    with pytest.raises(DecodeError, match=sentence):
        decode(parts)
