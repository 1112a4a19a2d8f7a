"""The real process `ingest`, with a test as its supervisor, fusion and prepare, and strangers at its door."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import yaml
import zmq

from mdss.client import FrameSender
from mdss.journal import Journal
from mdss.settings import Settings, load_settings
from mdss.wire import camera
from mdss.wire.messages import Accepted, Heartbeat, Judged
from mdss.wire.model_plan import ModelPlan, PlanFile
from mdss.wire.sockets import Receiver, Sender
from tests.front_door import plan_of
from tests.parts import verdict

CONFIG: dict[str, Any] = {
    "station": {"state_directory": "state", "runtime_directory": "run"},
    "camera": {"endpoint": "ipc://run/frames.sock", "credit": 3, "deadline_ms": 600_000},
    "verdicts": {"endpoint": "ipc://run/verdicts.sock", "snapshot_endpoint": "ipc://run/snapshot.sock"},
    "models": {"recipes": ["gland"]},
}


class Line:
    """Starts and kills ingest, and is its supervisor, fusion and prepare."""

    program: tuple[str, ...] = ("-m", "daemon.ingest")

    def __init__(self, folder: Path, endpoint: str = "ipc://run/frames.sock", security: dict[str, str] | None = None) -> None:
        self.config = folder / "station.yaml"
        doors = {"camera": CONFIG["camera"] | {"endpoint": endpoint}, "security": security or {}}
        self.config.write_text(yaml.safe_dump(CONFIG | doors))
        self.settings: Settings = load_settings(self.config)
        self.context: zmq.Context[Any] = zmq.Context()
        self.health = Receiver(self.context, "health", self.settings)
        self.fusion = Receiver(self.context, "fusion", self.settings)
        self.prepare: Receiver | None = None
        self.to_ingest = Sender(self.context, "judged", self.settings)
        self.journal = Journal(folder / "state" / "journal.sqlite")
        self.plan(plan_of("gland"))
        self.process = self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for link in (self.health, self.fusion, self.prepare, self.to_ingest):
            if link is not None:
                link.close()
        self.journal.close()
        self.context.term()

    def plan(self, plan: ModelPlan) -> None:
        """Say, as the supervisor does, by which models parts are judged."""
        runtime = Path(self.settings.station.runtime_directory)
        runtime.mkdir(exist_ok=True)
        PlanFile(runtime).write(plan)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process and wait until it says that it runs."""
        self.process = subprocess.Popen([sys.executable, *self.program, "--config", str(self.config)])
        self.hear(lambda beat: beat.state == "running" and beat.pid == self.process.pid)
        return self.process

    def kill(self) -> None:
        """Let the process end without a word."""
        self.process.kill()
        self.process.wait()

    def hear(self, is_it: Callable[[Heartbeat], bool]) -> Heartbeat:
        """Wait for a heartbeat."""
        while True:
            beat = self.health.receive(100)
            if isinstance(beat, Heartbeat) and is_it(beat):
                return beat

    def open_prepare(self) -> None:
        """Let the next stage appear."""
        self.prepare = Receiver(self.context, "prepare", self.settings)

    def accepted(self, sender: FrameSender) -> Accepted:
        """Wait for the next part that fusion is told of."""
        while True:
            message = self.accepted_or_none(sender)
            if message is not None:
                return message

    def accepted_or_none(self, sender: FrameSender) -> Accepted | None:
        """Let the camera do its part, and return what fusion is told of meanwhile."""
        sender.attend(0.02)
        message = self.fusion.receive(0)
        assert message is None or isinstance(message, Accepted)
        return message

    def judge(self, accepted: Accepted) -> Judged:
        """Put a verdict into the journal."""
        stored = self.journal.judge(verdict(accepted))
        return Judged(result_id=stored.result_id, sequence=stored.sequence)


class Stranger:
    """A bare DEALER that says whatever it likes."""

    def __init__(self, line: Line) -> None:
        self.socket: zmq.Socket[bytes] = line.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(line.settings.camera.endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, frames: list[bytes]) -> camera.CameraMessage:
        """Send one multipart and return the answer."""
        self.socket.send_multipart(frames)
        return camera.parse(self.socket.recv_multipart())


def until(sender: FrameSender, is_reached: Callable[[], bool]) -> None:
    """Let a camera do its part until something holds."""
    while not is_reached():
        sender.attend(0.02)
