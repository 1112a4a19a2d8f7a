"""Damaged messages between the station's processes, and damaged questions of subscribers, fed to the codec and to the snapshot port."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
import numpy as np

from bench.fuzzing.mutations import mutated, mutated_json, shuffled
from bench.fuzzing.promises import LONGEST_SENTENCE, Input, Target, check, check_sentence
from mdss.errors import MdssError
from mdss.wire import codec, snapshot
from mdss.wire.cloud import Invalid, SensorCloud
from mdss.wire.messages import (
    Accepted,
    BranchScore,
    Ended,
    Fault,
    Frame,
    FrameIdentity,
    Heartbeat,
    Judged,
    JudgedScan,
    Message,
    PreparedPart,
    Resend,
    ShapeTask,
)
from mdss.wire.verdict import Verdict

_IDENTITY = FrameIdentity(source_id="cam", sequence=4, frame_id="f", part_id="p", job_id="j", recipe_id="r", capture_time_ns=5)
_POINTS, _MASK, _COLOUR = np.zeros((4, 4, 3), np.float32), np.ones((4, 4), np.bool_), np.zeros((4, 4, 3), np.uint8)
_CLOUD = SensorCloud(given=_POINTS, confidence=_POINTS[..., 0].copy(), unit="m", invalid=Invalid(kind="confidence"))
MESSAGES: tuple[Message, ...] = (
    Accepted(result_id="r", identity=_IDENTITY, received_ns=6, deadline_ns=7),
    Frame(result_id="r", recipe_id="a", model_version="0001", rgb=_COLOUR, xyz=_CLOUD),
    ShapeTask(result_id="r", recipe_id="a", model_version="0001", xyz=_POINTS, height=4, width=4),
    PreparedPart(
        result_id="r", model_version="1", rgb=_COLOUR, xyz=_POINTS, mask=_MASK, height=4, width=4, invalid_point_ratio=0.1, finished_ns=1
    ),
    BranchScore(result_id="r", branch="rgb", model_version="1", score=1.0, map=_POINTS[..., 0].copy(), started_ns=1, finished_ns=2),
    Fault(result_id="r", code="BAD_CLOUD", reason="empty"),
    Judged(result_id="r", sequence=3),
    JudgedScan(identity=_IDENTITY, judged=Judged(result_id="r", sequence=3), rgb=_COLOUR, xyz=_CLOUD),
    Ended(process="rgb-0", reason="killed", result_id="r", deaths=("rgb-0 killed",)),
    Resend(result_id="r", attempt=2, wanted=("rgb",)),
    Heartbeat(process="rgb", pid=1, state="running", reason="", steps=2, waiting=0, counters={"a": 1.0}, timings={"b": [0.5]}),
)
ENCODED = tuple([bytes(part) for part in codec.encode(message)] for message in MESSAGES)
_TASK = {"result_id": "r", "recipe_id": "a", "model_version": "1", "height": 4, "width": 4}
PLACES = tuple(
    codec.VERSION + msgspec.msgpack.encode({"type": "ShapeTask", **_TASK, "xyz": [index, dtype, shape]})
    for index in (0, 1, -1, 2**63)
    for dtype in ("<f4", ">f4", "|O", "<U9")
    for shape in ([0], [], [0, 2**63 - 1], [2**40, 0], [-1], [2**32, 2**32], [0] * 65, [1] * 65, [2**62, 4], [True], [4, 4, 3])
)


def link_message(random: Random) -> Input:
    """Return one damaged message between two processes."""
    frames = list(random.choice(ENCODED))
    way = random.random()
    if way < 0.1:
        frames[0] = random.choice(PLACES)
        frames[1:] = [random.choice((b"", b"1234", bytes(192)))] * random.randint(0, 2)
    elif way < 0.75:
        frames[0] = mutated(frames[0], random, random.choice(ENCODED)[0])
    else:
        frames = shuffled(frames, random, random.choice(ENCODED))
    return [frames]


def feed_codec(messages: Input) -> bool:
    """Decode one message, and encode the result again; return whether it was accepted."""
    try:
        codec.encode(codec.decode(messages[0]))
    except codec.DecodeError as error:
        check_sentence(error)
        return False
    return True


class EmptyJournal:
    """A journal without verdicts."""

    def since(self, sequence: int, limit: int) -> Sequence[Verdict]:
        """Return no verdicts."""
        return ()

    def last_sequence(self) -> int:
        """Return the sequence before the first."""
        return 0


QUESTION = {"since": 3, "limit": 5}
REPLY = msgspec.json.encode(snapshot.SnapshotReply(boot_id="b", since=3, last_sequence=9, verdicts=()))


def question(random: Random) -> Input:
    """Return a damaged question and a damaged reply."""
    asked = mutated_json(QUESTION, random) if random.random() < 0.6 else mutated(msgspec.json.encode(QUESTION), random)
    replied = mutated_json(msgspec.json.decode(REPLY), random) if random.random() < 0.6 else mutated(REPLY, random)
    return [[asked, replied]]


def feed_snapshot(messages: Input) -> bool:
    """Answer the question, and read the reply; return whether the question was accepted."""
    asked, replied = messages[0]
    answer = snapshot.answer(asked, EmptyJournal(), "boot")
    check(len(answer) < 2 * LONGEST_SENTENCE, "an answer is short, whatever was asked")
    is_answered = not msgspec.json.decode(answer, type=snapshot.SnapshotReply).error
    try:
        snapshot.read_reply(replied)
    except MdssError as error:
        str(error).encode()
    return is_answered


CODEC = Target(link_message, feed_codec, share=0.16)
SNAPSHOT = Target(question, feed_snapshot, share=0.05)
