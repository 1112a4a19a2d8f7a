"""Decides on one joined part and writes its verdict; without side effects, so that tests can replay any history."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from mdss.errors import written_out
from mdss.method import fusion
from mdss.method.grid import Grid
from mdss.method.model_store import ModelFolder
from mdss.method.station_rules import InView, decide, incomplete_reason, missing_points_reason, unusual_gaps_reason
from mdss.settings import FusionSettings
from mdss.wire.messages import PreparedPart
from mdss.wire.model_plan import model_key
from mdss.wire.verdict import (
    Branch,
    BranchResult,
    Evaluation,
    Evidence,
    ModelReference,
    Region,
    ThresholdReference,
    Times,
    UndefinedCode,
    Verdict,
)
from workers.part_join import JoinedPart


@dataclass(frozen=True)
class Judgement:
    """The decision on one part, and the map that its evidence is drawn from."""

    evaluation: Evaluation
    reasons: tuple[str, ...] = ()
    code: UndefinedCode | None = None
    score: float | None = None
    heat: NDArray[np.float32] | None = None  # (S, S), in deviations of good parts
    regions: tuple[Region, ...] = ()
    is_partial: bool = False


@dataclass(frozen=True)
class VerdictOrigin:
    """The fields of a verdict that say where it comes from; the same for all verdicts of a process."""

    station: str
    boot_id: str
    configuration_id: str


@dataclass(frozen=True)
class JudgedPart:
    """One part with everything that its verdict contains."""

    part: JoinedPart
    judgement: Judgement
    model: ModelFolder | None
    evidence: Evidence | None = None
    is_late: bool = False


class Judge:
    """Holds the loaded models by key and the station's rules."""

    def __init__(self, models: Mapping[str, ModelFolder], rules: FusionSettings) -> None:
        self._models, self._rules = models, rules

    def with_rules(self, rules: FusionSettings) -> Judge:
        """Return a judge with the same models and other rules."""
        return Judge(self._models, rules)

    def model_of(self, part: JoinedPart) -> ModelFolder | None:
        """Return the model that judges this part, None if it is not loaded."""
        return self._models.get(model_key(part.accepted.identity.recipe_id, part.accepted.model_version))

    def judge(self, part: JoinedPart) -> Judgement:
        """Decide on one part: by the fused score, by one branch if only that one is there, or not at all (Undefined, NotDecidable)."""
        model = self.model_of(part)
        is_alone = part.code in ("LATE", "WORKER_LOST") and len(part.scores) == 1
        if part.code is not None and (not is_alone or part.prepared is None or model is None):
            return Judgement("Undefined", (part.reason,), part.code, is_partial=len(part.scores) == 1)
        if model is None or part.prepared is None:
            return Judgement(
                "Undefined", (f"model {model_key(part.accepted.identity.recipe_id, part.accepted.model_version)} is not loaded",), "LOST"
            )
        others = {part.prepared.model_version, *(score.model_version for score in part.scores.values())} - {model.version}
        if others:
            return Judgement("NotDecidable", (f"scored by model {', '.join(sorted(others))}, but the threshold is of {model.version}",))
        if is_alone:
            return self._judge_one_branch(part, part.prepared, model)
        return self._judge_both(part, part.prepared, model)

    def _judge_both(self, part: JoinedPart, prepared: PreparedPart, model: ModelFolder) -> Judgement:
        fused = fusion.fuse(part.scores["rgb"].map, part.scores["sdf"].map, model.calibration)
        score = float(fused.score)
        if not math.isfinite(score):
            return Judgement("NotDecidable", (f"the score is {score}; expected a finite number",))
        seen = in_view(prepared)
        evaluation, reason = decide(score, seen, model.calibration, self._rules)
        if evaluation == "OK":
            return Judgement("OK", score=score, heat=fused.map)
        found = fusion.regions(fused, prepared.xyz, seen.grid, model.calibration)
        regions = tuple(Region(**asdict(region)) for region in found)
        reasons = stated(reason, unusual_gaps_reason(seen, model.calibration, self._rules))
        return Judgement(evaluation, reasons, score=score, heat=fused.map, regions=regions)

    def _judge_one_branch(self, part: JoinedPart, prepared: PreparedPart, model: ModelFolder) -> Judgement:
        """Compare the only branch's peak with the map level of good parts; NotDecidable if fusion.degraded_policy or a rule says so."""
        (branch, score), *_ = part.scores.items()
        statistics = model.calibration.rgb if branch == "rgb" else model.calibration.sdf
        heat = statistics.aligned(score.map)
        alone = f"{part.reason}; only {branch} has judged"
        peak, level = float(heat.max()), model.calibration.map_level
        if not math.isfinite(peak):
            return Judgement("NotDecidable", (f"{alone}: its peak is {peak}; expected a finite number",), is_partial=True)
        seen = in_view(prepared)
        too_little = missing_points_reason(seen, self._rules)
        if too_little or self._rules.degraded_policy == "reject":
            return Judgement("NotDecidable", stated(alone, too_little), heat=heat, is_partial=True)
        gaps = unusual_gaps_reason(seen, model.calibration, self._rules)
        evaluation: Evaluation = "OK" if peak <= level else "NotOK"
        if evaluation == "OK" and (missing := incomplete_reason(seen, model.calibration, self._rules)):
            return Judgement("NotDecidable", stated(alone, missing, gaps), heat=heat, is_partial=True)
        compared = f"{'not ' if evaluation == 'OK' else ''}above {written_out(level, 3)}"
        reason = f"{alone}: its peak of {written_out(peak, 3)} deviations is {compared}"
        return Judgement(evaluation, stated(reason, gaps), heat=heat, is_partial=True)


