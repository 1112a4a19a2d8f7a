"""The gate: decides whether a candidate may become champion, and writes the reasons as numbers and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mdss.method import model_store
from mdss.method.calibration import now
from mdss.method.golden import read_golden
from mdss.method.model_store import ModelFolder
from mdss.whole_files import write_json
from trainer.gate_fitness import Fitness
from trainer.gate_quality import Quality
from trainer.gate_report import write_gate_report
from trainer.gate_scoring import ModelComparison, Pairs
from trainer.gate_terms import EvidencePart, GateCheck, GateEvidence, GateOutcome

GATES = "gates"  # beside the versions, which never change
JSON = "gate.json"


@dataclass(frozen=True)
class ComparedModels:
    """The two models, and the folder for the answer."""

    champion: ModelFolder | None
    candidate: ModelFolder
    folder: Path


def judge_candidate(store: Path, name: str, candidate: ModelFolder, evidence: GateEvidence, device: str) -> GateOutcome:
    """Compare a candidate with the recipe's champion; write gate.json and gate.html into `<store>/<recipe>/gates/<version>/`.

    Nothing is promoted. `device` is auto, cpu or cuda:N. Without a champion, or if the candidate is the champion, it is judged alone.
    """
    champion = model_store.champion_of(store, name)
    if champion and champion.version == candidate.version:
        champion = None
    return judge(ComparedModels(champion, candidate, candidate.path.parent / GATES / candidate.version), evidence, device)


def judge(sides: ComparedModels, evidence: GateEvidence, device: str) -> GateOutcome:
    """Score the evidence with both models, run every check, and write the answer."""
    comparison = ModelComparison(sides.champion, sides.candidate, device, evidence)
    pairs = comparison.score_all()
    champion = sides.champion.calibration if sides.champion else None
    quality = Quality(pairs, sides.candidate.calibration, evidence.limits, champion)
    fitness = Fitness(sides.champion, sides.candidate, pairs, evidence, device)
    outcome = outcome_of(sides, pairs, [*quality.checks(), *fitness.checks()])
    sides.folder.mkdir(parents=True, exist_ok=True)
    write_gate_report(sides.folder, outcome, comparison, pairs)
    write_json(sides.folder / JSON, outcome)
    return outcome


def outcome_of(sides: ComparedModels, pairs: Pairs, checks: Sequence[GateCheck]) -> GateOutcome:
    """Return the answer that follows from the checks; all have to pass."""
    kinds = [pair.kind for pair in pairs.all]
    return GateOutcome(
        recipe=sides.candidate.name,
        champion=sides.champion.version if sides.champion else None,
        candidate=sides.candidate.version,
        is_passed=all(check.is_passed for check in checks),
        reasons=tuple(f"{check.name}: {check.says}" for check in checks if not check.is_passed),
        checks=tuple(checks),
        parts={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        judged_at=now(),
        folder=str(sides.folder),
    )


def golden_parts(model: ModelFolder | None) -> list[EvidencePart]:
    """Return the golden scans of a model as evidence; none without a model."""
    scans = read_golden(model.path) if model else ()
    return [EvidencePart.of(scan.name, scan.rgb, scan.xyz_mm) for scan in scans]
