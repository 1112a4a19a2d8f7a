"""Keys at the doors, over real tcp: who is on the list gets in under the name of the key's file, and nobody else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from structlog.testing import capture_logs

from demo.station import free_port
from mdss import client
from mdss.client import CurveKeys, FrameSender, VerdictStream
from mdss.errors import BadInput, MdssError
from mdss.settings import CameraSettings, Settings, VerdictSettings
from mdss.settings_access import SecuritySettings
from mdss.wire import verdict_stream
from mdss.wire.authentication import AllowedClients, ClientAuthentication
from mdss.wire.client_socket import connect
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Accepted
from mdss.wire.sockets import bind_socket
from mdss.wire.verdict import Beat, Verdict
from tests.camera_cpp import built
from tests.fakes import clock_of_waits
from tests.ingest_process import Line, until
from tests.keys import KeyRing
from tests.parts import accepted, verdict
from workers.publisher import Publisher

pytestmark = pytest.mark.timeout(120)
RGB, XYZ = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64, 3), np.float32)
PATIENCE_S, REFUSED_AFTER_S = 30.0, 1.0  # how long a test waits for what must come, and for what must not
TICK_S = 0.01  # waits are counted in whole ms


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing.make(tmp_path / "keys", "cam", "cam-2", "plc")
    made.add("stranger", is_listed=False)
    return made


@pytest.fixture
def line(ring: KeyRing) -> Iterator[Line]:
    with TemporaryDirectory() as folder, Line(Path(folder), endpoint=f"tcp://127.0.0.1:{free_port()}", security=ring.section) as made:
        yield made


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processors are busy, a refusal is here before what is said first: nobody is left to say it to."""

    def slowly(*arguments: Any) -> zmq.Socket[bytes]:
        socket, end_s = connect(*arguments), time.monotonic() + REFUSED_AFTER_S
        while socket.poll(0, zmq.POLLOUT) and time.monotonic() < end_s:
            time.sleep(0.02)
        return socket

    for module in (client, verdict_stream):
        monkeypatch.setattr(module, "connect", slowly)


def camera(line: Line, source: str, keys: CurveKeys | None, patience_s: float = PATIENCE_S) -> FrameSender:
    return FrameSender(line.settings.camera.endpoint, source, send_timeout_s=patience_s, keys=keys)


def send(sender: FrameSender) -> str:
    return sender.send(RGB, XYZ, part_id="a", recipe_id="gland")


def is_let_in(line: Line, source: str, keys: CurveKeys | None, patience_s: float = PATIENCE_S) -> bool:
    """Return whether a camera gets credit within this time."""
    with camera(line, source, keys, patience_s) as sender:
        try:
            send(sender)
        except MdssError:
            return False
        until(sender, lambda: bool(sender.acknowledged))
        return True


def test_a_camera_on_the_list_sends_frames_and_gets_its_verdicts(line: Line, ring: KeyRing) -> None:
    with camera(line, "cam", ring.of("cam")) as sender:
        send(sender)
        line.to_ingest.send(line.judge(line.accepted(sender)))
        assert sender.wait_until_done(PATIENCE_S)
        assert len(sender.done) == 1


def test_a_key_that_is_not_on_the_list_gets_nothing(line: Line, ring: KeyRing) -> None:
    assert not is_let_in(line, "stranger", ring.of("stranger"), REFUSED_AFTER_S)
    assert is_let_in(line, "cam", ring.of("cam"))


