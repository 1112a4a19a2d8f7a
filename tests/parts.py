"""Messages of one small part, and the model that judges it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from mdss.method.calibration import Calibration, Statistics, Threshold
from mdss.method.recipe import FusionSettings
from mdss.method.reference import Reference
from mdss.wire.messages import Accepted, BranchScore, FrameIdentity, Message, PreparedPart
from mdss.wire.verdict import Branch, Evaluation, Times, Verdict

SIZE_PX = 32
THRESHOLD = 2.0


def accepted(name: str, deadline_ns: int, attempt: int = 1, version: str = "0001") -> Accepted:
    """Return what ingest says of a part."""
    identity = FrameIdentity(source_id="cam", sequence=4, frame_id=name, part_id="p", job_id="j", recipe_id="cap", capture_time_ns=5)
    return Accepted(
        result_id=name,
        identity=identity,
        received_ns=6,
        deadline_ns=deadline_ns,
        deadline_ms=5000,
        attempt=attempt,
        model_version=version,
        generation=int(version),
    )


def verdict(part: Accepted, evaluation: Evaluation = "OK", published_ns: int = 7) -> Verdict:
    """Return a verdict on a part, as fusion gives it to the journal."""
    identity = part.identity
    return Verdict(
        result_id=part.result_id, boot_id="b", sequence=0, station="s", source_id=identity.source_id, frame_sequence=identity.sequence,
        frame_id=identity.frame_id, part_id=identity.part_id, job_id=identity.job_id, recipe_id=identity.recipe_id, configuration_id="k",
        model=None, evaluation=evaluation, code=None, reasons=(), is_partial=False, is_simulated=False, score=1.0, threshold=None,
        branches={}, regions=(), invalid_point_ratio=0.1, deadline_missed=False, attempt=part.attempt, evidence=None,
        times=Times(captured=5, received=part.received_ns, rgb=None, sdf=None, fusion=published_ns, published=published_ns),
    )  # fmt: skip


def prepared(name: str, invalid_point_ratio: float = 0.1, version: str = "0001") -> PreparedPart:
    """Return what prepare says of a part."""
    return PreparedPart(
        result_id=name,
        model_version=version,
        rgb=np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8),
        xyz=np.zeros((SIZE_PX, SIZE_PX, 3), np.float32),
        mask=np.ones((SIZE_PX, SIZE_PX), np.bool_),
        height=64,
        width=64,
        invalid_point_ratio=invalid_point_ratio,
        finished_ns=1,
    )


def score(branch: Branch, name: str, peak: float = 1.0, version: str = "0001") -> BranchScore:
    """Return what a branch says of a part: a map with one hot place."""
    found = np.zeros((SIZE_PX, SIZE_PX), np.float32)
    found[4:9, 5:12] = peak
    return BranchScore(result_id=name, branch=branch, model_version=version, score=peak, map=found, started_ns=6, finished_ns=7)


def joined_messages(name: str, deadline_ns: int) -> list[Message]:
    """Return everything that the stages say of one part."""
    return [accepted(name, deadline_ns), prepared(name), score("rgb", name), score("sdf", name)]


def model() -> Any:
    """Return what fusion needs of a model folder."""
    return SimpleNamespace(name="cap", version="0001", digest="ab", calibration=calibration())


def calibration(**changes: Any) -> Calibration:
    """Return a calibration whose smallest good part fills the grid, with these changes."""
    given = Calibration(
        rgb=Statistics(0.0, 1.0),
        sdf=Statistics(0.0, 1.0),
        threshold=Threshold(value=THRESHOLD, method="conformal", asked_false_reject_rate=0.05, stated_false_reject_rate=0.05, parts=30),
        map_level=3.0,
        fusion=FusionSettings(),
        calibrated_at="2026-01-01T00:00:00Z",
        validation_scores=(),
        reference=Reference(rgb=(0.5, 4.0), sdf=(8.0, 2.0), brightness=(), valid_point_ratio=(), distance_mm=()),
        smallest_part_px=SIZE_PX**2,
    )
    return msgspec.structs.replace(given, **changes)
