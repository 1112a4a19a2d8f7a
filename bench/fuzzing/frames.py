"""Damaged messages of cameras, fed to the parser, to the reader of scans, and to a fresh front door."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec
import numpy as np

from bench.fuzzing.mutations import mutated, mutated_json, shuffled
from bench.fuzzing.promises import LONGEST_SENTENCE, Input, Target, check, check_sentence
from daemon.collection_queue import CollectionQueue
from daemon.intake import Intake, IntakeServices
from daemon.outbox import Outbox
from daemon.quarantine import Quarantine
from mdss.journal import Entry
from mdss.settings import CameraSettings, Settings
from mdss.wire import camera
from mdss.wire.camera import Ack, Eos, FrameHeader, FrameMessage, Hello, Nack, Ping, WireRefusal
from mdss.wire.cloud import Invalid, SensorCloud
from mdss.wire.crc32c import crc32c
from mdss.wire.headers import CloudFormat, ImageFormat
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Accepted
from mdss.wire.model_plan import ModelPlan, Served
from mdss.wire.scan import FrameLimits, to_scan

SIDE = 64
PEER = b"peer"
RULES = Settings(camera=CameraSettings(credit=2))
LIMITS = FrameLimits()


class MemoryJournal:
    """A journal in memory."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], Entry] = {}

    def accept(self, accepted: Accepted) -> None:
        """Note that a verdict will follow."""
        identity = accepted.identity
        self.entries[identity.source_id, identity.frame_id] = Entry(accepted.result_id, None, accepted.attempt, identity=identity)

    def find(self, source_id: str, frame_id: str) -> Entry | None:
        """Return what is known of a frame."""
        return self.entries.get((source_id, frame_id))

    def pending(self) -> list[Accepted]:
        """Return nothing, because each input meets a new station."""
        return []


def frame(random: Random) -> list[bytes]:
    """Return a valid FRAME of one of the kinds that cameras send."""
    kind: Literal["nan", "value", "confidence"] = random.choice(("nan", "nan", "value", "confidence"))
    payloads = [random.choice(COLOURS), random.choice(CLOUDS), *([random.choice(CONFIDENCES)] if kind == "confidence" else [])]
    header = FrameHeader(
        source_id="cam",
        sequence=random.randrange(9),
        frame_id=f"f{random.randrange(3)}",
        part_id="p",
        recipe_id="part",
        capture_time=5,
        deadline_ms=random.choice((None, 2000)),
        rgb=ImageFormat(height=SIDE, width=SIDE),
        xyz=CloudFormat(unit=random.choice(("mm", "m")), invalid=Invalid(kind=kind, value=random.choice((0.0, 1e39, -1.0)))),
        crc32c=checksum(*payloads) if random.random() < 0.005 else None,
    )
    return [bytes(part) for part in camera.compose_frame(header, payloads)]


@cache
def checksum(*payloads: bytes) -> int:
    """Return the checksum for a header."""
    return crc32c(payloads)


def message(random: Random) -> list[bytes]:
    """Return any valid message of a camera; most are FRAMEs."""
    if random.random() < 0.8:
        return frame(random)
    return camera.compose(random.choice((Hello(source_id="cam"), Hello(source_id="other"), Ping(source_id="cam"), Eos(source_id="cam"))))


def camera_messages(random: Random) -> Input:
    """Return one to three messages, at least one of them damaged; most begin with HELLO."""
    messages = [damaged_message(random)]
    while random.random() < 0.15:
        messages.append(random.choice((messages[0], message(random), damaged_message(random))))
    if len(messages) > 1:
        random.shuffle(messages)
    return [camera.compose(Hello(source_id="cam")), *messages] if random.random() < 0.9 else messages


