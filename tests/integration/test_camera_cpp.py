"""The example camera in C++ against a front door over real ZeroMQ."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.camera_cpp import built
from tests.fake_station import FakeStation

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def camera_cpp(tmp_path_factory: pytest.TempPathFactory) -> str:
    return built(tmp_path_factory.mktemp("camera"))


def test_the_camera_in_cpp_builds_and_gets_every_frame_done(endpoint: str, camera_cpp: str) -> None:
    with FakeStation(endpoint) as station:
        result = subprocess.run([camera_cpp, endpoint, "r", "5"], capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stdout) == (0, "5 sent, 5 acknowledged, 5 done, 0 refused\n"), result.stderr
    assert station.part_ids == [f"part-{number}" for number in range(5)]


def test_the_camera_in_cpp_offers_again_what_was_refused_for_now_and_counts_what_was_for_good(endpoint: str, camera_cpp: str) -> None:
    with FakeStation(endpoint) as station:
        station.refusals = {"part-1": ["BUSY", "DRAINING", "NOT_READY"], "part-3": ["UNKNOWN_RECIPE"]}
        result = subprocess.run([camera_cpp, endpoint, "r", "5"], capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stdout) == (1, "5 sent, 4 acknowledged, 4 done, 1 refused\n"), result.stderr
    assert "UNKNOWN_RECIPE" in result.stderr and len(result.stderr.splitlines()) == 1
    assert sorted(station.part_ids) == ["part-0", "part-1", "part-2", "part-4"]


def test_the_camera_in_cpp_sends_what_has_no_done_again_to_a_restarted_station(endpoint: str, camera_cpp: str) -> None:
    with FakeStation(endpoint, finishes=False) as first:
        process = subprocess.Popen([camera_cpp, endpoint, "r", "5"], stdout=subprocess.PIPE, text=True)
        while len(first.frames) < 2:
            time.sleep(0.02)
    with process, FakeStation(endpoint, boot_id="boot-2") as second:
        said, _ = process.communicate(timeout=40)
    assert (process.returncode, said) == (0, "5 sent, 5 acknowledged, 5 done, 0 refused\n")
    assert {frame.header.frame_id for frame in first.frames} < {frame.header.frame_id for frame in second.frames}
    assert list(dict.fromkeys(second.part_ids)) == [f"part-{number}" for number in range(5)]


def test_the_camera_in_cpp_finds_a_station_at_an_address_of_ipv6(camera_cpp: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with FakeStation("tcp://[::1]:*") as station:
        result = subprocess.run([camera_cpp, station.endpoint, "r", "2"], capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stdout) == (0, "2 sent, 2 acknowledged, 2 done, 0 refused\n"), result.stderr


def test_the_camera_in_cpp_never_connects_without_keys_where_it_is_given_one_of_the_two_files(endpoint: str, camera_cpp: str) -> None:
    result = subprocess.run([camera_cpp, endpoint, "r", "5", "mine.key_secret"], capture_output=True, text=True, timeout=10, check=False)
    assert result.returncode == 2 and result.stderr.startswith("usage: ")


def test_the_camera_in_cpp_is_not_kept_waiting_by_answers_that_are_no_progress(endpoint: str, tmp_path: Path) -> None:
    program = built(tmp_path, "-DPATIENCE_MS=3000")
    with FakeStation(endpoint, finishes=False) as station:
        result = subprocess.run([program, endpoint, "r", "5"], capture_output=True, text=True, timeout=30, check=False)
        assert station.has_ended.wait(10)
    assert (result.returncode, result.stdout) == (1, "2 sent, 2 acknowledged, 0 done, 0 refused\n")
    assert result.stderr == "camera: nothing got on for 3000 ms, 2 frames have no verdict\n"


def test_the_camera_in_cpp_gives_a_frame_on_a_slow_link_its_time(endpoint: str, camera_cpp: str) -> None:
    station = FakeStation(endpoint, credit=1)
    station.liveness, station.frame_takes_s = 4, 0.45  # silence is dead after 0.2 s, and a frame of 0.3 MB has as many seconds more
    with station:
        result = subprocess.run([camera_cpp, endpoint, "r", "2"], capture_output=True, text=True, timeout=50, check=False)
    assert (result.returncode, result.stdout) == (0, "2 sent, 2 acknowledged, 2 done, 0 refused\n"), result.stderr