def test_a_camera_that_is_refused_before_its_first_word_waits_no_longer_than_it_was_told_to(
    line: Line, ring: KeyRing, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = clock_of_waits(monkeypatch, client)
    began_s = clock()
    assert not is_let_in(line, "stranger", ring.of("stranger"), REFUSED_AFTER_S)
    assert clock() - began_s < REFUSED_AFTER_S + TICK_S


def test_a_camera_without_a_key_gets_nothing(line: Line) -> None:
    assert not is_let_in(line, "cam", None, REFUSED_AFTER_S)


def test_a_camera_that_expects_another_station_gets_nothing(line: Line, ring: KeyRing) -> None:
    own, other = ring.of("cam"), ring.of("cam-2")
    assert not is_let_in(line, "cam", CurveKeys(own.public, own.secret, other.public), REFUSED_AFTER_S)


def test_a_key_speaks_only_for_the_source_it_is_named_after(line: Line, ring: KeyRing) -> None:
    with (
        camera(line, "cam", ring.of("cam-2")) as sender,
        pytest.raises(MdssError, match="SCHEMA: HELLO source_id: found cam, expected cam-2"),
    ):
        send(sender)
    assert line.hear(lambda beat: beat.counters.get('mdss_frames_rejected_total{code="SCHEMA"}', 0) > 0)


def test_a_key_added_lets_in_at_once_and_a_removed_one_no_more(line: Line, ring: KeyRing) -> None:
    (ring.clients / "stranger.key").write_bytes((ring.secrets / "stranger.key").read_bytes())
    (ring.clients / "cam.key").unlink()
    assert is_let_in(line, "stranger", ring.of("stranger"))
    assert not is_let_in(line, "cam", ring.of("cam"), REFUSED_AFTER_S)


def test_a_damaged_file_on_the_list_shuts_out_nobody_else(line: Line, ring: KeyRing) -> None:
    (ring.clients / "aaa.key").write_bytes(b"\xff\x00")
    (ring.clients / "bbb.key").mkdir()
    assert is_let_in(line, "cam", ring.of("cam"))


def locked(ring: KeyRing) -> Settings:
    """Return settings whose cameras come over tcp."""
    own = SecuritySettings(server_key_file=ring.section["server_key_file"], client_keys=ring.section["client_keys"])
    return Settings(camera=CameraSettings(endpoint=f"tcp://127.0.0.1:{free_port()}"), security=own)


def test_a_file_that_is_no_key_is_said_once_and_not_at_each_handshake(ring: KeyRing) -> None:
    (ring.clients / "aaa.key").write_bytes(b"\xff\x00")
    listed, key = AllowedClients(ring.clients), ring.of("cam").public
    with capture_logs() as lines:
        assert all(listed.callback("frames", key) for _ in range(3))
        (ring.clients / "bbb.key").write_bytes(b"")
        assert listed.callback("frames", key)
        (ring.clients / "aaa.key").unlink()
        assert listed.callback("frames", key)
    assert [Path(line["reason"].partition(": ")[0]).name for line in lines] == ["aaa.key", "bbb.key"]
    (ring.clients / "aaa.key").write_bytes(b"\xff\x00")
    with capture_logs() as lines:
        assert listed.callback("frames", key)
    assert len(lines) == 1, "it is there again"


def test_a_door_without_its_gate_lets_nobody_in(ring: KeyRing) -> None:
    settings = locked(ring)
    with (
        zmq.Context() as context,
        bind_socket(context, zmq.ROUTER, "frames", settings) as door,
        FrameSender(settings.camera.endpoint, "cam", keys=ring.of("cam")) as sender,
    ):
        sender.attend(REFUSED_AFTER_S)
        assert not door.poll(0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_gate_that_answers_no_more_is_not_passed_over_in_silence(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, keys = locked(ring), ring.of("cam")
    monkeypatch.setattr("mdss.key_files.read_public", lambda _: [0] * sys.maxsize)  # MemoryError, as in a process at its limit
    with (
        zmq.Context() as context,
        closing(ClientAuthentication(context, settings)) as gate,
        bind_socket(context, zmq.ROUTER, "frames", settings),
        FrameSender(settings.camera.endpoint, "cam", keys=keys) as sender,
    ):
        while gate.is_answering:
            sender.attend(0.02)
        with pytest.raises(MdssError, match="handshakes has ended"):
            gate.check()


@pytest.mark.parametrize("host", ["10.0.0.7", "127.plant.example", "localhost.plant.example", "127.0.0.1:0;10.0.0.7"])
def test_another_machine_is_not_called_without_keys(host: str) -> None:
    with pytest.raises(BadInput, match=rf"endpoint 'tcp://{host}:5555': found no keys"):
        FrameSender(f"tcp://{host}:5555", "cam")


def files_of_cpp(ring: KeyRing) -> tuple[str, str]:
    return str(ring.secrets / "cpp-camera.key_secret"), str(ring.secrets / "station.key")


def test_the_camera_in_cpp_connects_with_the_files_that_keygen_makes(line: Line, ring: KeyRing, tmp_path: Path) -> None:
    ring.add("cpp-camera")
    command = [built(tmp_path), line.settings.camera.endpoint, "gland", "5", *files_of_cpp(ring)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            accepted_now = line.fusion.receive(20)
            if isinstance(accepted_now, Accepted):
                line.to_ingest.send(line.judge(accepted_now))
        assert process.stdout is not None
        assert (process.returncode, process.stdout.read()) == (0, "5 sent, 5 acknowledged, 5 done, 0 refused\n")


def test_the_camera_in_cpp_that_is_refused_waits_no_longer_than_it_was_told_to(line: Line, ring: KeyRing, tmp_path: Path) -> None:
    program = built(tmp_path, "-DPATIENCE_MS=4000")  # it says PING meanwhile, and connects anew
    ring.add("cpp-camera", is_listed=False)
    command = [program, line.settings.camera.endpoint, "gland", "5", *files_of_cpp(ring)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (1, "0 sent, 0 acknowledged, 0 done, 0 refused\n")
    assert result.stderr == "camera: nothing got on for 4000 ms, 0 frames have no verdict\n"


class Book:
    """A journal of one verdict."""

    stored = msgspec.structs.replace(verdict(accepted("a", deadline_ns=0)), sequence=1)

    def since(self, sequence: int, limit: int) -> list[Verdict]:
        return [self.stored][sequence:limit]

    def last_sequence(self) -> int:
        return 1


class Stage:
    """A publisher on tcp that is served by a thread of its own."""

    def __init__(self, ring: KeyRing) -> None:
        ports = [free_port(), free_port()]
        own = SecuritySettings(server_key_file=ring.section["server_key_file"], client_keys=ring.section["client_keys"])
        self.verdicts, self.snapshots = (f"tcp://127.0.0.1:{port}" for port in ports)
        settings = Settings(verdicts=VerdictSettings(endpoint=self.verdicts, snapshot_endpoint=self.snapshots), security=own)
        self.context: zmq.Context[Any] = zmq.Context()
        self.publisher = Publisher(self.context, settings, Book(), "boot", Tally())

        self._is_closing, self._thread = Event(), Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._is_closing.wait(0.005):
            self.publisher.serve(lambda: Beat(station="s", boot_id="boot", sequence=1, time_ns=0))
        self.publisher.close()

    def close(self) -> None:
        self._is_closing.set()
        self._thread.join()
        self.context.term()

    def first_for(self, keys: CurveKeys | None, patience_s: float = REFUSED_AFTER_S) -> str | None:
        """Return the result id of the first verdict that a subscriber gets."""
        with VerdictStream(self.verdicts, self.snapshots, since=0, keys=keys) as stream:
            found = stream.receive(patience_s)
        return None if found is None else found.result_id


def test_a_subscriber_on_the_list_hears_verdicts_and_nobody_else_does(ring: KeyRing) -> None:
    with closing(Stage(ring)) as stage:
        assert stage.first_for(ring.of("plc"), patience_s=PATIENCE_S) == Book.stored.result_id
        assert stage.first_for(ring.of("stranger")) is None
        assert stage.first_for(None) is None


def test_a_subscriber_that_is_refused_before_its_question_waits_no_longer_than_it_was_told_to(
    ring: KeyRing, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = clock_of_waits(monkeypatch, verdict_stream)
    began_s = clock()
    with closing(Stage(ring)) as stage:
        assert stage.first_for(ring.of("stranger")) is None
    assert clock() - began_s < REFUSED_AFTER_S + TICK_S


def test_a_subscriber_whose_key_is_put_on_the_list_later_hears_the_station(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_stream, "SILENT_S", 2.0)  # two heartbeats
    keys = ring.of("stranger")
    with closing(Stage(ring)) as stage, VerdictStream(stage.verdicts, stage.snapshots, since=1, keys=keys) as stream:
        assert stream.receive(REFUSED_AFTER_S) is None
        (ring.clients / "stranger.key").write_bytes((ring.secrets / "stranger.key").read_bytes())
        end_s = time.monotonic() + PATIENCE_S
        while stream.beats is None and time.monotonic() < end_s:
            stream.receive(0.2)
        assert stream.beats is not None