def stated(*reasons: str) -> tuple[str, ...]:
    """Return the reasons that hold, without those that are ""."""
    return tuple(filter(None, reasons))


def in_view(prepared: PreparedPart) -> InView:
    """Return what the station's rules need to know about a part, from the data that `prepare` sent."""
    return InView(prepared.mask, Grid(prepared.height, prepared.width, prepared.rgb.shape[0]), prepared.invalid_point_ratio)


def verdict_of(settled: JudgedPart, origin: VerdictOrigin, now_ns: int) -> Verdict:
    """Return the verdict as it goes to the journal, which assigns its sequence."""
    part, judgement, model = settled.part, settled.judgement, settled.model
    accepted, identity = part.accepted, part.accepted.identity
    return Verdict(
        result_id=accepted.result_id,
        boot_id=origin.boot_id,
        sequence=0,
        station=origin.station,
        source_id=identity.source_id,
        frame_sequence=identity.sequence,
        frame_id=identity.frame_id,
        part_id=identity.part_id,
        job_id=identity.job_id,
        recipe_id=identity.recipe_id,
        configuration_id=origin.configuration_id,
        model=reference(model, accepted.generation),
        evaluation=judgement.evaluation,
        code=judgement.code,
        reasons=judgement.reasons,
        is_partial=judgement.is_partial,
        is_simulated=identity.is_simulated,
        score=judgement.score,
        threshold=threshold(model),
        branches=branch_results(part),
        regions=judgement.regions,
        invalid_point_ratio=part.prepared.invalid_point_ratio if part.prepared else None,
        deadline_missed=settled.is_late or part.code in ("LATE", "LOST"),
        attempt=accepted.attempt,
        times=times(part, now_ns),
        evidence=settled.evidence,
    )


def branch_results(part: JoinedPart) -> dict[Branch, BranchResult]:
    """Return each branch's result; a score that is not finite is left out, because JSON has no such number."""
    found = {name: score for name, score in part.scores.items() if math.isfinite(score.score)}
    return {name: BranchResult(score=score.score, model_version=score.model_version) for name, score in found.items()}


def reference(model: ModelFolder | None, generation: int) -> ModelReference | None:
    """Return the verdict's reference to its model."""
    if model is None:
        return None
    return ModelReference(name=model.name, version=model.version, digest=model.digest, generation=generation)


def threshold(model: ModelFolder | None) -> ThresholdReference | None:
    """Return the verdict's reference to its threshold."""
    if model is None:
        return None
    limit = model.calibration.threshold
    return ThresholdReference(value=limit.value, method=limit.method, calibrated_at=model.calibration.calibrated_at)


def times(part: JoinedPart, now_ns: int) -> Times:
    """Return when each stage finished with the part, and when the branches started."""
    starts, ends = ({name: getattr(score, end) for name, score in part.scores.items()} for end in ("started_ns", "finished_ns"))
    accepted = part.accepted
    return Times(
        captured=accepted.identity.capture_time_ns,
        received=accepted.received_ns,
        prepared=part.prepared.finished_ns if part.prepared else None,
        rgb_started=starts.get("rgb"),
        rgb=ends.get("rgb"),
        sdf_started=starts.get("sdf"),
        sdf=ends.get("sdf"),
        fusion=now_ns,
        published=now_ns,
    )
