"""The messages between the station's processes: immutable, with shapes and units of their fields."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mdss.wire.cloud import SensorCloud
from mdss.wire.model_plan import ModelReport
from mdss.wire.verdict import Branch, Evaluation, UndefinedCode, Verdict

NEVER_NS: Final = 2**63 - 1
MS_NS: Final = 10**6
ProcessState = Literal["starting", "running", "degraded", "draining", "stopped", "error"]


def stage_of(process: str) -> str:
    """Return the stage of a process, such as rgb for rgb-0."""
    return process.partition("-")[0]


class Message(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Base of every message between two processes of one station."""


class FrameIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent which part, as the camera named it; `capture_time_ns` is UTC."""

    source_id: str
    sequence: int
    frame_id: str
    part_id: str
    job_id: str
    recipe_id: str
    capture_time_ns: int
    is_simulated: bool = False


class Accepted(Message, frozen=True):
    """ingest -> fusion, before the frame itself: exactly one verdict must follow."""

    result_id: str
    identity: FrameIdentity
    received_ns: int  # UTC
    # monotonic clock (time.monotonic_ns), shared by all processes of a machine until it restarts
    deadline_ns: int
    deadline_ms: int = 0  # the same deadline, counted from the frame's arrival
    attempt: int = 1
    model_version: str = ""  # the only model that may judge the part; empty in records of earlier releases
    generation: int = 1

    @property
    def arrived_ns(self) -> int:
        """When its frame arrived, by the monotonic clock."""
        return self.deadline_ns - self.deadline_ms * MS_NS

    def left_ns(self, now_ns: int) -> int:
        """Return the ns that the part may still take; at most `deadline_ms`, because the monotonic clock restarts with the machine."""
        return max(0, min(self.deadline_ns - now_ns, self.deadline_ms * MS_NS))


class Task(Message, frozen=True, kw_only=True):
    """What a stage is to do with one part, using one model."""

    result_id: str
    recipe_id: str
    model_version: str
    deadline_ns: int = NEVER_NS  # monotonic; results after this are of no use
    received_ns: int = 0  # as in Accepted: names the scan; 0 if it is not known which


class Frame(Task, frozen=True, kw_only=True):
    """ingest -> prepare: one scan; `wanted` are the branches that have not scored it."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    xyz: SensorCloud
    wanted: tuple[Branch, ...] = ("rgb", "sdf")


class ColourTask(Task, frozen=True, kw_only=True):
    """prepare -> rgb: the resized image and its foreground."""

    rgb: NDArray[np.uint8]  # (S, S, 3)
    mask: NDArray[np.bool_]  # (S, S) dilated foreground
    height: int  # of the frame as recorded, px
    width: int


class ShapeTask(Task, frozen=True, kw_only=True):
    """prepare -> sdf: the resized cloud without the table."""

    xyz: NDArray[np.float32]  # (S, S, 3) millimetres, NaN where there is no foreground point
    height: int  # of the frame as recorded, px
    width: int


class PreparedPart(Message, frozen=True):
    """prepare -> fusion: what regions and evidence are drawn from."""

    result_id: str
    model_version: str  # the model whose recipe it was prepared with
    rgb: NDArray[np.uint8]  # (S, S, 3)
    xyz: NDArray[np.float32]  # (S, S, 3) millimetres, NaN where there is no foreground point
    mask: NDArray[np.bool_]  # (S, S) dilated foreground
    height: int  # of the frame as recorded, px
    width: int
    invalid_point_ratio: float
    finished_ns: int
    received_ns: int = 0  # of the scan


class BranchScore(Message, frozen=True):
    """rgb or sdf -> fusion: one branch's map of one part, and the map's maximum before any alignment."""

    result_id: str
    branch: Branch
    model_version: str
    score: float
    map: NDArray[np.float32]  # (S, S)
    started_ns: int
    finished_ns: int
    received_ns: int = 0  # of the scan


class Ended(Message, frozen=True):
    """supervisor -> fusion: a process ended unasked; what it had is lost."""

    process: str
    reason: str
    result_id: str = ""  # the part that it had in hand, which may be the cause
    deaths: tuple[str, ...] = ()  # how processes ended that had this part in hand, this one last
    is_last: bool = False  # no process of its stage is left, and none will be started


class Resend(Message, frozen=True):
    """fusion -> ingest: what these branches had of a part is lost; send its frame once more."""

    result_id: str
    attempt: int
    wanted: tuple[Branch, ...]


class Fault(Message, frozen=True):
    """Any stage -> fusion: this part cannot be judged, and why."""

    result_id: str
    code: UndefinedCode
    reason: str
    model_version: str = ""  # the model the stage used; empty if that does not matter
    received_ns: int = 0  # of the scan; 0 if that does not matter


class Judged(Message, frozen=True):
    """fusion -> ingest: the verdict is in the journal; the frame may be forgotten, or kept for inspection or retraining."""

    result_id: str
    sequence: int
    evaluation: Evaluation = "Undefined"
    code: UndefinedCode | None = None
    reason: str = ""
    score: float | None = None
    threshold: float | None = None
    model_version: str = ""
    judged_ns: int = 0  # UTC
    is_late: bool = False  # at its deadline only one branch had scored it, and that decided nothing

    @classmethod
    def of(cls, verdict: Verdict) -> Judged:
        """Return what ingest needs from a verdict."""
        return cls(
            result_id=verdict.result_id,
            sequence=verdict.sequence,
            evaluation=verdict.evaluation,
            code=verdict.code,
            reason="; ".join(verdict.reasons),
            score=verdict.score,
            threshold=None if verdict.threshold is None else verdict.threshold.value,
            model_version="" if verdict.model is None else verdict.model.version,
            judged_ns=verdict.times.published,
            is_late=verdict.is_partial and verdict.deadline_missed and verdict.evaluation == "NotDecidable",
        )


class JudgedScan(Message, frozen=True):
    """ingest -> collect: a scan to keep, with the verdict on its part."""

    identity: FrameIdentity
    judged: Judged
    rgb: NDArray[np.uint8]  # (H, W, 3)
    xyz: SensorCloud


class Heartbeat(Message, frozen=True):
    """Every process -> supervisor, once a second: `steps` grows whenever the process gets something done."""

    process: str
    pid: int
    state: ProcessState
    reason: str
    steps: int
    waiting: int
    counters: dict[str, float]  # metric name with labels, as in Prometheus's format -> value since the start
    timings: dict[str, list[float]]  # metric name with labels -> observations (seconds or ratios) since the last heartbeat
    models: ModelReport = ModelReport()
