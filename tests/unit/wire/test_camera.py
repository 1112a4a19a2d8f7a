"""Promises of the camera wire: what is taken, what is refused with which code, and the one convention it becomes."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from mdss.wire import camera
from mdss.wire.camera import FrameHeader, WireRefusal
from mdss.wire.cloud import Invalid
from mdss.wire.crc32c import crc32c
from mdss.wire.headers import CloudFormat, ImageFormat
from mdss.wire.scan import FrameLimits, to_scan

SIDE = 64
PIXELS = SIDE * SIDE
LIMITS = FrameLimits(max_height_px=128, max_width_px=128)
IDENTITY: dict[str, Any] = {"source_id": "c", "sequence": 1, "frame_id": "f", "part_id": "p", "recipe_id": "r", "capture_time": 5}


def header(xyz: CloudFormat | None = None, height: int = SIDE, **changes: Any) -> FrameHeader:
    return FrameHeader(**(IDENTITY | changes), rgb=ImageFormat(height=height, width=SIDE), xyz=xyz or CloudFormat(unit="mm"))


def payloads(points: np.ndarray[Any, Any] | None = None) -> list[bytes]:
    cloud = np.ones((SIDE, SIDE, 3), np.float32) if points is None else points
    return [bytes(PIXELS * 3), cloud.tobytes()]


@pytest.mark.parametrize(
    "message",
    [
        camera.Hello(source_id="c"),
        camera.Credit(credit=3, boot_id="b"),
        camera.Ack(frame_id="f", result_id="r"),
        camera.Nack(frame_id="f", code="CRC", reason="because"),
        camera.Done(frame_id="f", result_id="r", sequence=9),
        camera.Ping(source_id="c"),
        camera.Pong(boot_id="b", is_known=True),
        camera.Eos(source_id="c"),
    ],
)
def test_every_kind_comes_back_as_it_was_sent(message: camera.Header) -> None:
    assert camera.parse(camera.compose(message)) == message


def test_a_frame_comes_back_with_its_payloads() -> None:
    sent = [bytes(part) for part in camera.compose_frame(header(), payloads())]
    got = camera.parse(sent)
    assert isinstance(got, camera.FrameMessage)
    assert got.header == header()
    assert [bytes(part) for part in got.payloads] == payloads()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sequence": "3"}, "sequence: found '3', expected a whole number from 0 to 9223372036854775807"),
        ({"rgb": {"height": "300", "width": 64}}, "rgb.height: found '300', expected a whole number from 64 to 2000"),
        ({"xyz": {"unit": "mm", "width": -1}}, "xyz.width: found -1, expected a whole number from 64 to 2000, or null"),
        ({"partid": "x"}, "partid: found an unknown key, expected one of schema, source_id, sequence, frame_id, part_id, job_id"),
        ({"part_id": ""}, "part_id: found '', expected 1 to 128 characters without control characters"),
        ({"part_id": 12}, "part_id: found 12, expected 1 to 128 characters without control characters; in quotes it would be text"),
        ({"part_id": "\x9b2J"}, r"part_id: found '\x9b2J', expected 1 to 128 characters without control characters"),  # clears a terminal
        ({"job_id": "a\x7f"}, r"job_id: found 'a\x7f', expected 1 to 128 characters without control characters"),
        ({"source_id": "a/b"}, "source_id: found 'a/b', expected 1 to 64 of the characters A-Z a-z 0-9 . _ : -"),
        ({"source_id": "a\n"}, r"source_id: found 'a\n', expected 1 to 64 of the characters"),
        ({"recipe_id": "../x"}, "recipe_id: found '../x', expected 1 to 64 of the characters"),
        ({"deadline_ms": 0}, "deadline_ms: found 0, expected a whole number from 1 to 600000, or null"),
        ({"schema": "v9"}, "schema: found 'v9', expected one of mdss.frame.v1"),
        ({"xyz": {"unit": "cm"}}, "xyz.unit: found 'cm', expected one of m, mm"),
        ({"xyz": {}}, "xyz.unit: found nothing, expected one of m, mm"),
        ({"xyz": {"unit": "mm", "pixel_format": "Coord3D_C16"}}, "xyz.pixel_format: found 'Coord3D_C16', expected one of Coord3D_ABC32f"),
        ({"rgb": {"height": 64, "width": 64, "pixel_format": "Mono16"}}, "rgb.pixel_format: found 'Mono16', expected one of RGB8"),
        ({"xyz": {"unit": "mm", "scale": 1}}, "xyz.scale: found an unknown key, expected one of pixel_format"),
        ({"xyz": {"unit": "mm", "invalid": {"kind": "value", "val": 5}}}, "xyz.invalid.val: found an unknown key, expected one of kind"),
        ({"rgb": {"height": 64, "width": 64, "bits": 8}}, "rgb.bits: found an unknown key, expected one of pixel_format"),
        ({"x` - at `$.xyz.no": 1}, "xyz.no.x: found an unknown key, expected one of pixel_format"),  # a key that reads like a place
    ],
)
def test_a_header_against_the_schema_is_refused_by_name_of_its_frame_and_in_words(change: dict[str, object], words: str) -> None:
    wrong = msgspec.json.encode(msgspec.to_builtins(header()) | change)
    with pytest.raises(WireRefusal) as refusal:
        camera.parse([camera.MAGIC, b"FRAME", wrong])
    assert (refusal.value.code, refusal.value.frame_id) == ("SCHEMA", "f")
    assert str(refusal.value).startswith(f"FRAME header: {words}")


@pytest.mark.parametrize("key", ["part_id", "height", "unit", "kind"])
def test_a_header_that_names_a_key_twice_is_refused_by_name_of_its_frame_and_of_the_key(key: str) -> None:
    whole = msgspec.json.encode(header())
    pair = next(each for each in re.findall(rb'"\w+":[^{},]+', whole) if each.startswith(f'"{key}"'.encode()))
    with pytest.raises(WireRefusal) as refusal:
        camera.parse([camera.MAGIC, b"FRAME", whole.replace(pair, pair + b"," + pair, 1)])
    assert (refusal.value.code, refusal.value.frame_id) == ("SCHEMA", "f")
    assert str(refusal.value) == f"FRAME header: {key}: found it twice, expected each key once"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (b"{", "found no JSON in UTF-8 (Input data was truncated)"),
        (b'{"source_id": "T\xfcr"}', "found no JSON in UTF-8 ('utf-8' codec can't decode byte 0xfc"),
        (b'{"source_id": "a/b", ', "Expected `str` matching regex"),  # nobody can look up what was found in half a header
        (b"[[[[", "found no JSON object, expected one"),
        (b"17 ]", "found no JSON object, expected one"),
        (b"[]", "found an empty list, expected a section with keys out of source_id, schema"),
    ],
)
def test_a_header_that_is_no_json_says_so(wrong: bytes, words: str) -> None:
    with pytest.raises(WireRefusal) as refusal:
        camera.parse([camera.MAGIC, b"HELLO", wrong])
    assert str(refusal.value).startswith(f"HELLO header: {words}")


BRACKETS = b'{"a":' + b"[" * 100_000


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"MDSS1"],
        [b"MDSS1", b"PING"],
        [b"MDSS2", b"PING", b'{"source_id":"c"}'],
        [b"MDSS10", b"PING", b'{"source_id":"c"}'],
        [b"MDSS1", b"SING", b'{"source_id":"c"}'],
        [b"MDSS1", b"PING", b'{"source_id":"c"}' + b" " * 65536],
        [b"MDSS1", b"PING", b"\xff"],
        [b"MDSS1", b"HELLO", BRACKETS],
        [b"MDSS1", b"FRAME", BRACKETS],
    ],
)
def test_foreign_messages_are_refused(parts: list[bytes]) -> None:
    with pytest.raises(WireRefusal) as refusal:
        camera.parse(parts)
    assert refusal.value.code == "SCHEMA"


def test_a_frame_may_have_three_payloads_and_one_with_more_is_refused_by_its_name() -> None:
    assert camera.parse([bytes(part) for part in camera.compose_frame(header(), [b"x"] * 3)])
    with pytest.raises(WireRefusal, match="FRAME: found 4 payloads, expected at most 3") as refusal:
        camera.parse([bytes(part) for part in camera.compose_frame(header(), [b"x"] * 4)])
    assert (refusal.value.code, refusal.value.frame_id) == ("SHAPE_MISMATCH", "f")


def test_only_the_refusal_of_a_frame_names_one() -> None:
    with pytest.raises(WireRefusal, match="HELLO header: source_id: found 'a/b'") as refusal:
        camera.parse([camera.MAGIC, b"HELLO", b'{"source_id":"a/b","frame_id":"f"}'])
    assert refusal.value.frame_id == ""


def test_a_message_with_an_empty_frame_in_front_is_told_what_it_begins_with() -> None:
    with pytest.raises(WireRefusal, match="found 4 frames that begin with b'', expected MDSS1, a kind and a header"):
        camera.parse([b"", *camera.compose(camera.Hello(source_id="camera"))])


def test_a_text_that_is_too_long_is_shown_cut_and_with_its_length() -> None:
    with pytest.raises(WireRefusal) as refusal:
        camera.parse([camera.MAGIC, b"FRAME", msgspec.json.encode(msgspec.to_builtins(header()) | {"part_id": "x" * 129})])
    shown = f"'{'x' * 79}...' (129 characters)"
    assert str(refusal.value) == f"FRAME header: part_id: found {shown}, expected 1 to 128 characters without control characters"


def test_a_refusal_does_not_repeat_without_end_what_was_sent() -> None:
    with pytest.raises(WireRefusal) as refusal:
        camera.parse([camera.MAGIC, b"FRAME", msgspec.json.encode(msgspec.to_builtins(header()) | {"x" * 100_000: 1})])
    assert len(str(refusal.value)) <= 500


@pytest.mark.parametrize(
    ("wrong", "data", "code"),
    [
        (header(height=500), payloads(), "TOO_LARGE"),
        (header(height=32), payloads(), "SHAPE_MISMATCH"),
        (header(xyz=CloudFormat(unit="mm", height=1, width=PIXELS)), payloads(), "NOT_ORGANISED"),
        (header(xyz=CloudFormat(unit="mm", height=80, width=SIDE)), payloads(), "SHAPE_MISMATCH"),
        (header(xyz=CloudFormat(unit="mm", height=0, width=0)), payloads(), "SHAPE_MISMATCH"),
        (header(), payloads()[:1], "SHAPE_MISMATCH"),
        (header(), [payloads()[0], b"short"], "SHAPE_MISMATCH"),
        (header(), [payloads()[0], payloads()[1] + b"more"], "SHAPE_MISMATCH"),
        (header(), [*payloads(), b"more"], "SHAPE_MISMATCH"),
        (header(xyz=CloudFormat(unit="mm", invalid=Invalid(kind="confidence"))), payloads(), "SHAPE_MISMATCH"),
        (header(crc32c=1), payloads(), "CRC"),
    ],
)
def test_a_frame_that_does_not_fit_its_header_is_refused(wrong: FrameHeader, data: list[bytes], code: str) -> None:
    with pytest.raises(WireRefusal) as refusal:
        to_scan(wrong, data, LIMITS)
    assert (refusal.value.code, refusal.value.frame_id) == (code, "f")


def test_a_frame_may_be_as_large_as_the_station_s_limits_and_each_side_has_its_own() -> None:
    head = FrameHeader(**IDENTITY, rgb=ImageFormat(height=SIDE, width=96), xyz=CloudFormat(unit="mm"))
    data = [bytes(SIDE * 96 * 3), bytes(SIDE * 96 * 12)]
    assert to_scan(head, data, FrameLimits(max_height_px=SIDE, max_width_px=96))[0].shape == (SIDE, 96, 3)
    with pytest.raises(WireRefusal, match=r"FRAME rgb\.width: found 96 px, expected at most 64"):
        to_scan(head, data, FrameLimits(max_height_px=96, max_width_px=SIDE))


def test_a_cloud_of_another_width_is_refused_by_its_size_though_its_height_was_left_out() -> None:
    with pytest.raises(WireRefusal, match=f"FRAME xyz: found {SIDE} x 80 px, expected {SIDE} x {SIDE} px as the image"):
        to_scan(header(xyz=CloudFormat(unit="mm", width=80)), payloads(), LIMITS)


def cloud_of(head: FrameHeader, data: list[bytes], limits: FrameLimits) -> NDArray[np.float32]:
    return to_scan(head, data, limits)[1][:]


def test_metres_become_millimetres_and_infinite_points_become_missing() -> None:
    points = np.full((SIDE, SIDE, 3), 0.25, np.float32)
    points[3, 4, 2] = np.inf
    xyz = cloud_of(header(xyz=CloudFormat(unit="m")), payloads(points), LIMITS)
    assert np.isnan(xyz[3, 4]).all()
    assert xyz[0, 0].tolist() == [250.0, 250.0, 250.0]


def test_a_point_that_is_too_far_for_millimetres_is_missing() -> None:
    points = np.full((SIDE, SIDE, 3), 0.25, np.float32)
    points[3, 4, 2] = 3e38
    xyz = cloud_of(header(xyz=CloudFormat(unit="m")), payloads(points), LIMITS)
    assert np.argwhere(np.isnan(xyz).any(axis=2)).tolist() == [[3, 4]]


def test_bits_that_are_no_number_are_a_missing_point_in_metres_too() -> None:
    points = np.full((SIDE, SIDE, 3), 0.25, np.float32)
    points.view(np.uint32)[3, 4, 2] = 0x7F800001  # NaN that raises a warning when it is reckoned with
    xyz = cloud_of(header(xyz=CloudFormat(unit="m")), payloads(points), LIMITS)
    assert np.argwhere(np.isnan(xyz).any(axis=2)).tolist() == [[3, 4]]


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_only_a_point_whose_three_coordinates_are_the_value_is_missing(value: float) -> None:
    points = np.ones((SIDE, SIDE, 3), np.float32)
    points[1, 1], points[2, 2, 0] = value, value
    xyz = cloud_of(header(xyz=CloudFormat(unit="mm", invalid=Invalid(kind="value", value=value))), payloads(points), LIMITS)
    assert np.argwhere(np.isnan(xyz).any(axis=2)).tolist() == [[1, 1]]


def test_a_point_without_confidence_is_missing() -> None:
    confidence = np.ones((SIDE, SIDE), np.float32)
    confidence[5, 6], confidence[7, 8] = 0, np.nan
    form = CloudFormat(unit="mm", invalid=Invalid(kind="confidence", value=0.0))
    xyz = cloud_of(header(xyz=form), [*payloads(), confidence.tobytes()], LIMITS)
    assert np.argwhere(np.isnan(xyz).any(axis=2)).tolist() == [[5, 6], [7, 8]]


@pytest.mark.parametrize("unit", ["m", "mm"])
def test_a_large_cloud_becomes_what_the_rule_says_point_by_point(unit: Literal["m", "mm"]) -> None:
    random = np.random.default_rng(5)
    points = random.normal(0, 1, (200, 190, 3)).astype(np.float32)
    for value in (0.0, np.nan, np.inf, -np.inf, 3e38):
        points[random.random(points.shape) < 0.02] = value
    points[random.random(points.shape[:2]) < 0.2] = 0
    form = CloudFormat(unit=unit, invalid=Invalid(kind="value", value=0.0))
    head = FrameHeader(**IDENTITY, rgb=ImageFormat(height=200, width=190), xyz=form)
    xyz = cloud_of(head, [bytes(200 * 190 * 3), points.tobytes()], FrameLimits())
    with np.errstate(over="ignore", invalid="ignore"):
        expected = points * np.float32(1000 if unit == "m" else 1)
    expected[(points == 0).all(axis=2) | ~np.isfinite(expected).all(axis=2)] = np.nan
    assert np.array_equal(xyz, expected, equal_nan=True)
    assert 0.2 < np.isnan(expected).mean() < 0.5


def test_the_checksum_is_castagnolis_however_the_bytes_are_split() -> None:
    assert crc32c([b"123456789"]) == crc32c([b"1234", b"", b"56789"]) == 0xE3069283
    data = np.random.default_rng(1).integers(0, 256, 20_011, np.uint8).tobytes()
    assert crc32c([data]) == crc32c([data[:7], data[7:9000], data[9000:]])
    right = crc32c(payloads())
    to_scan(header(crc32c=right), payloads(), LIMITS)
