"""The supervisor with real processes over real zmq: one is killed and replaced, all stop when asked, none is left."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import msgspec
import psutil
import pytest
import zmq

from daemon.child import Child
from daemon.notify import Notifier
from daemon.process_table import ProcessSpec
from daemon.spawn import start_process
from daemon.status import Board
from daemon.supervisor import Supervisor, SupervisorServices
from mdss.settings import SupervisorSettings
from mdss.wire.messages import Ended
from mdss.wire.sockets import Receiver, Sender
from tests.model_world import without_models
from tests.station import wait_until

pytestmark = pytest.mark.timeout(120)
LIMITS = SupervisorSettings(ready_timeout_s=60, stall_timeout_s=60, drain_timeout_s=10, restart_limit=5, restart_window_s=60)
WORKER = """
import sys, time, types, zmq
from mdss.wire.sockets import Sender
from mdss.wire.heartbeat import HeartbeatSender, StopFlag
stop = StopFlag().listen()
settings = types.SimpleNamespace(station=types.SimpleNamespace(runtime_directory=sys.argv[1]))
heartbeats = HeartbeatSender(sys.argv[2], Sender(zmq.Context(), "health", settings))
heartbeats.report_state("running")
while not stop.asked:
    time.sleep(0.02)
    heartbeats.send_if_due(0)
"""


class RunningLine:
    """A supervisor of two small workers, in a thread."""

    def __init__(self, folder: Path, limits: SupervisorSettings = LIMITS) -> None:
        settings: Any = SimpleNamespace(station=SimpleNamespace(runtime_directory=str(folder)))
        self.context: zmq.Context[Any] = zmq.Context()
        self.health = Receiver(self.context, "health", settings)
        self.to_fusion, self.fusion = Sender(self.context, "fusion", settings), Receiver(self.context, "fusion", settings)
        self.board, self.said = Board("test", time.monotonic), list[str]()
        specs = [ProcessSpec(name, ("-c", WORKER, str(folder), name), 1) for name in ("fusion", "ingest")]
        children = [Child(spec, start_process, limits, time.monotonic) for spec in specs]
        notifier = Notifier(self.said.append, None, time.monotonic)
        around = SupervisorServices(self.health, self.board, notifier, self.to_fusion, lambda _: "", without_models())
        self.supervisor = Supervisor(children, limits, around)
        self.thread = threading.Thread(target=self.supervisor.run)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.ask_to_stop()
        self.thread.join()
        for link in (self.health, self.to_fusion, self.fusion):
            link.close()
        self.context.term()

    def pid(self, name: str) -> int:
        """Return the process id of one worker."""
        return next(process.pid for process in self.board.report.processes if process.name == name and process.pid is not None)

    def restarts(self) -> list[int]:
        """Return how often each worker was started again."""
        return [process.restarts for process in self.board.report.processes]


def test_a_killed_process_is_replaced_and_all_stop_when_asked(tmp_path: Path) -> None:
    with RunningLine(tmp_path) as line:
        wait_until(lambda: line.board.report.is_ready)
        os.kill(line.pid("fusion"), signal.SIGKILL)
        wait_until(lambda: line.restarts() == [1, 0] and line.board.report.is_ready)
        pids = [line.pid("fusion"), line.pid("ingest")]
        assert line.fusion.receive(60_000) == Ended(process="fusion", reason="ended with code -9")
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert line.said.count("READY=1") == 1
    assert "STOPPING=1" in line.said
    assert any("fusion: ended with code -9" in text for text in line.said)


def test_a_stopped_process_that_says_nothing_is_killed_and_replaced(tmp_path: Path) -> None:
    with RunningLine(tmp_path, msgspec.structs.replace(LIMITS, stall_timeout_s=4)) as line:
        wait_until(lambda: line.board.report.is_ready)
        os.kill(line.pid("fusion"), signal.SIGSTOP)
        wait_until(lambda: line.restarts() == [1, 0] and line.board.report.is_ready)
    assert any("fusion: silent for 4 s" in text for text in line.said)
