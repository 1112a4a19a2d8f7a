"""Bad input at the front door: each is refused with its code and a sentence, and the next frame goes on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.sources import MOST_SOURCES
from mdss.journal import Journal
from mdss.wire import camera
from mdss.wire.camera import Ack, Credit, Done, Eos, Hello, Nack, Pong
from mdss.wire.headers import CloudFormat, ImageFormat
from mdss.wire.messages import Frame
from tests.front_door import CAMERA, OTHER, SIDE, Station, code_of, header, payloads
from tests.parts import verdict


@pytest.fixture
def station() -> Station:
    return Station.introduced()


def test_an_unknown_recipe_is_refused_with_the_known_ones(station: Station) -> None:
    (nack,) = station.send(recipe_id="foam")
    assert nack == Nack(frame_id="f1", code="UNKNOWN_RECIPE", reason="FRAME recipe_id: found foam, expected one of gland, cap")
    assert station.journal.entries == {}


def test_who_has_not_said_hello_is_not_ready() -> None:
    assert code_of(Station().send()) == "NOT_READY"


def test_a_frame_in_another_s_name_is_refused(station: Station) -> None:
    assert code_of(station.send(source_id="other")) == "SCHEMA"


@pytest.mark.parametrize(
    ("changes", "parts", "code"),
    [
        ({}, [bytes(SIDE * SIDE * 3), np.ones((SIDE, SIDE, 3), np.float64).tobytes()], "SHAPE_MISMATCH"),
        ({}, [bytes(SIDE * SIDE), payloads()[1]], "SHAPE_MISMATCH"),
        ({}, [payloads()[0], payloads()[1][:-5]], "SHAPE_MISMATCH"),
        ({}, payloads()[:1], "SHAPE_MISMATCH"),
        ({}, [], "SHAPE_MISMATCH"),
        ({"xyz": CloudFormat(unit="mm", height=1, width=SIDE * SIDE)}, payloads(), "NOT_ORGANISED"),
        ({"rgb": ImageFormat(height=2001, width=SIDE)}, payloads(), "TOO_LARGE"),
        ({"rgb": ImageFormat(height=2**62, width=2**62)}, payloads(), "TOO_LARGE"),
        ({"rgb": ImageFormat(height=0, width=0)}, [b"", b""], "SHAPE_MISMATCH"),
        ({"crc32c": 7}, payloads(), "CRC"),
    ],
)
def test_a_frame_that_is_not_what_it_says_is_refused_and_the_next_goes_on(
    station: Station, changes: dict[str, Any], parts: list[bytes], code: str
) -> None:
    wrong = [bytes(part) for part in camera.compose_frame(header("bad", **changes), parts)]
    (nack,) = station.answers(CAMERA, wrong)
    assert isinstance(nack, Nack)
    assert (nack.code, nack.frame_id) == (code, "bad")
    assert "expected" in nack.reason or code == "CRC"
    assert isinstance(station.send("good")[0], Ack)
    assert list(station.journal.entries) == [("cam", "good")]


def test_a_cloud_without_a_single_point_is_judged_and_not_refused(station: Station) -> None:
    points = np.full((SIDE, SIDE, 3), np.nan, np.float32)
    points[::2] = -np.inf
    (ack,) = station.answers(CAMERA, [bytes(part) for part in camera.compose_frame(header("empty"), payloads(points))])
    assert isinstance(ack, Ack)
    (frame,) = station.prepare.sent
    assert isinstance(frame, Frame) and np.isnan(frame.xyz[:]).all()


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"GET / HTTP/1.1\r\n\r\n"],
        [b"", b"MDSS1", b"PING", b"{}"],
        [b"MDSS2", b"HELLO", b'{"source_id":"cam"}'],
        [b"MDSS1", b"SHOUT", b"{}"],
        [b"MDSS1", b"HELLO", b"{"],
        [b"MDSS1", b"HELLO", b'{"source_id":"a/b"}'],
        [b"MDSS1", b"FRAME", b'{"frame_id": 3}'],
        [b"MDSS1", b"FRAME", b'{"a":' + b"[" * 100_000],
        [b"MDSS1", b"FRAME", b"\xff\xfe", b"", b""],
    ],
)
def test_nonsense_of_a_stranger_is_answered_with_a_sentence(frames: list[bytes]) -> None:
    (nack,) = Station().answers(b"stranger", frames)
    assert isinstance(nack, Nack)
    assert nack.code == "SCHEMA" and nack.reason


def test_a_header_against_the_schema_names_its_frame(station: Station) -> None:
    wrong = msgspec.json.encode(msgspec.to_builtins(header("f9")) | {"part": "misspelt"})
    (nack,) = station.answers(CAMERA, [b"MDSS1", b"FRAME", wrong, *payloads()])
    assert isinstance(nack, Nack)
    assert (nack.code, nack.frame_id) == ("SCHEMA", "f9")
    assert "part" in nack.reason


@pytest.mark.parametrize(
    ("change", "found"),
    [({"part_id": "run1-part0"}, "part_id run0-part0, found run1-part0"), ({"recipe_id": "cap"}, "recipe_id gland, found cap")],
)
def test_another_part_under_a_frame_id_that_is_known_is_refused_by_name_and_the_first_keeps_its_verdict(
    tmp_path: Path, change: dict[str, Any], found: str
) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        held = Station.introduced(journal)
        (ack,) = held.send("frame-0", part_id="run0-part0")
        restarted, judged = Station.introduced(journal), Station.introduced(journal)
        reason = f"FRAME frame_id: frame-0 was accepted with {found}, expected an id of its own for each frame"
        for station in (held, restarted, judged):
            if station is judged:
                journal.judge(verdict(journal.pending()[0]))
            answers = station.send("frame-0", **({"part_id": "run0-part0"} | change))
            assert answers == [Nack(frame_id="frame-0", code="SCHEMA", reason=reason)]
            assert station.count('mdss_frames_rejected_total{code="SCHEMA"}') == 1
            assert station.count("mdss_frames_repeated_total") == 0
            assert isinstance(station.send("frame-0b", **change)[0], Ack)
        first, done = judged.send("frame-0", part_id="run0-part0", sequence=7, capture_time=8, deadline_ms=9)
        assert first == ack and isinstance(done, Done)


def test_a_frame_whose_acceptance_cannot_be_read_is_taken_whatever_it_was(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        before = Station.introduced(journal).send("f1", part_id="p")
        journal._file.rows("UPDATE part SET accepted = '{'")
        assert Station.introduced(journal).send("f1", part_id="p") == before


def test_what_only_a_station_says_is_not_answered(station: Station) -> None:
    assert station.say(Nack(frame_id="f", code="SCHEMA", reason="an echo")) == []
    assert station.count('mdss_frames_rejected_total{code="SCHEMA"}') == 1


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"MDSS1", b"FRAME", b"HELLO", b"PING", b"EOS", b"{}"])), max_size=6))
def test_no_multipart_breaks_the_door(frames: list[bytes]) -> None:
    station = Station()
    for message in station.answers(b"stranger", frames):
        assert isinstance(message, Nack | Pong | Credit)


def test_strangers_cannot_fill_the_memory_with_names() -> None:
    station = Station()
    for number in range(MOST_SOURCES):
        station.say(Hello(source_id=f"cam-{number}"), b"%d" % number)
    assert code_of(station.say(Hello(source_id="one-more"), OTHER)) == "NOT_READY"
    station.say(Eos(source_id="cam-7"), b"7")
    assert station.say(Hello(source_id="one-more"), OTHER) == [Credit(credit=2, boot_id="boot")]
