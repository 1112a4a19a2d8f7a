"""Which connection speaks for which camera, where the door has keys."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from daemon.sources import AHEAD_NS, BEHIND_NS, MISDATED_AGAIN_S, MOST_SOURCES, Sources, misdated
from mdss.wire.camera import CameraMessage, Eos, FrameMessage, Hello, Ping, WireRefusal
from tests.fakes import FakeClock
from tests.front_door import header

PEER = b"peer"
FRAME = FrameMessage(header("f1"), ())


def introduced() -> Sources:
    """Return sources that know the camera `cam`."""
    made = Sources(10, FakeClock())
    made.introduce("cam", PEER)
    return made


@pytest.mark.parametrize("message", [Hello(source_id="cam"), Ping(source_id="cam"), FRAME, Eos(source_id="cam")])
@pytest.mark.parametrize("speaker", ["cam", None])
def test_a_camera_under_its_own_key_or_at_a_door_without_keys_may_speak(message: CameraMessage, speaker: str | None) -> None:
    assert introduced().checked(PEER, message, speaker) is message


@pytest.mark.parametrize(
    ("message", "frame_id"), [(Hello(source_id="cam"), ""), (Ping(source_id="cam"), ""), (FRAME, "f1"), (Eos(source_id="cam"), "")]
)
@pytest.mark.parametrize("speaker", ["other", ""])
def test_another_key_says_nothing_for_it_even_over_its_connection(message: CameraMessage, frame_id: str, speaker: str) -> None:
    with pytest.raises(WireRefusal, match=f"found cam, expected {speaker} as the name") as caught:
        introduced().checked(PEER, message, speaker)
    assert (caught.value.code, caught.value.frame_id) == ("SCHEMA", frame_id)


def test_a_connection_that_has_not_said_who_it_is_may_ask_and_speaks_for_nobody() -> None:
    ping = Ping(source_id="cam")
    assert introduced().checked(b"another", ping, "other") is ping


def test_a_connection_that_says_hello_again_takes_nothing_over_and_under_another_name_it_leaves_the_first() -> None:
    sources = introduced()
    sources.introduce("cam", PEER)
    sources.introduce("other", PEER)
    assert (sources.takeovers, sources.speaking) == (0, 1)
    assert (sources.peer_of("cam"), sources.peer_of("other")) == (None, PEER)


def test_of_many_silent_cameras_the_one_unheard_for_longest_makes_room_for_another() -> None:
    clock = FakeClock()
    sources, names = Sources(10, clock), [f"cam {number}" for number in range(MOST_SOURCES)]
    for name in names:
        sources.introduce(name, name.encode())
        clock.advance(0.1)
    sources.hear(b"cam 0")
    clock.advance(11)
    sources.tick()
    sources.introduce("new", b"new")
    assert [name for name in names if sources.peer_of(name) is None] == ["cam 1"]


def test_where_no_more_cameras_may_come_one_that_is_known_may_connect_anew() -> None:
    sources = Sources(10, FakeClock())
    for number in range(MOST_SOURCES):
        sources.introduce(f"cam {number}", b"%d" % number)
    sources.introduce("cam 7", b"another connection")
    assert (sources.peer_of("cam 7"), sources.of(b"7")) == (b"another connection", None)


@pytest.mark.parametrize(("unheard_for_s", "takeovers"), [(2.9, 1), (3.1, 0)])
def test_a_connection_that_was_heard_within_three_heartbeats_is_taken_over(unheard_for_s: float, takeovers: int) -> None:
    clock = FakeClock()
    sources = Sources(10, clock)
    sources.introduce("cam", PEER)
    clock.advance(unheard_for_s)
    sources.introduce("cam", b"another connection")
    assert sources.takeovers == takeovers


def test_each_silence_is_logged_once_and_so_is_its_end() -> None:
    clock = FakeClock()
    sources = Sources(10, clock)
    sources.introduce("cam", PEER)
    with capture_logs() as logs:
        for _ in range(2):
            clock.advance(11)
            sources.tick()
            sources.tick()
            sources.hear(PEER)
            sources.hear(PEER)
    silent, again = ("the camera is silent", "cam", 10), ("the camera speaks again", "cam", None)
    assert [(line["event"], line["source"], line.get("silent_for_s")) for line in logs] == [silent, again] * 2


@pytest.mark.parametrize(
    ("off_ns", "is_right"), [(0, True), (AHEAD_NS, True), (AHEAD_NS + 1, False), (-BEHIND_NS, True), (-BEHIND_NS - 1, False)]
)
def test_a_capture_time_may_be_an_hour_old_because_a_frame_may_have_waited_and_a_minute_ahead(off_ns: int, is_right: bool) -> None:
    now_ns = 1_767_225_600 * 10**9
    assert (misdated(now_ns + off_ns, now_ns) == "") is is_right


def test_a_capture_time_that_is_wrong_is_said_with_what_was_found_and_what_was_expected() -> None:
    found = "FRAME capture_time: found 1767225600, which is 1970-01-01 00:00:01 UTC"
    expected = "expected nanoseconds since 1970 in UTC, near 2026-01-01 00:00:00 UTC"
    assert misdated(1_767_225_600, 1_767_225_600 * 10**9) == f"{found}, {expected}"


def test_a_camera_stays_one_of_a_wrong_time_when_it_connects_anew_until_it_says_goodbye() -> None:
    sources = introduced()
    sources.note_capture_time(header("f1", capture_time=5), 10**18)
    sources.introduce("cam", b"another")
    assert sources.gauges()["mdss_sources_misdated"] == 1
    sources.end(b"another")
    assert sources.gauges()["mdss_sources_misdated"] == 0


def test_a_camera_whose_capture_times_are_wrong_in_turns_is_named_once_an_hour_and_others_beside_it() -> None:
    clock = FakeClock()
    sources, right_ns = Sources(10, clock), 1_767_225_600 * 10**9
    for name in ("cam", "other"):
        sources.introduce(name, name.encode())

    def note(name: str, *captured_ns: int) -> None:
        for each in captured_ns:
            sources.note_capture_time(header("f1", source_id=name, capture_time=each), right_ns)

    with capture_logs() as lines:
        for _ in range(100):
            note("cam", 5, right_ns)
            note("other", 5)
        assert [line["source"] for line in lines] == ["cam", "other"]
        assert sources.gauges()["mdss_sources_misdated"] == 1
        clock.advance(MISDATED_AGAIN_S + 1)
        note("cam", right_ns, 5)
        note("other", 5)
        assert [line["source"] for line in lines] == ["cam", "other", "cam"]
