"""Decides what a retraining learns from: is anything new, which parts are fit, and are they enough."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from mdss import audit
from mdss.collection import CollectedScan
from mdss.errors import ModelRefused
from mdss.method import model_store
from mdss.method.calibration import MIN_PARTS, more_needed, now
from mdss.method.model_store import ModelFolder
from mdss.method.presets import preset, with_assignments
from mdss.method.recipe import Recipe
from trainer.champion import Champion
from trainer.data_checks import OVERRULED, Code, Refused, in_words
from trainer.dataset import GOOD, Dataset
from trainer.examination import Examiner, PartExamination, measure_curated, measure_golden
from trainer.gathering import (
    LEFT_OUT,
    Gathered,
    base_of,
    calibrated_by,
    curated_folder,
    gather,
    is_made_from,
    learned_by,
    made_from,
    require_start,
    sides_among,
)
from trainer.retrain_order import RetrainOrder
from trainer.retrain_outcome import RetrainEnded
from trainer.retrain_plan import PLAN, Plan, assign_uses, discard, last_refusals, link_parts
from trainer.train import MIN_TRAINING_PARTS, check_usable, with_absolute_paths

DEFAULT_PRESET = "edge"


def recipe_of(order: RetrainOrder, champion: ModelFolder | None) -> Recipe:
    """Return the settings to train with: the champion's or a preset's, with the assignments that were asked for."""
    begun = champion.recipe if champion and order.preset is None else preset(order.preset or DEFAULT_PRESET)
    return with_absolute_paths(with_assignments(begun, order.assignments))


def check_order(order: RetrainOrder) -> None:
    """Refuse a recipe that has nothing to begin with, and settings that do not exist.

    Other faults, such as a damaged champion, are left to the attempt: they are no slip of the person who asks.
    """
    with suppress(ModelRefused):
        champion = model_store.champion_of(order.store, order.name)
        recipe_of(order, champion)
        if champion is None and not (order.work / PLAN).exists():  # an interrupted run has its plan
            require_start(champion, base_of(champion, order.data, order.unit), order.name, order.store)


def relevant_models(order: RetrainOrder, champion: ModelFolder | None) -> list[ModelFolder]:
    """Return the champion, the candidate, and the newest version that was trained here, which may be held back.

    The version that the champion was calibrated from is the same training, and not another one. A damaged one has learned nothing.
    """
    folder = model_store.recipe_folder(order.store, order.name)
    imported = frozenset(event.after for event in audit.events(folder) if event.what == "import")
    models = {each.version: each for each in (champion, newest_trained(folder, imported)) if each}
    candidate = model_store.linked_version(folder, model_store.CANDIDATE)
    if candidate and candidate not in models:
        with suppress(ModelRefused):
            models[candidate] = model_store.open_version(folder / candidate)
    same_training = lineage(champion, imported)[1:] if champion else []
    return [model for version, model in models.items() if version not in same_training]


def lineage(model: ModelFolder, imported: frozenset[str]) -> list[str]:
    """Return a model's version, and those that it was calibrated from here, as far as they are still there."""
    versions, card = [model.version], model.card
    with suppress(ModelRefused):
        while card.derived_from and versions[-1] not in imported:
            versions.append(card.derived_from)
            card = model_store.open_version(model.path.parent / card.derived_from).card
    return versions


def newest_trained(folder: Path, imported: frozenset[str]) -> ModelFolder | None:
    """Return the newest version that was trained here: one that was imported, or calibrated from another, tells of no training."""
    for path in reversed(model_store.versions(folder)):
        with suppress(ModelRefused):
            if path.name not in imported and not (model := model_store.open_version(path)).card.derived_from:
                return model
    return None


def is_undecided(model: ModelFolder) -> bool:
    """Return whether neither the gate nor a person has decided on a version: no link names it, and no change has led to it."""
    folder = model.path.parent
    linked = {model_store.linked_version(folder, link) for link in model_store.LINKS}
    return model.version not in linked | {event.after for event in audit.events(folder)}


def plan_of(order: RetrainOrder, recipe: Recipe, champion: ModelFolder | None) -> Plan:
    """Return a new plan, with its scans in the work folder. RetrainEnded if there is nothing new."""
    curated = base_of(champion, order.data, order.unit)
    require_start(champion, curated, order.name, order.store)
    if curated is None and (folder := curated_folder(champion)):
        lost = f"the champion's curated scans are not at {folder}, or this user may not read them"
        click.echo(f"retrain: {lost}: learning from collected parts alone; --data names another folder", err=True)
    gathered = gather(order.collection, order.name, with_simulated=order.amounts.with_simulated)
    stored = relevant_models(order, champion)
    left_out = frozenset(str(name) for model in stored for name in model.card.data.get(LEFT_OUT, ()))
    spoilt = curated_defects(curated, gathered, left_out)
    base = curated and curated.without([each.result_id for each in spoilt])
    untainted = [model for model in stored if not gathered.bad & (made_from(model) | calibrated_by(model))]
    is_base_new = base is not None and not any(is_made_from(base, model) for model in untainted)
    learned = learned_by(untainted)
    if not is_base_new:
        undecided = next((each.version for each in stored if is_undecided(each)), "")
        require_new_parts(order, gathered, learned, champion.version if champion else "", undecided)
    check_usable(recipe, order.device)
    discard(order.work)
    examined = examine_parts(order, recipe, champion, base, gathered)
    side_of = sides_among((each.part for each in gathered.kept), base, order.amounts.shares)
    good, defects = link_parts(examined.accepted, order.work), link_parts(gathered.defects, order.work)
    return Plan(
        recipe=recipe,
        champion=champion.version if champion else "",
        base=str(base.root.resolve()) if base else None,
        base_unit=base.unit if base else "m",
        base_train=base.relative_names(base.train) if base else (),
        base_validation=base.relative_names(base.validation) if base else (),
        base_left_out=tuple(each.result_id for each in spoilt),
        base_digest=base.digest if base else "",
        is_base_new=is_base_new,
        parts=assign_uses(good, defects, learned, side_of),
        refused=(*spoilt, *contested_refusals(gathered, spoilt), *examined.refused),
        unreviewed=gathered.unreviewed,
        with_simulated=order.amounts.with_simulated,
        max_invalid_ratio=order.max_invalid_ratio,
        made_at=now(),
    )


