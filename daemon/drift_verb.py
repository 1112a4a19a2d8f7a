"""Verb `mdss drift`: compares today's parts with those of calibration, as a trend, and says since when they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.table import Table

from daemon.verbs import utc_text
from mdss import whole_files
from mdss.drift_record import NAMES, QUANTITIES, DriftRecord, Quantity, read_record, sentence_of
from mdss.errors import BadInput
from mdss.settings import Settings, load_settings
from mdss.terminal import table_console
from mdss.verb_options import config_option

BARS = "▁▂▃▄▅▆▇█"
TREND_BLOCKS = 24
EXAMPLE = "Example: mdss drift --config station.yaml --recipe cable_gland --plot drift.png"


@click.command(epilog=EXAMPLE)
@config_option
@click.option("--recipe", help="Only this recipe.")
@click.option("--json", "as_json", is_flag=True, help="Print the records of the recipes as a JSON list.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw one recipe's trend into this .png, .svg or .pdf.")
def command(config: Path, recipe: str | None, as_json: bool, plot: Path | None) -> None:
    """Compare scores, brightness, valid points and distance of live parts with calibration. Works while the station is down, too."""
    records = read_records(load_settings(config), recipe)
    if plot is not None:
        draw(records, plot)
    if as_json:
        click.echo(whole_files.as_json(records), nl=False)
    else:
        show(records)
    if plot is not None:
        click.echo(f"plot: {plot}", err=as_json)


def show(records: Sequence[DriftRecord]) -> None:
    """Print each recipe's trend and its warnings."""
    if not records:
        click.echo("no part was compared yet: a recipe needs parts, and a model whose calibration kept its reference")
    console = table_console()
    for record in records:
        parts, version, reference = f"{record.parts:,} parts", record.model_version, record.reference_parts
        if not record.blocks:
            found = f"found no {record.block_parts} parts in a row of model {version} yet"
            console.print(f"{record.recipe}: {found}, expected one such block at least: ask again after some more", soft_wrap=True)
            continue
        console.print(f"{record.recipe}: {parts} compared with the {reference} of model {version}, in blocks of {record.block_parts}")
        console.print(table(record))
        for line in warning_lines(record):
            console.print(line, soft_wrap=True)


def read_records(settings: Settings, recipe: str | None) -> list[DriftRecord]:
    """Return the drift records of a station's recipes, or of one recipe; recipes without a record are left out."""
    known = settings.models.recipes
    if recipe is not None and recipe not in known:
        raise BadInput(f"--recipe {recipe}: found no such recipe in the settings, expected one of {', '.join(known)}")
    state = Path(settings.station.state_directory)
    found = (read_record(state, name) for name in ([recipe] if recipe else known))
    return [record for record in found if record is not None]


def draw(records: Sequence[DriftRecord], path: Path) -> None:
    """Draw one recipe's trend."""
    if len(records) > 1:
        found = ", ".join(record.recipe for record in records)
        raise BadInput(f"--plot {path}: found the records of {found}, expected one recipe; say which with --recipe")
    if not records or not records[0].blocks:
        raise BadInput(f"--plot {path}: found no block of parts yet, expected one at least")
    from daemon.drift_picture import save_trend  # imported here because it takes a second to load and no other use needs it

    save_trend(records[0], path)


def table(record: DriftRecord) -> Table:
    """Return a table with one row per quantity."""
    made = Table("quantity", "at calibration", "now", "trend, newest last", box=None, pad_edge=False)
    for name in QUANTITIES:
        usual, last = record.reference[name], record.blocks[-1].medians[name]
        made.add_row(NAMES[name], f"{usual.median:.4g} ({usual.low:.4g} to {usual.high:.4g})", f"{last:.4g}", bars(record, name))
    return made


def bars(record: DriftRecord, name: Quantity) -> str:
    """Return one bar per recent block: half height is as calibrated; lowest or highest is beyond all reference parts."""
    shifts = [block.shifts[name] for block in record.blocks[-TREND_BLOCKS:]]
    return "".join(BARS[min(int((shift + 0.5) * len(BARS)), len(BARS) - 1)] for shift in shifts)


def warning_lines(record: DriftRecord) -> list[str]:
    """Return one line for each current warning."""
    return [f"drift: {sentence_of(record, name, onset)}, warned of {utc_text(onset.warned_ns)}" for name, onset in record.warnings.items()]
