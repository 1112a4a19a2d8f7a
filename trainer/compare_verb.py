"""Verb `mdss model compare`: the gate by hand, on a folder of scans or on a station's collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mdss import whole_files
from mdss.collection import CollectedScan
from mdss.errors import BadInput, ModelRefused
from mdss.method import model_store
from mdss.method.model_store import CHAMPION, ModelFolder
from mdss.settings import load_settings
from trainer.dataset import Dataset, Unit
from trainer.gate_terms import COLUMNS, EvidencePart, GateEvidence, GateOutcome, Serving
from trainer.gathering import Gathered, calibrated_by, collection_at, gather, parts_new_to
from trainer.model_changes import recipe_option, show_table, store_option

EXAMPLE = "Example: mdss model compare --store models --recipe cable_gland --version 0007 --data data/cable_gland"
BY_HAND = "by-hand"  # subfolder, so that the gate's own answer stays
HELD_BACK = 1
MOST_PARTS = 200  # collected good parts, the newest ones


@click.command("compare", epilog=EXAMPLE)
@store_option
@recipe_option
@click.option("--version", required=True, help="The candidate, such as 0007.")
@click.option("--against", default=CHAMPION, show_default=True, help="What it has to be as good as: champion, previous or a version.")
@click.option("--data", type=click.Path(path_type=Path), help="Dataset with test/good and, for known defects, test/KIND.")
@click.option("--collected", type=click.Path(path_type=Path, file_okay=False), help="What a station collected: its folder `collected`.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The station's settings, by which it leaves parts undecided; the defaults when left out.",
)
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs of --data hold.")
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), help="Where gate.html goes; beside the gate's own when left out."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer for a program.")
def compare(*, as_json: bool, **options: Any) -> int:
    """Compare one version with another as the gate does; exit code 0 if it passes, 1 if it is held back.

    The scans of --data must not be those that a version was trained on. From --collected such parts are left out, and so are simulated
    ones. Nothing is promoted.
    """
    try:
        outcome = run_gate(Comparison(**options))
    except (ModelRefused, OSError) as error:  # exit code 1 is reserved for a judgement
        raise BadInput(str(error)) from error
    if as_json:
        click.echo(whole_files.as_json(outcome), nl=False)
    else:
        show(outcome)
    return 0 if outcome.is_passed else HELD_BACK


@dataclass(frozen=True)
class Comparison:
    """Which versions to compare, on which parts."""

    store: Path
    recipe: str
    version: str
    against: str = CHAMPION
    data: Path | None = None
    collected: Path | None = None
    config: Path | None = None
    unit: Unit = "m"
    report: Path | None = None
    device: str = "auto"


def run_gate(comparison: Comparison) -> GateOutcome:
    """Run the gate. BadInput if a version is not in the store, or if the parts are not named by exactly one option."""
    if (comparison.data is None) is (comparison.collected is None):
        raise BadInput("--data, --collected: expected one of them, for the parts that both models judge")
    candidate, champion = (open_named(comparison, name) for name in (comparison.version, comparison.against))
    from trainer.gate import GATES, ComparedModels, judge  # imported here, so that `--help` does not wait for torch

    report = comparison.report or candidate.path.parent / GATES / candidate.version / BY_HAND
    return judge(ComparedModels(champion, candidate, report), evidence_of(comparison, champion, candidate), comparison.device)


def open_named(asked: Comparison, name: str) -> ModelFolder:
    """Return the model that is named by its version or by a link."""
    folder = model_store.recipe_folder(asked.store, asked.recipe)
    linked = model_store.linked_version(folder, name) if name in model_store.LINKS else None
    return model_store.open_stored(asked.store, asked.recipe, linked or name)


def evidence_of(asked: Comparison, champion: ModelFolder, candidate: ModelFolder) -> GateEvidence:
    """Return the parts to judge: a dataset's test scans or a collection's good parts and defects, and the champion's golden scans."""
    from trainer.gate import golden_parts

    found = gather(collection_at(asked.collected), asked.recipe) if asked.collected else None
    good, defects = from_collection(found, (champion, candidate)) if found else from_dataset(asked)
    golden = [part for part in golden_parts(champion) if found is None or part.part_id not in found.bad]
    serving = Serving.at(load_settings(asked.config)) if asked.config else Serving()
    return GateEvidence(good=good, defects=defects, golden=golden, serving=serving)


def from_dataset(asked: Comparison) -> tuple[list[EvidencePart], list[EvidencePart]]:
    """Return the good and the defective test scans."""
    dataset = Dataset.open(asked.data or Path(), asked.unit, needs=("test",))
    sides = ([scan for scan in dataset.test if scan.is_good is is_good] for is_good in (True, False))
    good, defects = ([EvidencePart.in_dataset(scan.part_id, dataset, scan) for scan in side] for side in sides)
    return good, defects


def from_collection(found: Gathered, models: Sequence[ModelFolder]) -> tuple[list[EvidencePart], list[EvidencePart]]:
    """Return the newest good parts (marked so, or accepted and unreviewed) that are new to both models, and all confirmed defects.

    A part is new if neither model was made from it, judged by it, or has its threshold from it. Simulated parts are left out.
    """
    unknown: Sequence[CollectedScan] = found.good
    for model in models:
        unknown = parts_new_to(model, unknown, found.kept, calibrated_by(model))
    newest = sorted(unknown, key=lambda each: each.part.judged_ns, reverse=True)[:MOST_PARTS]
    return as_evidence(newest), as_evidence(found.defects)


def as_evidence(parts: Sequence[CollectedScan]) -> list[EvidencePart]:
    """Return collected parts as evidence."""
    return [EvidencePart(each.part.part_id or each.part.result_id, each.read) for each in parts]


def show(outcome: GateOutcome) -> None:
    """Print the checks as a table, the answer, and the path of the page."""
    show_table(COLUMNS, [dict(zip(COLUMNS, check.row, strict=True)) for check in outcome.checks])
    against = f"{outcome.recipe} {outcome.candidate} against {outcome.champion}"
    click.echo(f"{against}: {'passed' if outcome.is_passed else 'held back'}")
    click.echo(f"report: {outcome.report_path}")
