"""What a station publishes: one verdict per part, and a heartbeat."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec

VERDICT_SCHEMA: Final = "mdss.verdict.v1"

Branch = Literal["rgb", "sdf"]
Evaluation = Literal["OK", "NotOK", "NotDecidable", "Undefined"]
UndefinedCode = Literal["LATE", "WORKER_LOST", "BAD_CLOUD", "POISON", "DRAINED", "LOST"]


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """One connected place on the part that is not as it should be, in pixels of the frame as recorded."""

    area_px: int
    area_mm2: float | None
    bbox_px: tuple[int, int, int, int]  # left, top, width, height
    centroid_px: tuple[float, float]  # x, y
    centroid_mm: tuple[float, float, float] | None  # None if no point was measured inside the region
    peak: float
    branch: Literal["rgb", "sdf", "both"]


class BranchResult(msgspec.Struct, frozen=True, kw_only=True):
    """One branch's result in a verdict."""

    score: float
    model_version: str


class ModelReference(msgspec.Struct, frozen=True, kw_only=True):
    """The model that judged."""

    name: str
    version: str
    digest: str
    generation: int


class ThresholdReference(msgspec.Struct, frozen=True, kw_only=True):
    """The threshold that the score was compared with."""

    value: float
    method: str
    calibrated_at: str


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """UTC ns of each stage's end, and of each branch's start; None where the part did not get there."""

    captured: int
    received: int
    prepared: int | None = None
    rgb_started: int | None = None
    rgb: int | None
    sdf_started: int | None = None
    sdf: int | None
    fusion: int
    published: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Where to find the picture of a part that is not OK."""

    uri: str
    sha256: str

    @property
    def path(self) -> Path:
        """The picture's file on the station's machine."""
        return Path(unquote(urlsplit(self.uri).path))


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One part's judgement, as published, journaled and stored: mdss.verdict.v1."""

    schema: Literal["mdss.verdict.v1"] = VERDICT_SCHEMA
    result_id: str
    boot_id: str
    sequence: int
    station: str
    source_id: str
    frame_sequence: int
    frame_id: str
    part_id: str
    job_id: str
    recipe_id: str
    configuration_id: str
    model: ModelReference | None
    evaluation: Evaluation
    code: UndefinedCode | None
    reasons: tuple[str, ...]
    is_partial: bool
    is_simulated: bool
    score: float | None
    threshold: ThresholdReference | None
    branches: dict[Branch, BranchResult]
    regions: tuple[Region, ...]
    invalid_point_ratio: float | None
    deadline_missed: bool
    attempt: int
    times: Times
    evidence: Evidence | None


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """Published once a second on `heartbeat/<station>`: tells a quiet line from a dead station, and reveals missed verdicts."""

    station: str
    boot_id: str
    sequence: int  # of the last verdict in the journal
    time_ns: int
