"""The ablation that the paper does not print: every open point changed alone, over several seeds, and other rules of fusion.

Networks and figures are kept, so that an interrupted run goes on where it stopped. They are kept by settings and scans, not by code:
after a change of the method, take another folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np

from bench.ablation_figures import Bench, Figures
from bench.ablation_rows import BASE, chosen_rows, rows_text
from bench.command_line import main_of
from bench.fusion_rules import PAPER, RULES, Rule, reach
from bench.judged_parts import JudgedOn
from mdss.errors import BadInput
from mdss.method.calibration import MIN_PARTS
from mdss.method.metrics import image_auroc
from mdss.method.presets import preset, with_assignments
from mdss.method.teacher import load_teacher
from mdss.method.torch_device import device_of
from mdss.whole_files import write_whole
from trainer.dataset import Dataset, Unit

EXAMPLE = "Example: python -m bench.ablation --data data/cable_gland --unit m --work out/ablation --rows d-fixed,rgb-blur-0 --seeds 0,1,2"
BRANCHES = ("rgb", "sdf", "fused")
SHOWN = ("i_auroc", "aupro_30")
HEADS = ("image AUROC", "AU-PRO 30 %")


def split_words(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    """Return the words between commas."""
    return tuple(filter(None, (word.strip() for word in text.split(","))))


def split_numbers(context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Return the whole numbers between commas."""
    found = split_words(context, option, text)
    if not found or not all(word.isdecimal() for word in found):
        raise click.BadParameter(f"found {text!r}, expected whole numbers such as 0,1,2")
    return tuple(int(word) for word in found)


