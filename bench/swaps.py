"""Hundreds of model changes in a running station under load: no part may be lost, late or judged by two models; memory must stay flat."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import click

from bench.bench_line import SMALL, Product
from bench.bench_station import (
    BenchStation,
    StationOptions,
    conclude,
    empty_run_folder,
    run_station,
    station_options,
    wait_for_verdicts,
    wait_until,
    wait_while_restarting,
)
from bench.command_line import main_of
from bench.swaps_report import Report, Swap, SwapRun, as_text, report_of
from daemon.recipe_models import RecipeReport
from daemon.recipe_verbs import recipe_report
from mdss.errors import MdssError
from mdss.method import model_store
from mdss.method.presets import preset, with_assignments

EXAMPLE = "Example: python -m bench.swaps --swaps 500 --seed 1 --json swaps.json"
SERVES_WITHIN_S = 120.0
LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Order:
    """What to run."""

    swaps: int
    seed: int
    cameras: int
    rate: float
    pause_s: float
    quiet_s: float
    deadline_ms: int


@click.command(epilog=EXAMPLE)
@click.option("--swaps", type=click.IntRange(2), default=500, show_default=True, help="How often the model changes.")
@click.option("--seed", type=int, default=1, show_default=True, help="Decides how long the station is left alone between two changes.")
@click.option("--cameras", type=click.IntRange(1, 10), default=2, show_default=True, help="How many send at the same time.")
@click.option("--rate", type=click.FloatRange(0.05, 100), default=3.0, show_default=True, help="Parts per second of each.")
@click.option("--pause-s", type=click.FloatRange(0), default=1.0, show_default=True, help="The longest pause between two changes.")
@click.option("--quiet-s", type=click.FloatRange(0), default=60.0, show_default=True, help="How long before the first change.")
@click.option("--deadline-ms", type=click.IntRange(100), default=5000, show_default=True, help="The station's camera.deadline_ms.")
@station_options("out/swaps")
def command(**options: Any) -> None:
    """Promote two versions in turn while cameras send without a pause; compare with a while without changes.

    With --store the two are the newest versions of the recipe, in a copy of its folder; of a single version, the same one under two
    names. Exit code 0 if every part has one verdict in time by one model, every version was taken, and no process has grown.
    """
    given, order = StationOptions.taken_from(options), Order(**options)
    with empty_run_folder(given.out) as folder:
        product = given.product()
        if given.store is None:
            train_another(product)
        report = swap_often(order, folder, copy_models(product, folder / "models"))
        conclude(report, as_text(report), folder, given.json_path)


def train_another(product: Product) -> None:
    """Give the small line a second version, trained with another seed, unless it has one."""
    from trainer.train import TrainingOrder, train

    if len(model_store.versions(product.store / product.recipe)) < 2:
        train(
            TrainingOrder(product.data, product.store, product.recipe, with_assignments(preset("demo"), (*SMALL, "seed=2")), device="cpu")
        )


def copy_models(product: Product, store: Path) -> Product:
    """Copy the recipe's models, so that nobody's champion changes; a single version is stored a second time."""
    shutil.copytree(product.store / product.recipe, store / product.recipe, symlinks=True)
    model = model_store.open_champion(store, product.recipe)
    if len(model_store.versions(store / product.recipe)) < 2:

        def copy(folder: Path) -> None:
            for file in model.path.iterdir():
                if file.is_dir():
                    shutil.copytree(file, folder / file.name)
                elif file.suffix == ".safetensors":
                    shutil.copyfile(file, folder / file.name)

        model_store.save(store, model.card, model.calibration, copy)
    return replace(product, store=store)


def swap_often(order: Order, folder: Path, product: Product) -> Report:
    """Run everything, and return the report."""
    with run_station(folder, product, {"station": {"name": "swaps"}, "camera": {"deadline_ms": order.deadline_ms}}) as station:
        station.cameras(order.cameras, 1 / order.rate)
        random = Random(order.seed)  # noqa: S311 - a seed, no secret
        wait_for_verdicts(station)
        wait_while_restarting(order.quiet_s, station)
        first_ns, swaps = time.monotonic_ns(), list[Swap]()
        serving = state_of(station).version
        newest = [path.name for path in model_store.versions(product.store / product.recipe)][-2:]
        for version in cycle(sorted(newest, key=lambda name: name == serving)):
            swaps.append(promote_and_wait(station, version))
            if len(swaps) == order.swaps:
                break
            wait_while_restarting(random.uniform(0, order.pause_s), station)
        wait_while_restarting(1.0, station)
        waits = station.waits()
        return report_of(
            SwapRun(
                swaps=swaps,
                quiet=[wait for wait in waits if wait[0] < first_ns],
                swapping=[wait for wait in waits if wait[0] >= first_ns],
                verdicts=station.verdicts(),
                unjudged=station.unjudged_count(),
                refused=state_of(station).failures,
                incidents=station.incidents(),
            )
        )


def promote_and_wait(station: BenchStation, version: str) -> Swap:
    """Promote a version, and wait until it judges."""
    model_store.promote(station.product.store, station.product.recipe, version)
    promoted_s = time.monotonic()
    if not wait_until(lambda: state_of(station).version == version, SERVES_WITHIN_S, station, LOOK_EVERY_S):
        why = state_of(station).reason or f"see {station.folder / 'station.log'}"
        raise MdssError(f"{version} does not judge after {SERVES_WITHIN_S:g} s ({why})")
    return Swap(version, time.monotonic() - promoted_s, station.memory())


def state_of(station: BenchStation) -> RecipeReport:
    """Return the station's report on the recipe."""
    return recipe_report(station.settings, station.product.recipe)


main = main_of(command, "bench.swaps")

if __name__ == "__main__":
    sys.exit(main())
