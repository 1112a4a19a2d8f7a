"""Verb `mdss bench`: how fast this machine judges parts, with each stage beside the floor that the machine itself sets."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mdss.errors import BadInput
from mdss.terminal import table_console

if TYPE_CHECKING:
    from measure.results import Results
    from measure.subject import Size, Subject
    from trainer.dataset import Unit

EXAMPLE = "Example: mdss bench --store models --recipe cable_gland --data data/cable_gland --json bench.json"
SIZES, QUICK_SIZES = ("400x400", "800x800", "1600x1200"), ("128x128",)
PARTS, QUICK_PARTS = 100, 8
LONGEST_S = 60.0  # of one stretch; on a slow machine fewer parts are sent


@dataclass(frozen=True)
class BenchOptions:
    """The options of the command line."""

    store: Path | None
    recipe: str | None
    data: Path | None
    unit: Unit
    preset_name: str | None
    sizes: tuple[str, ...]
    parts: int | None
    json_path: Path | None
    has_reference: bool
    is_quick: bool
    cameras: tuple[int, ...]
    processes: tuple[int, ...]

    def check(self) -> None:
        """Raise BadInput for options that contradict each other."""
        given = [self.store, self.recipe, self.data]
        if any(given) and not all(given):
            raise BadInput("--store, --recipe, --data: found some of them, expected all three, or none for a synthetic line")
        if any(given) and self.preset_name:
            raise BadInput("--preset: found it beside --store, expected it for a synthetic line alone; a stored model has its own settings")
        if self.json_path is not None and not self.json_path.parent.is_dir():
            raise BadInput(f"--json {self.json_path}: found no folder {self.json_path.parent}, expected one that exists")

    def subject(self, folder: Path) -> Subject:
        """Return the model and scans to measure; a synthetic line is made in the folder."""
        from measure.subject import subject_of_store, synthetic_subject

        if self.store is None or self.recipe is None or self.data is None:
            return synthetic_subject(self.preset_name or "edge", folder, is_quick=self.is_quick)
        return subject_of_store(self.store, self.recipe, self.data, self.unit)


@click.command(epilog=EXAMPLE)
@click.option("--store", type=click.Path(path_type=Path, file_okay=False), help="A model store; without one, a synthetic line is made.")
@click.option("--recipe", help="The product in it.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Scans of that product, of which a few of test/ are sent.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option("--preset", "preset_name", type=click.Choice(["edge", "paper"]), help="Networks for the synthetic line.  [default: edge]")
@click.option(
    "--size", "sizes", multiple=True, metavar="HEIGHTxWIDTH", help=f"Of the scans; may be repeated.  [default: {', '.join(SIZES)}]"
)
@click.option("--parts", type=click.IntRange(3), help=f"Sent in each stretch, within a minute.  [default: {PARTS}]")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures to this file.")
@click.option("--reference", "has_reference", is_flag=True, help="Also run the method as the cited code does, for the ratio.")
@click.option("--cameras", multiple=True, type=click.IntRange(1), help="Also the rate with so many at once; may be repeated.")
@click.option("--processes", multiple=True, type=click.IntRange(1), help="Also the rate with so many for each branch; may be repeated.")
@click.option("--quick", "is_quick", is_flag=True, help="Small networks, small scans, few parts: shows that it works, not how fast it is.")
def command(**options: object) -> None:
    """Measure the machine, then each stage beside its floor, then a whole station from the camera to a subscriber.

    Without --store it makes a synthetic line, and a model after two steps of training: speed does not depend on what a model has learned.
    Nothing else should run beside it. Files go to the folder for temporary files (TMPDIR), and so does the journal.
    """
    from measure.subject import Size
    from measure.tables import show

    chosen = BenchOptions(**options)  # type: ignore[arg-type]  # click has checked them
    chosen.check()
    sizes = tuple(Size.parse(text) for text in dict.fromkeys(chosen.sizes or (QUICK_SIZES if chosen.is_quick else SIZES)))
    with tempfile.TemporaryDirectory(prefix="mdss-bench-") as folder:
        results = measure(chosen, sizes, Path(folder))
    show(results, table_console())  # first, so that a failed write does not lose minutes of measuring
    if chosen.json_path is not None:
        results.write(chosen.json_path)


def measure(chosen: BenchOptions, sizes: tuple[Size, ...], folder: Path) -> Results:
    """Return all results that were asked for."""
    from measure.both_branches import measure_both
    from measure.growth import measure_growth
    from measure.line import measure_line
    from measure.machine import measure_machine
    from measure.reference import speedup
    from measure.results import Results
    from measure.stages import Effort, StageBench, measure_stages

    load_before = os.getloadavg()[0]  # read here, because making a synthetic line and its model is a load, too
    subject = chosen.subject(folder)
    effort = Effort(chosen.parts or (QUICK_PARTS if chosen.is_quick else PARTS), LONGEST_S)
    machine = measure_machine(folder, load_before, is_quick=chosen.is_quick)
    bench = StageBench(subject, folder)
    stages, *others = [measure_stages(bench, size, effort, is_whole=size == sizes[0]).figures(machine) for size in sizes]
    ratio = speedup(bench, sizes[0]) if chosen.has_reference else None
    bench.close()
    both = measure_both(bench, sizes[0], effort)
    line = measure_line(subject, sizes, effort)
    has_growth = bool(chosen.cameras or chosen.processes)
    numbers = (tuple(dict.fromkeys(each)) or (1,) for each in (chosen.cameras, chosen.processes))
    return Results(
        date=datetime.now(UTC).date().isoformat(),
        product=subject.recipe,
        preset=bench.model.recipe.preset,
        is_trained=subject.is_trained,
        machine=machine,
        stages=stages,
        stages_at={str(size): figures for size, figures in zip(sizes[1:], others, strict=True)},
        both_branches=both,
        end_to_end=line.end_to_end,
        speedup_over_reference=ratio,
        memory_mb=line.memory_mb,
        start_to_ready_s=line.start_to_ready_s,
        growth=measure_growth(subject, sizes[0], effort, *numbers) if has_growth else [],
    )
