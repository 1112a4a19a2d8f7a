"""The front door without sockets: an intake with everything around it, and a camera's hand to feed it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np

from daemon.collection_queue import CollectionQueue
from daemon.held_parts import HeldPart
from daemon.intake import Intake, IntakeServices, Reply
from daemon.outbox import Outbox
from mdss.journal import Entry, JournalDamaged, JournalFailed
from mdss.settings import CameraSettings, ModelSettings, Settings
from mdss.wire import camera
from mdss.wire.camera import FrameHeader, Hello, Nack
from mdss.wire.headers import CloudFormat, ImageFormat
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Accepted, Judged
from mdss.wire.model_plan import ModelPlan, Served, model_key
from mdss.wire.verdict import Evaluation, UndefinedCode
from tests.fakes import FakeClock, FakeLink

SIDE = 64
CAMERA, OTHER = b"peer-1", b"peer-2"
RULES = Settings(camera=CameraSettings(credit=2, deadline_ms=2000, silence_s=10), models=ModelSettings(recipes=("gland", "cap")))


class Notebook:
    """A journal in memory that fails when told to."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], Entry] = {}
        self.trouble, self.asked = "", 0
        self.damaged: frozenset[str] = frozenset()  # frames of which the disk damaged what is known

    def accept(self, accepted: Accepted) -> None:
        self._fail()
        identity = accepted.identity
        self.entries[identity.source_id, identity.frame_id] = Entry(accepted.result_id, None, accepted.attempt, identity=identity)

    def find(self, source_id: str, frame_id: str) -> Entry | None:
        self._fail()
        if frame_id in self.damaged:
            raise JournalDamaged("journal j: database disk image is malformed")
        return self.entries.get((source_id, frame_id))

    def pending(self) -> list[Accepted]:
        return []

    def judge(self, frame_id: str, sequence: int, code: UndefinedCode | None = None) -> str:
        """Store a verdict and return its result id."""
        entry = self.entries["cam", frame_id]
        self.entries["cam", frame_id] = replace(entry, sequence=sequence, judged=word(entry.result_id, sequence, code))
        return entry.result_id

    def _fail(self) -> None:
        self.asked += 1
        if self.trouble:
            raise JournalFailed(self.trouble)


def word(result_id: str, sequence: int, code: UndefinedCode | None, evaluation: Evaluation = "OK") -> Judged:
    """Return what fusion says of a part that it has judged."""
    evaluation = evaluation if code is None else "Undefined"
    return Judged(result_id=result_id, sequence=sequence, evaluation=evaluation, code=code, reason="it broke two workers")


class Station:
    """An intake with everything around it, and a camera's hand to feed it."""

    def __init__(self, journal: Any = None, settings: Settings = RULES) -> None:
        self.clock, self.tally = FakeClock(), Tally()
        self.journal, self.outbox = journal or Notebook(), Outbox(self.clock)
        self.fusion, self.prepare = FakeLink(), FakeLink()
        self.kept: list[tuple[HeldPart, str]] = []
        self.collect, self.collection_queue = FakeLink(), CollectionQueue(settings.collection, self.tally)
        services = IntakeServices(self.journal, self.outbox, self.tally, "boot", self, self.collection_queue, self.clock, self.clock.utc_ns)  # type: ignore[arg-type]
        self.intake = Intake(settings, services)
        self.intake.follow(plan_of(*settings.models.recipes))

    @classmethod
    def introduced(cls, journal: Any = None) -> Self:
        """Return a station to which CAMERA has said HELLO."""
        made = cls(journal)
        made.introduce()
        return made

    def introduce(self) -> None:
        self.say(Hello(source_id="cam"))

    def say(self, message: camera.Header, peer: bytes = CAMERA) -> list[camera.Header]:
        return self.answers(peer, camera.compose(message))

    def send(self, frame_id: str = "f1", peer: bytes = CAMERA, **changes: Any) -> list[camera.Header]:
        return self.answers(peer, [bytes(part) for part in camera.compose_frame(header(frame_id, **changes), payloads())])

    def answers(self, peer: bytes, frames: list[bytes]) -> list[camera.Header]:
        replies = self.intake.take(peer, frames)
        assert all(reply.peer == peer for reply in replies)
        self.outbox.flush(self.fusion, self.prepare)
        return [reply.message for reply in replies]

    def judge(self, frame_id: str, sequence: int = 1, code: UndefinedCode | None = None) -> list[Reply]:
        return self.intake.note_verdicts([word(self.journal.judge(frame_id, sequence, code), sequence, code)])

    def keep(self, part: HeldPart, reason: str) -> None:
        """Stand in for the quarantine."""
        self.kept.append((part, reason))

    def count(self, name: str) -> float:
        return self.tally.counters.get(name, 0.0)


def plan_of(*recipes: str, version: str = "0001", revision: int = 1) -> ModelPlan:
    """Return a plan by which each recipe is judged by this version."""
    served = Served(version, int(version))
    return ModelPlan(revision=revision, serving=dict.fromkeys(recipes, served), held=tuple(model_key(name, version) for name in recipes))


def header(frame_id: str, **changes: Any) -> FrameHeader:
    fields: dict[str, Any] = {
        "source_id": "cam",
        "sequence": 1,
        "frame_id": frame_id,
        "part_id": "p",
        "recipe_id": "gland",
        "capture_time": 5,
    }
    fields |= {"rgb": ImageFormat(height=SIDE, width=SIDE), "xyz": CloudFormat(unit="mm")}
    return FrameHeader(**(fields | changes))


def payloads(points: np.ndarray[Any, Any] | None = None) -> list[bytes]:
    cloud = np.ones((SIDE, SIDE, 3), np.float32) if points is None else points
    return [bytes(SIDE * SIDE * 3), cloud.tobytes()]


def code_of(answers: list[camera.Header]) -> str:
    (nack,) = answers
    assert isinstance(nack, Nack), nack
    return nack.code
