"""How often the comparison with calibration warns falsely, and after how many parts it warns of a real change."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import click
import numpy as np
from numpy.typing import NDArray

from bench.command_line import main_of
from bench.drift_line import DRAWS, Draw, StationDrift, normal, reference, streams, unluckiest_reference
from mdss.drift_record import QUANTITIES, Quantity
from mdss.method.point_cloud import prepare
from mdss.method.presets import preset
from mdss.method.reference import Conditions
from trainer.dataset import Dataset, Scan, Unit
from trainer.progress import tracked

EXAMPLE = "Example: python -m bench.drift --stations 200 --data data/cable_gland"
REFERENCES = (5, 23, 40, 100)
SHIFTS = (0.5, 1.0, 1.5, 2.0, 3.0)
LAMP = (1.0, 0.99, 0.98, 0.95, 0.9)
WITHIN = (25, 50, 100, 200, 400, 1000)
SETTLED_PARTS = 310  # before a change, which so comes in the middle of a block
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Extent:
    """How much is simulated for each row."""

    stations: int
    parts: int
    seed: int

    def random(self, station: int) -> np.random.Generator:
        """Return the random generator of one station."""
        return np.random.default_rng((self.seed, station))


@click.command(epilog=EXAMPLE)
@click.option("--stations", type=click.IntRange(1), default=100, show_default=True, help="Simulated for each row.")
@click.option("--parts", type=click.IntRange(1000), default=10_000, show_default=True, help="Good parts of each.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Also a lamp that ages over this dataset's good scans.")
@click.option("--unit", type=click.Choice(get_args(Unit)), default="m", show_default=True, help="Of its clouds.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all random numbers.")
def command(stations: int, parts: int, data: Path | None, unit: Unit, seed: int) -> None:
    """Print tables of false warnings, of the parts until a shift is warned of, and of the same for a lamp that ages."""
    extent = Extent(stations, parts, seed)
    click.echo("| reference parts | values | false warnings per 10,000 parts | stations with more than one per 10,000 |")
    click.echo("|---|---|---|---|")
    for count in REFERENCES:
        for name, draw in DRAWS.items():
            click.echo(f"| {count} | {name} | {false_warnings(count, draw, extent)} |")
        click.echo(f"| {count} | normal, each reference as unlucky as it may be | {false_warnings_of_the_unlucky(count, extent)} |")
    print_delay_head("reference parts | shift, in deviations")
    for count in REFERENCES:
        for shift in SHIFTS:
            click.echo(f"| {count} | {shift:g} | {shares_cells(delays(count, shift, extent))} |")
    if data is not None:
        print_lamp_table(Dataset.open(data, unit), extent)


def print_delay_head(first: str) -> None:
    """Print the head of a table of delays."""
    click.echo(f"\n| {first} | {' | '.join(f'within {parts}' for parts in WITHIN)} | median |")
    click.echo("|---" * (first.count("|") + len(WITHIN) + 2) + "|")


def false_warnings(count: int, draw: Draw, extent: Extent) -> str:
    """Return a row's cells for stations that each have their own reference."""
    onsets = []
    for station in range(extent.stations):
        random = extent.random(station)
        onsets.append(len(StationDrift.of(reference(random, draw, count)).run(streams(random, draw, extent.parts)).onsets()))
    return rates(onsets, extent)


def false_warnings_of_the_unlucky(count: int, extent: Extent) -> str:
    """Return a row's cells for stations whose reference is off by all that the limits allow for."""
    lines = [
        StationDrift.of(unluckiest_reference(count)).run(streams(extent.random(n), normal, extent.parts)) for n in range(extent.stations)
    ]
    return rates([len(line.onsets()) for line in lines], extent)


def rates(onsets: list[int], extent: Extent) -> str:
    """Return the mean per 10,000 parts, and the share of stations above the stated rate."""
    stated = extent.parts / 10_000
    return f"{np.mean(onsets) / stated:.3f} | {np.mean([found > stated for found in onsets]):.1%}"


def delays(count: int, shift: float, extent: Extent) -> list[float]:
    """Return for each station after how many shifted parts it warned of one branch's score; infinite if it did not."""
    found = []
    for station in range(extent.stations):
        random = extent.random(station)
        line = StationDrift.of(reference(random, normal, count)).run(streams(random, normal, SETTLED_PARTS))
        found.append(delay(line, "rgb", streams(random, normal, WITHIN[-1], rgb=10 * shift)))
    return found


def delay(line: StationDrift, name: Quantity, changed: Mapping[Quantity, Values]) -> float:
    """Return after how many changed parts a warning holds; 0 if it held before."""
    if line.comparison.is_warned_of(name):
        return 0.0
    before, known = line.parts, len(line.changes)
    line.run(changed)
    onsets = [parts for parts, change in line.changes[known:] if change.is_onset and change.quantity == name]
    return float(onsets[0] - before) if onsets else float("inf")


def shares_cells(found: list[float]) -> str:
    """Return the cells: the share that was warned in time, and the median."""
    cells = [f"{np.mean(np.asarray(found) <= parts):.0%}" for parts in WITHIN]
    return " | ".join([*cells, f"{np.median(found):.0f}"])


def print_lamp_table(dataset: Dataset, extent: Extent) -> None:
    """Print after how many parts a darker lamp is warned of; live parts come from train/good, the reference from validation/good."""
    usual = np.asarray(brightness(dataset, dataset.validation, 1.0))
    click.echo(f"\nbrightness of {len(usual)} validation parts: {usual.mean():.1f}, deviation {usual.std(ddof=1):.2f}")
    print_delay_head("light | in deviations")
    before = brightness(dataset, dataset.train, 1.0)
    for factor in LAMP:
        live = brightness(dataset, dataset.train, factor)
        shift = (np.mean(live) - usual.mean()) / usual.std(ddof=1)
        found = [lamp_delay(usual.tolist(), before, live, extent.random(station)) for station in range(extent.stations)]
        click.echo(f"| {factor:.0%} | {shift:.1f} | {shares_cells(found)} |")


def lamp_delay(usual: list[float], before: list[float], live: list[float], random: np.random.Generator) -> float:
    """Return after how many parts in another light the brightness was warned of; the other quantities get the same values."""
    line = StationDrift.of(dict.fromkeys(QUANTITIES, usual))
    alike: Callable[[list[float], int], Values] = random.choice
    line.run(dict.fromkeys(QUANTITIES, alike(before, SETTLED_PARTS)))
    return delay(line, "brightness", dict.fromkeys(QUANTITIES, alike(live, WITHIN[-1])))


def brightness(dataset: Dataset, scans: list[Scan], factor: float) -> list[float]:
    """Return the brightness of each part in this share of the light."""
    settings, found = preset("edge").point_cloud, []
    for scan in tracked(scans, f"light {factor:.0%}"):
        loaded = dataset.load(scan)
        darker = np.rint(loaded.rgb * factor).astype(np.uint8)
        found.append(Conditions.of(prepare(darker, loaded.xyz_mm, settings)).brightness)
    return found


main = main_of(command, "bench.drift")

if __name__ == "__main__":
    sys.exit(main())