def show_rows(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    """Print the rows and exit, whatever else is given."""
    if is_asked:
        click.echo(rows_text())
        context.exit()


@dataclass(frozen=True)
class Request:
    """Which rows to measure on which scans, and where to keep the results."""

    data: Path
    work: Path
    unit: Unit = "m"
    rows: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    assignments: tuple[str, ...] = ()
    device: str = "auto"
    judged_on: JudgedOn = "test"


@click.command(epilog=EXAMPLE)
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Dataset with train, validation and test.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option("--work", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where networks and figures are kept.")
@click.option(
    "--rows", default="", callback=split_words, metavar="NAME,...", help="Rows to measure; all where none is named. The base always is."
)
@click.option("--teacher", "teachers", multiple=True, help="One more row with this teacher, a path or a shipped name; may be repeated.")
@click.option("--seeds", default="0,1,2", show_default=True, callback=split_numbers, metavar="N,...", help="Seeds to train each row with.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.FIELD=VALUE", help="Change the base of all rows; may be repeated.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
@click.option(
    "--on",
    "judged_on",
    type=click.Choice(get_args(JudgedOn)),
    default="test",
    show_default=True,
    help="What is judged: test scans, or validation scans and copies of them, with drawn defects, or with a piece moved in the image "
    "or in image and cloud.",
)
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write the tables to this file.")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=show_rows, help="Show the rows and what they answer.")
def command(**options: Any) -> None:
    """Change one setting of the preset `edge` at a time, and measure what that does to each branch and to both together.

    Unless --on is test, the test scans have no say in what is chosen, and need not exist. Only the branch that a row changes is
    trained again, and none if the row changes only how parts are scored. The same command continues an interrupted run. Networks and
    figures are kept by settings and scans: after a change of the code take another --work.
    """
    markdown = options.pop("markdown")
    request = Request(**options)
    text = table(ablate(request))
    click.echo(text)  # first, so that a failed write does not lose it
    if markdown is not None:
        write_whole(markdown, f"{text}\n".encode())


def ablate(request: Request) -> dict[str, list[Figures]]:
    """Return each row's figures, one entry per seed; the base is the first row."""
    rows = chosen_rows(request.rows, request.teachers)
    recipes = {
        (row.name, seed): with_assignments(preset("edge", seed), (*request.assignments, *row.assignments))
        for seed in request.seeds
        for row in rows
    }
    for teacher in sorted({recipe.rgb.teacher for recipe in recipes.values()}):
        load_teacher(teacher)  # refuses a bad teacher before hours of training
    bench = Bench(open_dataset(request), request.work, device_of(request.device), request.judged_on)
    found: dict[str, list[Figures]] = {row.name: [] for row in rows}
    for number, ((name, seed), recipe) in enumerate(recipes.items(), 1):
        figures = bench.figures(recipe)
        found[name].append(figures)
        click.echo(f"ablation: {number}/{len(recipes)}, {name}, seed {seed}: {progress_line(figures)}", err=True)
    return found


def open_dataset(request: Request) -> Dataset:
    """Return the dataset. BadInput if it has too few good parts to calibrate on."""
    dataset = Dataset.open(request.data, request.unit, needs=("train", "validation", *(("test",) if request.judged_on == "test" else ())))
    if len(dataset.validation) < MIN_PARTS:
        raise BadInput(f"{request.data / 'validation'}: found {len(dataset.validation)} scans, expected at least {MIN_PARTS}")
    return dataset


def progress_line(figures: Figures) -> str:
    """Return a row's figures as one line of progress."""
    return ", ".join(f"{branch} {' / '.join(mean_of([getattr(getattr(figures, branch), name)]) for name in SHOWN)}" for branch in BRANCHES)


def table(found: dict[str, list[Figures]]) -> str:
    """Return all rows as a table in Markdown, and the rules of fusion as another."""
    base = found[BASE.name]
    heads = [f"{branch}, {head}" for branch in BRANCHES for head in HEADS] + [f"fused - base, {head}" for head in HEADS]
    lines = [f"| row | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    lines += [f"| {' | '.join([name, *cells_of(figures, base)])} |" for name, figures in found.items()]
    validation, judged = len(base[0].validation.rgb), len(base[0].is_defective)
    seeds = ", ".join(str(figures.recipe.seed) for figures in base)
    note = f"Mean over seeds {seeds} ± half the range; {validation} validation parts, {judged} parts judged."
    return "\n".join([*lines, "", note, "", *rule_lines(base)])


def cells_of(figures: Sequence[Figures], base: Sequence[Figures]) -> list[str]:
    """Return the cells of one row: mean and spread of each metric, and the difference of the fused ones from the base's."""
    cells = [mean_of([getattr(getattr(each, branch), name) for each in figures]) for branch in BRANCHES for name in SHOWN]
    differences = [
        [difference(getattr(a.fused, name), getattr(b.fused, name)) for a, b in zip(figures, base, strict=True)] for name in SHOWN
    ]
    return [*cells, *(mean_of(values, "+.3f") for values in differences)]


def rule_lines(base: Sequence[Figures]) -> list[str]:
    """Return a table of what each rule of fusion reaches with the base's two scores."""
    paper = [auroc_by(RULES[PAPER], figures) for figures in base]
    lines = [
        "| rule of fusion of two scores | image AUROC | - product | highest good validation part, in deviations above their mean |",
        "|---|---:|---:|---:|",
    ]
    for name, rule in RULES.items():
        reached = [auroc_by(rule, figures) for figures in base]
        differences = [difference(*pair) for pair in zip(reached, paper, strict=True)]
        reaches = mean_of([reach(rule, figures.validation) for figures in base], ".1f")
        lines.append(f"| {name} | {mean_of(reached)} | {mean_of(differences, '+.3f')} | {reaches} |")
    return lines


def auroc_by(rule: Rule, figures: Figures) -> float | None:
    """Return the image AUROC of a rule of fusion."""
    return image_auroc(rule(figures.test, figures.validation), figures.is_defective)


def difference(value: float | None, reference: float | None) -> float | None:
    """Return value - reference; None if either was not measured."""
    return None if value is None or reference is None else value - reference


def mean_of(values: Sequence[float | None], form: str = ".3f") -> str:
    """Return the mean ± half the range over the seeds, as text; a single value has no range."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "-"
    spread = f" ± {(max(known) - min(known)) / 2:{form.lstrip('+')}}" if len(known) > 1 else ""
    return f"{np.mean(known).round(3) + 0:{form}}{spread}"  # + 0: no "-0.000"


main = main_of(command, "bench.ablation")

if __name__ == "__main__":
    sys.exit(main())