def damaged_message(random: Random) -> list[bytes]:
    """Return a message with a damaged header, damaged payloads or damaged frames."""
    frames = message(random)
    way = random.random()
    if way < 0.4:
        frames[2] = mutated_json(msgspec.json.decode(frames[2]), random)
    elif way < 0.65:
        at = random.randrange(3)
        frames[at] = mutated(frames[at], random, frames[2])
    elif way < 0.85 and len(frames) > 3:
        at = random.randrange(3, len(frames))
        frames[at] = random.choice((*CLOUDS, *COLOURS, b"", frames[at][:-1], frames[at] + b"\x00", mutated(frames[at], random, frames[3])))
    else:
        frames = shuffled(frames, random, message(random))
    return frames


def feed_frames(messages: Input) -> bool:
    """Parse each message, make a scan of it, and let a fresh front door take all of them; return whether all were accepted."""
    journal = MemoryJournal()
    intake = front_door(journal)
    is_taken = True
    for frames in messages:
        is_read = False
        try:
            parsed = camera.parse(frames)
            if isinstance(parsed, FrameMessage):
                check_scan(parsed.header, *to_scan(parsed.header, parsed.payloads, LIMITS))
            is_read = True
        except WireRefusal as refusal:
            is_taken = False
            check_sentence(refusal)
        held = {entry.result_id for entry in journal.entries.values()}
        for reply in intake.take(PEER, frames):
            check(reply.peer == PEER, "an answer goes to whom it answers")
            answer = reply.message
            check(sum(map(len, camera.compose(answer))) < 2 * LONGEST_SENTENCE, "an answer is short, whatever was sent")
            is_known = isinstance(answer, Ack) and answer.result_id in held  # of a frame that comes again, only the name is read
            check(isinstance(answer, Nack) or is_read or is_known, "what cannot be read is refused")
            if isinstance(answer, Ack):
                check(
                    any(each.result_id == answer.result_id for each in journal.entries.values()),
                    "what is acknowledged is in the journal",
                )
    check(len(journal.entries) <= RULES.camera.credit, "no more is held than credit allows")
    return is_taken


def front_door(journal: MemoryJournal) -> Intake:
    """Return an intake with only a journal in memory around it."""
    tally = Tally()
    intake = Intake(
        RULES,
        IntakeServices(
            journal, Outbox(time.monotonic), tally, "boot", Quarantine(Path("quarantine")), CollectionQueue(RULES.collection, tally)
        ),
    )
    intake.follow(ModelPlan(serving={"part": Served("0001", 1)}))
    return intake


def check_scan(header: FrameHeader, rgb: Any, xyz: SensorCloud) -> None:
    """Raise BrokenPromise unless the scan is one grid of colours, and of points that are measured or wholly missing."""
    points = xyz[:]
    check(rgb.dtype == np.uint8 and points.dtype == np.float32, "a scan has the types it promises")
    check(rgb.shape == xyz.shape == points.shape == (header.rgb.height, header.rgb.width, 3), "a scan has the size that its header says")
    measured = np.isfinite(points).sum(axis=2, dtype=np.uint8)
    check(bool(np.isin(measured, (0, 3)).all()) and not np.isinf(points).any(), "a point is three numbers or three NaN")


def cloud(values: Any) -> bytes:
    """Return the payload of a cloud that repeats a value, or holds the numbers of an array."""
    return np.broadcast_to(np.asarray(values, "<f4"), (SIDE, SIDE, 3)).tobytes()


_NOISE = np.random.default_rng(1)
COLOURS = (bytes(SIDE * SIDE * 3), _NOISE.bytes(SIDE * SIDE * 3))
CLOUDS = (
    cloud(1.0), cloud(np.nan), cloud(np.inf), cloud(-np.inf), cloud(0.0), cloud(3.4e38), cloud(1e-45),
    cloud([1, np.nan, 2]), cloud([np.inf, 0, -np.inf]),
    cloud(_NOISE.normal(size=(SIDE, SIDE, 3))), _NOISE.bytes(SIDE * SIDE * 12),
)  # fmt: skip
CONFIDENCES = (np.ones(SIDE * SIDE, "<f4").tobytes(), np.full(SIDE * SIDE, np.nan, "<f4").tobytes(), _NOISE.bytes(SIDE * SIDE * 4))

FRAMES = Target(camera_messages, feed_frames, share=0.75)
