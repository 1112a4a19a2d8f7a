"""The loop of ingest around its intake, with a door on which messages wait in a list."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import zmq

from daemon.collection_queue import DROPPED
from daemon.ingest import LAST_SCANS_S, LAST_VERDICTS_S, Ingest
from mdss.settings import Settings, StationSettings, SupervisorSettings
from mdss.wire import camera
from mdss.wire.camera import Hello, Ping
from mdss.wire.heartbeat import HeartbeatSender, StopFlag
from mdss.wire.messages import Heartbeat
from tests.fakes import FakeLink
from tests.front_door import CAMERA, OTHER, RULES, Station, word


class Sockets:
    """What cameras have said and nobody has taken yet; `fusion` has nothing to say."""

    def __init__(self, station: Station) -> None:
        self.waiting = deque[tuple[bytes, camera.Header]]()
        self.cameras, self.fusion, self.prepare, self.collect = self, station.fusion, station.prepare, station.collect

    def wait(self, timeout_ms: int) -> bool:
        return bool(self.waiting)

    def is_quiet(self) -> bool:
        return not self.waiting

    def receive(self) -> list[Any]:
        peer, message = self.waiting.popleft()
        return [zmq.Frame(peer), *camera.compose(message)]

    def from_fusion(self) -> list[Any]:
        return []

    def reply(self, replies: object) -> None:
        """Drop what cameras are told."""


def test_after_a_freeze_no_camera_is_silent_whose_words_wait_at_the_door(tmp_path: Path) -> None:
    station, heartbeats = Station(), HeartbeatSender("ingest", FakeLink())
    settings = Settings(station=StationSettings(runtime_directory=str(tmp_path)))
    sockets: Any = Sockets(station)
    process: Any = SimpleNamespace(settings=settings, heartbeats=heartbeats, stop=StopFlag())
    ingest = Ingest(sockets, station.intake, station, process)  # type: ignore[arg-type]
    for peer, name in ((CAMERA, "cam"), (OTHER, "other")):
        station.say(Hello(source_id=name), peer)
    station.clock.advance(RULES.camera.silence_s + 1)
    silent = list[float]()
    sockets.waiting.extend([(CAMERA, Ping(source_id="cam")), (OTHER, Ping(source_id="other"))])
    for _ in range(3):
        ingest._turn()
        silent.append(station.count("mdss_sources_silent"))
    assert silent == [0, 0, 0]
    station.clock.advance(RULES.camera.silence_s + 1)
    ingest._turn()
    assert station.count("mdss_sources_silent") == 2


@pytest.mark.parametrize(("changed", "waited_s"), [(None, 10), (3.0, 3)])
def test_a_part_without_a_verdict_is_waited_for_as_long_as_the_settings_of_the_moment_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: float | None, waited_s: int
) -> None:
    station, stop = Station.introduced(), StopFlag()
    monkeypatch.setattr("daemon.ingest.time", SimpleNamespace(monotonic=station.clock))
    own = Settings(station=StationSettings(runtime_directory=str(tmp_path)), supervisor=SupervisorSettings(drain_timeout_s=10))
    sockets: Any = Sockets(station)
    heartbeats = HeartbeatSender("ingest", FakeLink())
    process: Any = SimpleNamespace(settings=own, heartbeats=heartbeats, stop=stop)
    ended_s = list[float]()

    def wait(timeout_ms: int) -> bool:
        if not stop.asked:
            stop.asked = True
            ended_s.append(station.clock())
        station.clock.advance(timeout_ms / 1000)
        return False

    def changed_settings() -> Settings | None:
        return None if changed is None else msgspec.structs.replace(RULES, supervisor=SupervisorSettings(drain_timeout_s=changed))

    sockets.wait, process.changed_settings = wait, changed_settings
    station.send("f1")
    Ingest(sockets, station.intake, station, process).run()  # type: ignore[arg-type]
    assert station.clock() - ended_s[0] == pytest.approx(waited_s + LAST_VERDICTS_S, abs=0.2)


@pytest.mark.parametrize(("busy_s", "dropped", "waited_s"), [(1.0, 0, 1.0), (60.0, 2, LAST_SCANS_S)])
def test_at_a_stop_scans_wait_a_moment_for_collect_and_those_that_it_does_not_take_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy_s: float, dropped: int, waited_s: float
) -> None:
    station, stop, supervisor = Station.introduced(), StopFlag(), FakeLink()
    heartbeats = HeartbeatSender("ingest", supervisor)
    heartbeats.tally = station.tally
    monkeypatch.setattr("daemon.ingest.time", SimpleNamespace(monotonic=station.clock))
    own = Settings(station=StationSettings(runtime_directory=str(tmp_path)), supervisor=SupervisorSettings(drain_timeout_s=600))
    sockets: Any = Sockets(station)
    process: Any = SimpleNamespace(settings=own, heartbeats=heartbeats, stop=stop)
    for frame_id in ("f1", "f2"):
        station.send(frame_id)
        station.intake.note_verdicts([word(station.journal.judge(frame_id, 1), 1, None, "NotOK")])
    began_s, stop.asked, station.collect.room = station.clock(), True, False

    def wait(timeout_ms: int) -> bool:
        station.clock.advance(timeout_ms / 1000)
        station.collect.room = station.clock() - began_s >= busy_s
        return False

    sockets.wait = wait
    Ingest(sockets, station.intake, station, process).run()  # type: ignore[arg-type]
    assert (len(station.collect.sent), station.count(DROPPED)) == (2 - dropped, dropped)
    assert station.clock() - began_s == pytest.approx(waited_s, abs=0.1)
    said = supervisor.sent[-1]
    assert isinstance(said, Heartbeat) and (said.state, said.counters[DROPPED]) == ("stopped", dropped)
