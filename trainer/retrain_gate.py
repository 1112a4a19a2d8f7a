"""Holds a retrained model against the champion, on parts that it has not learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdss import audit
from mdss.method import model_store
from trainer.dataset import Dataset
from trainer.gate_terms import EvidencePart, GateEvidence, Serving
from trainer.retrain_order import RetrainOrder
from trainer.retrain_plan import Plan, PlannedPart, base_set, collected_set, scan_of
from trainer.retrain_planning import champion_of

if TYPE_CHECKING:
    from mdss.method.model_store import ModelFolder
    from trainer.gate_terms import GateOutcome

MOST_JUDGED = 100  # recent good parts: each is scored six times


def judged(order: RetrainOrder, plan: Plan, model: ModelFolder) -> GateOutcome:
    """Return what the gate says of a model; its report lies beside the versions."""
    from trainer.gate import judge_candidate  # here, for `--help` must not wait for torch

    return judge_candidate(order.store, order.name, model, evidence_of(order, plan), order.device)


def evidence_of(order: RetrainOrder, plan: Plan) -> GateEvidence:
    """Return the parts to judge by: recent good ones that were kept from the training, confirmed defects, the champion's golden scans.

    Where too few good parts were collected, good test scans of the curated ones stand in: nothing was learned from them either.
    """
    from trainer.gate import golden_parts

    collected, base = collected_set(order.work, plan), base_set(plan)
    newest_first = {use: sorted(plan.of(use), key=lambda part: -part.judged_ns) for use in ("gate", "defect")}
    good, defects = ([part_of(order, collected, part) for part in parts] for parts in newest_first.values())
    lacking = max(0, order.limits.fewest_good - len(good))
    stand_in = [EvidencePart.in_dataset(f"{scan.split}/{scan.part_id}", base, scan) for scan in base.test if scan.is_good] if base else []
    return GateEvidence(
        good=[*good[:MOST_JUDGED], *stand_in[:lacking]],
        defects=defects,
        golden=golden_parts(champion_of(order)),
        limits=order.limits,
        serving=Serving(threads=order.settings.branches.rgb.threads),
    )


def part_of(order: RetrainOrder, collected: Dataset, part: PlannedPart) -> EvidencePart:
    """Return a collected part as evidence."""
    return EvidencePart.in_dataset(part.part_id or part.result_id, collected, scan_of(order.work, part))


def held_back(order: RetrainOrder, outcome: GateOutcome) -> str:
    """Note that a model was held back, and return the sentence about it."""
    folder, reasons = model_store.recipe_folder(order.store, order.name), "; ".join(outcome.reasons)
    with model_store.locked(folder, f"holding {outcome.candidate} back"):
        audit.record(folder, "hold back", (outcome.champion, outcome.candidate), reasons)
    return f"{outcome.candidate} is held back: {reasons} (see {outcome.report_path})"