def curated_defects(base: Dataset | None, gathered: Gathered, left_out: frozenset[str]) -> list[Refused]:
    """Return the curated scans that a person has called defects since `mdss collection export` wrote them as good.

    Scans that a model was made without stay left out when the station has pruned them, and with them what was said of them.
    """
    names = {scan.name for scan in (*base.train, *base.validation)} if base else set()
    kept = {each.part.result_id: each.part.part_id for each in gathered.kept}
    why = "it is a curated scan, and since then somebody has called it, or another scan of the part, a defect"
    return [Refused(name, kept.get(name, ""), "defect", why) for name in sorted(names & (gathered.bad | (left_out - kept.keys())))]


def contested_refusals(gathered: Gathered, spoilt: Sequence[Refused]) -> list[Refused]:
    """Return the parts whose other scan is a defect, or whose review is lost, except curated scans that are refused already."""
    named = {each.result_id for each in spoilt}
    other, lost = "somebody has called another scan of the part a defect", "its review cannot be read any more"
    parts = [each for each in gathered.contested if each.part.result_id not in named]
    whys = (f"{lost if each.is_review_lost else other}; expected it to be marked as good" for each in parts)
    return [Refused(each.part.result_id, each.part.part_id, "defect", why) for each, why in zip(parts, whys, strict=True)]


def defects_since(order: RetrainOrder, plan: Plan) -> list[str]:
    """Return the ids of what the plan learns from, curated or collected, that a person has called a defect since the plan was made."""
    curated = {Path(name).stem for name in (*plan.base_train, *plan.base_validation)}
    return sorted(gather(order.collection, order.name).bad & {*curated, *(part.result_id for part in plan.learned)})


def require_new_parts(order: RetrainOrder, gathered: Gathered, learned: frozenset[str], champion: str, undecided: str = "") -> None:
    """End if fewer new good parts were collected than a training is worth.

    Parts that the last plan refused are not new, unless a person, another champion or a setting may have overruled the reason since. Nor
    are parts beyond the budget, which are the oldest. A version that is `undecided` may have learned from all that was collected.
    """
    refused = {each.result_id: each.code for each in last_refusals(order.last_plan, champion, order.max_invalid_ratio)}
    open_again = [part for part in gathered.good if may_be_learned(part, refused.get(part.part.result_id))]
    new = sum(part.part.result_id not in learned for part in open_again[: order.amounts.budget])
    if new < order.amounts.least_new:
        waiting = f"; {gathered.unreviewed} that were not accepted wait for a person to review them" if gathered.unreviewed else ""
        played = f"; {gathered.simulated} simulated ones are left out (--with-simulated)" if gathered.simulated else ""
        expected = f"expected at least {order.amounts.least_new} (--least-new)"
        compare = f"`mdss model compare --version {undecided}` holds it against the champion"
        unjudged = f"; {undecided} was trained and never judged: {compare}" if undecided else ""
        raise RetrainEnded("nothing_new", f"found {new} new good parts, {expected}{waiting}{played}{unjudged}")


def may_be_learned(part: CollectedScan, refused_as: Code | None) -> bool:
    """Return whether a part is worth another look: it was not refused, or a person has overruled the reason."""
    return refused_as is None or (refused_as in OVERRULED and part.label == GOOD)


def examine_parts(
    order: RetrainOrder, recipe: Recipe, champion: ModelFolder | None, base: Dataset | None, gathered: Gathered
) -> PartExamination:
    """Return the parts that are fit to learn from, and the refused ones."""
    settings = recipe.point_cloud
    judge = Champion.of(champion, order.device) if champion else None
    known = measure_curated(base, settings) if base else []
    golden = measure_golden(champion) if champion and not base else []
    curated = [scan.name for scan in (*base.train, *base.validation)] if base else []
    examiner = Examiner(known, judge, settings, curated, golden)
    examiner.add_defects(gathered.defects)
    return examiner.examine(gathered.good, order.amounts.budget, order.max_invalid_ratio)


def require_enough(order: RetrainOrder, plan: Plan) -> None:
    """End if too little is left to learn from, and say by how much; the scans that were linked for it are removed."""
    lacking = [] if plan.is_base_new else shortage("new good parts", plan.new, order.amounts.least_new)
    lacking += shortage("parts to train on", len(plan.base_train) + len(plan.of("train")), MIN_TRAINING_PARTS)
    lacking += shortage("parts to set the threshold from", len(plan.base_validation) + len(plan.of("validation")), MIN_PARTS)
    if lacking:
        discard(order.work)  # nobody would continue with them, and the station needs the room
        why = in_words(plan.refused) or "none"
        raise RetrainEnded("refused_data", f"{'; '.join(lacking)}. Refused: {why}; {order.last_plan} has the reason for each")


def shortage(what: str, found: int, expected: int) -> list[str]:
    """Return a sentence on a number that is too small; an empty list if it is not."""
    return [f"found {found} {what}, expected at least {expected}: {more_needed(expected - found)}"] if found < expected else []
