"""Verb `mdss evaluate`: measures a recipe's champion on test scans of known kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mdss.errors import MdssError, some_of
from mdss.whole_files import write_json
from trainer.champion import Champion
from trainer.dataset import GOOD, MOST_NAMED, TRUTH, Dataset, Unit
from trainer.evaluation import SCORE_KINDS, Evaluation, evaluation_of
from trainer.report_page import cell
from trainer.scoring import ScoredPart, score_dataset

EXAMPLE = "Example: mdss evaluate --data data/cable_gland --recipe cable_gland --store models --json evaluation.json --report report"
COLUMNS = ("i_auroc", "p_auroc", "aupro_30", "aupro_10", "aupro_05", "aupro_01")


@click.command(epilog=EXAMPLE)
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Dataset with test/KIND/{rgb,xyz,gt} and train/good.")
@click.option("--recipe", required=True, help="Whose champion to measure.")
@click.option("--store", required=True, type=click.Path(path_type=Path), help="The model store.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write every figure to this file.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option("--report", type=click.Path(path_type=Path, file_okay=False), help="Write report.html into this folder.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
def command(**options: Any) -> None:
    """Measure a model on parts of known kind, by the same scores as the station's.

    The JSON has all figures, per branch and per kind of defect, at the resolution of the scans. A scan without a part in view is named,
    is in no metric, and counts as rejected in the threshold's rates. These rates are the threshold's alone: what a station leaves
    undecided by its own settings (missing points, guard band) is not in them. Where the pixels of all scans have more than a GiB, they lie
    in a temporary file, 4 bytes each, in the folder that TMPDIR names: let that be on a disk, as a tmpfs lies in memory. The exit code is
    1 if no scan could be judged.
    """
    if evaluate(Request(**options)).timing.parts_per_s is None:
        raise MdssError("no scan could be judged: the reasons are above, and the figures say nothing of the model")


@dataclass(frozen=True)
class Request:
    """Which model to measure on which scans, and where to write the result."""

    data: Path
    recipe: str
    store: Path
    json_path: Path | None = None
    unit: Unit = "m"
    report: Path | None = None
    device: str = "auto"


def evaluate(request: Request) -> Evaluation:
    """Score the test scans, print the table, and write the JSON and the report that are asked for."""
    dataset = Dataset.open(request.data, request.unit, needs=("test",))
    for sentence in unmeasured_sentences(dataset):
        click.echo(f"evaluate: {sentence}", err=True)
    for folder in filter(None, (request.report, request.json_path and request.json_path.parent)):
        folder.mkdir(parents=True, exist_ok=True)
    champion = Champion.load(request.store, request.recipe, request.device)
    scored = score_dataset(dataset, champion)
    for sentence in empty_mask_sentences(scored.parts):
        click.echo(f"evaluate: {sentence}", err=True)
    evaluation = evaluation_of(scored, champion)
    click.echo(table(evaluation))  # first, so that a failed write does not lose minutes of scoring
    if request.json_path:
        write_json(request.json_path, evaluation)
    if request.report:
        from trainer.report import write_report  # imported here, because only this needs matplotlib

        click.echo(f"report: {write_report(request.report, evaluation, scored, dataset)}")
    return evaluation


def unmeasured_sentences(dataset: Dataset) -> list[str]:
    """Return a sentence on each thing that the scans lack, and on the figures that it costs; an empty list if they have all."""
    test, kinds = dataset.root / "test", sorted({scan.kind for scan in dataset.test})
    defects = [kind for kind in kinds if kind != GOOD]
    sentences = []
    if GOOD not in kinds:
        lost = "without good parts there is no image AUROC and no false-reject rate"
        sentences.append(f"{test}: found {some_of(kinds, MOST_NAMED)}, expected {GOOD} as well: {lost}")
    if not defects:
        sentences.append(f"{test}: found {GOOD} alone, expected each kind of defect as well: without one only false rejects are measured")
    if defects and not dataset.has_truth:
        sentences.append(f"{test / defects[0] / TRUTH}: found no masks there or for another kind; without them pixel metrics are empty")
    if not dataset.train:
        lost = "without them no score is matched in brightness"
        sentences.append(f"{dataset.root / 'train' / GOOD}: found no scans, expected those to train on as well: {lost}")
    return sentences


def empty_mask_sentences(parts: Sequence[ScoredPart]) -> list[str]:
    """Return a sentence on the masks of defective parts in which nothing is marked; an empty list if there are none."""
    masks = {part.scan.truth_path: part.truth for part in parts if part.scan.truth_path and not part.scan.is_good}
    empty = [path for path, truth in masks.items() if not truth.any()]
    if not empty:
        return []
    expected = "expected the pixels of the defect: pixel metrics count all of such a part as good"
    return [f"{len(empty)} of {len(masks)} masks of defective parts mark no pixel, for example {empty[0]}; {expected}"]


def table(evaluation: Evaluation) -> str:
    """Return the lines that a terminal shows."""
    lines = [f"{'':<26}" + "".join(f"{name:>10}" for name in COLUMNS)]
    lines += [f"{branch:<26}" + "".join(f"{cell(getattr(evaluation.of(branch), name)):>10}" for name in COLUMNS) for branch in SCORE_KINDS]
    found = evaluation.baseline_object_brightness
    lines.append(
        f"{'object brightness alone':<26}{cell(found.i_auroc):>10}"
        + (f"  (defective parts are {found.direction})" if found.direction else "")
    )
    limit = evaluation.threshold
    asked, rejected, recalled = limit.in_percent
    wanted = f"asked {asked}" if limit.stated_false_reject_rate is None else f"asked {asked}, stated {limit.stated}"
    lines.append(f"threshold {limit.value:.4g}: good parts rejected {rejected} ({wanted}), defective parts found {recalled}")
    lines += filter(None, [limit.gap])
    lines += [f"{part_id}: not judged: {reason}" for part_id, reason in evaluation.counts.undefined.items()]
    rate = evaluation.timing.parts_per_s
    return "\n".join([*lines, *([f"{rate:.2f} parts/s in one process"] if rate else [])])
