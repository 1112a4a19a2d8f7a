"""Compares a retrained model with the champion, on parts that it has not learned from."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mdss import audit
from mdss.good_parts import Standing
from mdss.method import model_store
from mdss.method.model_store import ModelFolder
from mdss.part_names import Named
from trainer.dataset import Dataset
from trainer.gate_terms import EvidencePart, GateEvidence, GateOutcome, Serving
from trainer.gathering import Gathered, calibrated_by, gather, made_from, seen_in
from trainer.retrain_order import RetrainOrder
from trainer.retrain_plan import Plan, PlannedPart, Use, base_set, collected_set, scan_of
from trainer.retrain_planning import defects_since

MOST_JUDGED = 100  # recent good parts: each is scored six times


def run_gate(order: RetrainOrder, plan: Plan, model: ModelFolder) -> GateOutcome:
    """Return the gate's answer on a model; its report is written beside the versions."""
    from trainer.gate import judge_candidate  # imported here, so that `--help` does not wait for torch

    return judge_candidate(order.store, order.name, model, evidence_of(order, plan), order.device)


def evidence_of(order: RetrainOrder, plan: Plan) -> GateEvidence:
    """Return the parts to judge by: recent good ones kept from the training, confirmed defects, and the champion's golden scans.

    Parts that the champion learned from, or has its threshold from, would flatter it. If too few others were collected, curated good test
    scans stand in, because nothing was learned from them either; only if these are too few as well, such parts do.
    """
    from trainer.gate import golden_parts

    kept = gather(order.collection, order.name)
    plan = with_current_labels(plan, kept.standings)
    champion = model_store.champion_of(order.store, order.name)
    collected, base = collected_set(order.work, plan), base_set(plan)
    fresh, seen, defects = (
        [part_of(order, collected, part) for part in sorted(parts, key=lambda part: -part.judged_ns)]
        for parts in (*split_new_and_seen(plan, champion, kept), plan.of("defect"))
    )
    stand_in = [EvidencePart.in_dataset(f"{scan.split}/{scan.part_id}", base, scan) for scan in base.test if scan.is_good] if base else []
    good = fresh[:MOST_JUDGED]
    for reserve in (stand_in, seen):
        good += reserve[: max(0, order.limits.fewest_good - len(good))]
    return GateEvidence(
        good=good,
        defects=defects,
        golden=[part for part in golden_parts(champion) if part.part_id not in kept.bad],
        limits=order.limits,
        serving=Serving.at(order.settings),
    )


def with_current_labels(plan: Plan, standings: Mapping[str, Standing]) -> Plan:
    """Return the plan with its parts for the gate as people call them by now; parts that are neither good nor defects any more drop out."""

    def use(part: PlannedPart) -> Use | None:
        standing = standings.get(part.result_id)  # None: pruned from the collection
        if part.use == "gate" and standing in ("defect", "contested"):
            return "defect" if standing == "defect" else None
        return None if part.use == "defect" and standing == "good" else part.use

    parts = [msgspec.structs.replace(part, use=now) for part in plan.parts if (now := use(part))]
    return msgspec.structs.replace(plan, parts=tuple(parts))


def recheck_labels(order: RetrainOrder, plan: Plan, outcome: GateOutcome) -> GateOutcome:
    """Return the gate's answer; a model is held back if a part that it learned from has been called a defect since."""
    spoilt = defects_since(order, plan)
    if not spoilt:
        return outcome
    why = f"it has learned from {', '.join(spoilt)}, called a defect meanwhile; the next run begins anew"
    return msgspec.structs.replace(outcome, is_passed=False, reasons=(*outcome.reasons, why))


def split_new_and_seen(plan: Plan, champion: ModelFolder | None, gathered: Gathered) -> tuple[list[PlannedPart], list[PlannedPart]]:
    """Return the good parts for the gate in two lists: new to the champion, and those it was made from or calibrated on, in any scan.

    The plan names one scan of a part alone, so other scans of it are looked for in the whole collection. The second list is empty as long
    as the shares stay the same and nobody has calibrated the champion; with other shares, a part may have changed sides.
    """
    seen = made_from(champion) | calibrated_by(champion) if champion else frozenset()
    scans: dict[str, Named] = {each.part.result_id: each.part for each in gathered.kept} | {each.result_id: each for each in plan.parts}
    is_seen, parts = seen_in(seen, scans.values()), plan.of("gate")
    return [part for part in parts if not is_seen(part)], [part for part in parts if is_seen(part)]


def part_of(order: RetrainOrder, collected: Dataset, part: PlannedPart) -> EvidencePart:
    """Return a collected part as evidence."""
    return EvidencePart.in_dataset(part.part_id or part.result_id, collected, scan_of(order.work, part))


def record_held_back(order: RetrainOrder, outcome: GateOutcome) -> str:
    """Note in the audit that a model is held back, and return the sentence about it."""
    folder, reasons = model_store.recipe_folder(order.store, order.name), "; ".join(outcome.reasons)
    with model_store.recipe_lock(folder, f"holding {outcome.candidate} back"):
        audit.record(folder, "hold back", (outcome.champion, outcome.candidate), reasons)
    return f"{outcome.candidate} is held back: {reasons} (see {outcome.report_path})"
