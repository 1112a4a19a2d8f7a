"""The examples run as they are: a camera against a front door, a subscriber against a publisher and its journal."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import pytest
import zmq

from mdss.journal import Journal
from mdss.settings import Settings, VerdictSettings
from mdss.wire.heartbeat import Tally
from mdss.wire.verdict import Beat, Times
from tests.alerts import verdict
from tests.fake_station import FakeStation
from tests.station import wait_until
from workers.publisher import Publisher

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:  # short enough for a socket
        yield Path(name)


def command(example: str, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / example), *arguments]


@pytest.fixture(scope="module", autouse=True)
def lonely() -> Iterator[subprocess.Popen[str]]:
    """A camera that finds no station, from the first test on: it waits for one for ten seconds."""
    with TemporaryDirectory() as name:
        arguments = command("camera.py", f"ipc://{name}/nobody.sock", "cap")
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            yield process
            process.kill()


def test_the_camera_gets_ten_parts_judged(folder: Path) -> None:
    with FakeStation(f"ipc://{folder}/frames.sock") as station:
        done = subprocess.run(command("camera.py", station.endpoint, "cap"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "10 judged, 0 refused\n"), done.stderr
    assert station.part_ids == [f"part-{number}" for number in range(10)]


def test_the_camera_says_what_was_refused_and_fails(folder: Path) -> None:
    with FakeStation(f"ipc://{folder}/frames.sock") as station:
        station.refusals["part-3"] = ["UNKNOWN_RECIPE"]
        done = subprocess.run(command("camera.py", station.endpoint, "cap"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("9 judged, 1 refused\nrefused: UNKNOWN_RECIPE")


class Publishing:
    """A publisher in a thread, with everything that its journal holds on the snapshot port."""

    def __init__(self, folder: Path) -> None:
        self.addresses = VerdictSettings(endpoint=f"ipc://{folder}/v.sock", snapshot_endpoint=f"ipc://{folder}/s.sock")
        self._folder, self._stop, self._thread = folder, threading.Event(), threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Fall silent."""
        self._stop.set()
        self._thread.join()

    def _serve(self) -> None:
        journal, context = Journal(self._folder / "journal.sqlite"), zmq.Context[zmq.Socket[bytes]]()
        publisher = Publisher(context, Settings(verdicts=self.addresses), journal, "boot", Tally())
        while not self._stop.wait(0.02):
            publisher.serve(lambda: Beat(station="line-1", boot_id="boot", sequence=journal.last_sequence(), time_ns=0))
        publisher.close()
        context.destroy(0)
        journal.close()


def started(example: str, station: Publishing) -> subprocess.Popen[str]:
    arguments = command(example, station.addresses.endpoint, station.addresses.snapshot_endpoint)
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def taken(captured_ns: int) -> Times:
    return Times(captured=captured_ns, received=0, rgb=None, sdf=None, fusion=0, published=captured_ns + 750_000_000)


def test_the_subscriber_prints_each_part_that_is_not_ok_from_where_it_was_told(folder: Path) -> None:
    journal = Journal(folder / "journal.sqlite")
    for name, evaluation in (("a", "NotOK"), ("b", "NotOK"), ("c", "OK"), ("d", "NotOK")):
        journal.judge(verdict(name, evaluation=evaluation))
    journal.close()
    with Publishing(folder) as station:
        arguments = command("subscriber.py", station.addresses.endpoint, station.addresses.snapshot_endpoint, "1")
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2)]
            process.terminate()
    assert lines == [f"{number} part of {name} NotOK 7.5 score 7.5 is above the threshold 3\n" for number, name in ((2, "b"), (4, "d"))]


@contextmanager
def at_the_gateway(folder: Path) -> Iterator[tuple[Publishing, Journal, subprocess.Popen[str], list[str]]]:
    """A station with its journal and a gateway that hears it, with the first two lines that it said; it is told to end afterwards."""
    with closing(Journal(folder / "journal.sqlite")) as journal, Publishing(folder) as station, started("gateway.py", station) as process:
        assert process.stdout is not None
        yield station, journal, process, [process.stdout.readline() for _ in range(2)]
        process.terminate()


def said_of_a_part(process: subprocess.Popen[str]) -> str:
    """Return the next line of a gateway that is of a part: on busy cores a station may fall silent and be heard again before it."""
    assert process.stdout is not None
    return next((line for line in iter(process.stdout.readline, "") if line not in ("stop\n", "run\n")), "")


def test_the_gateway_lets_nothing_pass_but_ok_and_stops_the_line_when_the_station_falls_silent(folder: Path) -> None:
    with at_the_gateway(folder) as (station, journal, process, lines):
        assert process.stdout is not None
        for name, evaluation in (("a", "OK"), ("b", "NotDecidable")):
            journal.judge(verdict(name, evaluation=evaluation, times=taken(time.time_ns())))
        lines += [said_of_a_part(process) for _ in range(2)]
        station.stop()
        while (last := process.stdout.readline()) == "run\n":
            pass
    assert [*lines, last] == ["stop\n", "run\n", "pass part of a after 750 ms\n", "eject part of b after 750 ms\n", "stop\n"]


