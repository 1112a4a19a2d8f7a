"""Verdicts that become alerts, and settings that name a Redis."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from mdss.settings import AlertSettings, Settings, StationSettings
from mdss.wire.messages import Accepted, FrameIdentity
from mdss.wire.verdict import BranchResult, Evidence, Region, ThresholdReference, Times, Verdict

PNG = b"\x89PNG\r\n\x1a\n\x00picture\xff"
PATIENCE_S = 20.0  # with a Redis on busy cores; a test that waits for none to answer has less


def settings(url: str, station: str = "line-1", **alerts: Any) -> Settings:
    """Return the settings of a station whose alerts go to this Redis."""
    return Settings(station=StationSettings(name=station), alerts=AlertSettings(redis_url=url, **({"timeout_s": PATIENCE_S} | alerts)))


def verdict(result_id: str, evidence: Path | None = None, **fields: Any) -> Verdict:
    """Return a verdict that is not OK; any field can be given another value."""
    region = Region(
        area_px=90, area_mm2=12.5, bbox_px=(3, 4, 9, 10), centroid_px=(7.0, 9.0), centroid_mm=(1.0, -2.5, 300.0), peak=8.0, branch="sdf"
    )
    values: dict[str, Any] = {
        "result_id": result_id, "boot_id": "boot", "sequence": 0, "station": "line-1", "source_id": "camera-1", "frame_sequence": 1,
        "frame_id": f"frame of {result_id}", "part_id": f"part of {result_id}", "job_id": "none", "recipe_id": "cap",
        "configuration_id": "c", "model": None, "evaluation": "NotOK", "code": None, "reasons": ("score 7.5 is above the threshold 3",),
        "is_partial": False, "is_simulated": False, "score": 7.5,
        "threshold": ThresholdReference(value=3.0, method="conformal", calibrated_at="2026-01-01T00:00:00Z"),
        "branches": {"sdf": BranchResult(score=7.5, model_version="0001")}, "regions": (region,), "invalid_point_ratio": 0.1,
        "deadline_missed": False, "attempt": 1, "times": Times(captured=1, received=2, rgb=3, sdf=4, fusion=5, published=6),
        "evidence": None if evidence is None else shown_by(evidence),
    }  # fmt: skip
    return Verdict(**values | fields)


def shown_by(picture: Path) -> Evidence:
    """Return how a verdict names a picture, which may be missing."""
    content = picture.read_bytes() if picture.exists() else b""
    return Evidence(uri=picture.resolve().as_uri(), sha256=hashlib.sha256(content).hexdigest())


def undefined(result_id: str, **fields: Any) -> Verdict:
    """Return the verdict of a part that could not be judged: no score, no regions, no picture."""
    nothing: dict[str, Any] = {"score": None, "threshold": None, "branches": {}, "regions": (), "invalid_point_ratio": None}
    return verdict(result_id, evaluation="Undefined", code="LATE", reasons=("no verdict within 5000 ms",), **nothing | fields)


def accepted(judged: Verdict) -> Accepted:
    """Return what ingest journaled before this verdict."""
    identity = FrameIdentity(
        source_id=judged.source_id,
        sequence=judged.frame_sequence,
        frame_id=judged.frame_id,
        part_id=judged.part_id,
        job_id=judged.job_id,
        recipe_id=judged.recipe_id,
        capture_time_ns=judged.times.captured,
    )
    return Accepted(result_id=judged.result_id, identity=identity, received_ns=judged.times.received, deadline_ns=10)
