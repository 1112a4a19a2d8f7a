"""The plan of an unfinished training: what it is made from, whether it may be gone on with, and what is lost where it is not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
import msgspec

from mdss.errors import UNREADABLE, BadInput
from mdss.method.recipe import Recipe
from mdss.whole_files import write_whole

WORK = ".training"  # beside the versions: plan and checkpoints of an unfinished training
PLAN = "plan.json"
CHECKPOINT = ".checkpoint"  # suffix of what a branch has learned so far


class TrainingPlan(msgspec.Struct, frozen=True):
    """What an unfinished training is made from; resuming it with anything else would mix two models."""

    recipe: Recipe
    unit: str
    scans: tuple[str, ...]
    digest: str = ""  # of the scans' file names and sizes (`Dataset.digest`); plans of earlier releases have none


def prepare_work_folder(work: Path, plan: TrainingPlan, resume: bool) -> None:
    """Prepare the folder of checkpoints: keep it to resume the same plan, or clear it to begin anew."""
    path = work / PLAN
    begun = plan_in(path)
    if resume and path.exists():
        if what := difference(begun, plan):
            had = f"the interrupted training had other settings or scans ({what})"
            raise BadInput(f"{path}: {had}; expected the same, or no --resume to begin anew")
        return
    if resume:
        click.echo(f"train: found no unfinished training in {work}, starting a new one", err=True)
    elif has_learned(work):  # one that was refused for its scans, or stopped as it read them, has not
        click.echo(f"train: the unfinished training in {work} is discarded{what_is_lost(work, begun, plan)}", err=True)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_whole(path, msgspec.json.encode(plan))


def has_learned(work: Path) -> bool:
    """Return whether anything was learned yet in the unfinished training of this folder."""
    return any(work.glob(f"*{CHECKPOINT}"))


def stop_sentence(work: Path) -> str:
    """Return the sentence for a person who interrupts the training in this folder: what is kept of it."""
    if has_learned(work):
        return "train: stopped; what was learned is kept, the same command with --resume goes on from there"
    return "train: stopped before anything was learned; the same command begins anew"


def what_is_lost(work: Path, begun: TrainingPlan | None, plan: TrainingPlan) -> str:
    """Return the end of the sentence on a training that is discarded: how far it had come, and what `--resume` would have done."""
    from trainer.branch_training import how_far

    if begun is None:
        return "; its plan cannot be read, so --resume could not have gone on"
    came = f" ({how_far(work, begun.recipe)})"
    if what := difference(begun, plan):
        return f"{came}; it had other settings or scans ({what}), with which --resume would have gone on"
    return f"{came}; --resume would have gone on from it"


def difference(begun: TrainingPlan | None, plan: TrainingPlan) -> str:
    """Return how the plan of a training that was begun differs from this one; "" if it is the same.

    A setting that an earlier release did not write has its default, which is how that release trained.
    """
    if begun is None:
        return "it cannot be read"
    then, now = ({**settings_of(each.recipe), "unit": each.unit} for each in (begun, plan))
    for name, value in then.items():
        if value != now[name]:
            return f"{name} was {value}, is {now[name]}"
    is_same = begun.scans == plan.scans and begun.digest in ("", plan.digest)
    return "" if is_same else "the scans are different"


def plan_in(path: Path) -> TrainingPlan | None:
    """Return the plan in a file; None where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainingPlan)
    except (OSError, *UNREADABLE):
        return None


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Return every setting by the name that `--set` uses, such as rgb.steps."""
    tree = msgspec.to_builtins(recipe)
    inner = {f"{section}.{name}": value for section, found in tree.items() if isinstance(found, dict) for name, value in found.items()}
    return {name: value for name, value in tree.items() if not isinstance(value, dict)} | inner