def test_the_gateway_hands_on_no_verdict_that_comes_when_its_part_is_gone(folder: Path) -> None:
    with at_the_gateway(folder) as (_, journal, process, lines):
        for age_s in (60, 0):  # as after a restart of the station, and of the next part
            journal.judge(verdict(f"{age_s} s", evaluation="OK", times=taken(time.time_ns() - age_s * 10**9)))
        lines.append(said_of_a_part(process))
        process.terminate()
        _, complaint = process.communicate()
    assert lines == ["stop\n", "run\n", "pass part of 0 s after 750 ms\n"]
    assert (
        complaint.startswith("gateway: not handed on: part of 60 s, by the camera's clock scanned 6") and len(complaint.splitlines()) == 1
    )


def test_the_gateway_hands_on_no_verdict_on_a_part_from_the_future(folder: Path) -> None:
    with at_the_gateway(folder) as (_, journal, process, lines):
        assert process.stdout is not None
        for ahead_s in (3600, 0):  # the camera's clock is wrong, and set right
            journal.judge(verdict(f"{ahead_s} s", evaluation="OK", times=taken(time.time_ns() + ahead_s * 10**9)))
        lines.append(process.stdout.readline())
        process.terminate()
        _, complaint = process.communicate()
    assert lines == ["stop\n", "run\n", "pass part of 0 s after 750 ms\n"]
    (said,) = complaint.splitlines()
    assert said.startswith("gateway: not handed on: part of 3600 s, by the camera's clock scanned 3") and said.endswith(" s ahead")


def test_the_gateway_hands_on_no_verdict_on_a_simulated_part(folder: Path) -> None:
    with at_the_gateway(folder) as (_, journal, process, lines):
        for name in ("replay", "line"):
            journal.judge(verdict(name, evaluation="OK", is_simulated=name == "replay", times=taken(time.time_ns())))
        lines.append(said_of_a_part(process))
        process.terminate()
        _, complaint = process.communicate()
    assert lines == ["stop\n", "run\n", "pass part of line after 750 ms\n"]
    assert complaint == "gateway: not handed on: part of replay is simulated, it is not on the line\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_gateway_that_is_ended_stops_the_line(folder: Path, number: signal.Signals) -> None:
    with Publishing(folder) as station, started("gateway.py", station) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["stop\n", "run\n"]
        process.send_signal(number)
        assert process.communicate() == ("stop\n", "")
    assert process.returncode == 130


def test_ctrl_c_ends_the_subscriber_without_a_word(folder: Path) -> None:
    journal = Journal(folder / "journal.sqlite")
    journal.judge(verdict("a", evaluation="NotOK"))
    journal.close()
    with Publishing(folder) as station, started("subscriber.py", station) as process:
        assert process.stdout is not None and process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", "")
    assert process.returncode == 130


def test_a_subscriber_whose_output_nobody_reads_any_more_ends_without_a_word_like_any_program(folder: Path) -> None:
    with closing(Journal(folder / "journal.sqlite")) as journal:
        for name in ("a", "b"):
            journal.judge(verdict(name, evaluation="NotOK"))
    with Publishing(folder) as station, started("subscriber.py", station) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 141)


def test_ctrl_c_ends_the_camera_without_a_word_and_the_station_knows_that_it_left(folder: Path) -> None:
    with FakeStation(f"ipc://{folder}/frames.sock", finishes=False) as station:
        arguments = command("camera.py", station.endpoint, "cap")
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda: bool(station.frames))
            process.send_signal(signal.SIGINT)
            assert process.communicate() == ("", "")
        assert station.has_ended.wait(10)
    assert process.returncode == 130


@pytest.mark.parametrize("example", ["camera.py", "gateway.py", "subscriber.py"])
def test_an_example_without_its_arguments_says_which_it_needs(example: str) -> None:
    done = subprocess.run(command(example), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"usage: python examples/{example} ") and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gateway.py", "ipc://a.sock", "foo"), "gateway: endpoint 'foo': "),
        (("subscriber.py", "foo", "ipc://a.sock"), "subscriber: endpoint 'foo': "),
        (("subscriber.py", "ipc://a.sock", "ipc://b.sock", "now"), "subscriber: SINCE: found 'now', expected "),
    ],
)
def test_an_example_with_an_argument_that_is_none_says_so_in_a_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(command(*arguments), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(said) and len(done.stderr.splitlines()) == 1


def test_the_camera_that_finds_no_station_says_so_and_ends(lonely: subprocess.Popen[str]) -> None:
    said, complaint = lonely.communicate()
    assert (lonely.returncode, said) == (1, "")
    assert re.fullmatch(r"camera: ipc://.*/nobody.sock: no station answered within 10 s; frame \w+ cannot be sent; .*\n", complaint)
