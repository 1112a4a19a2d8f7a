"""Whether a station feels a retraining on its machine: parts at a steady pace while the training runs and while it is stopped, in turns."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import product as combinations
from pathlib import Path
from typing import Any

import click
import psutil

from bench.bench_line import Product
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
from bench.figures import no_done_sentences
from bench.outage_report import TimeWindow, rounds_of
from bench.retrain_beside_report import BESIDE, WINDOWS, Report, as_text, report_of
from daemon.tied_process import start_tied
from mdss.errors import MdssError

EXAMPLE = "Example: python -m bench.retrain_beside --rounds 15 --window-s 10 --json retrain_beside.json"
ENDLESS = ("rgb.steps=100000000", "sdf.steps=100000000")
WARM_S, SETTLE_S, LEARNING_WITHIN_S = 3.0, 1.0, 900.0


@dataclass(frozen=True)
class Order:
    """What to run."""

    rounds: int
    window_s: float
    rate: float
    threads: int


@click.command(epilog=EXAMPLE)
@click.option(
    "--rounds", type=click.IntRange(1), default=15, show_default=True, help="Each: a window without a training, and one beside it."
)
@click.option("--window-s", type=click.FloatRange(1, 600), default=10.0, show_default=True, help="How long each window lasts.")
@click.option("--rate", type=click.FloatRange(0.1, 100), default=3.0, show_default=True, help="Parts per second.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of each branch in training.")
@station_options("out/beside")
def command(**options: Any) -> None:
    """Measure how long parts wait from when they are due until DONE, beside `mdss retrain` and without it, in one run and in turns.

    Exit code 0 if p99 is not shown to be more than 20 % slower beside the training.
    """
    given, order = StationOptions.taken_from(options), Order(**options)
    with empty_run_folder(given.out) as folder:
        report = beside(order, folder, given.product())
        conclude(report, as_text(report), folder, given.json_path)


class BackgroundTraining:
    """An endless retraining of the station's recipe, which can be stopped and continued."""

    def __init__(self, station: BenchStation, threads: int) -> None:
        self._work = station.folder / "retrain" / "work" / station.product.recipe
        curated = curated_copy(station.product, station.folder / "curated")
        words = ["--config", str(station.folder / "station.yaml"), "--recipe", station.product.recipe, "--data", str(curated)]
        sets = [word for each in ENDLESS for word in ("--set", each)]
        self._log = station.folder / "retrain.log"
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "mdss.cli", "retrain", *words, "--threads", str(threads), *sets]
            self._process = start_tied(command, log)
        station.closing.callback(self.end)
        self._spent_s = self._ran_s = 0.0

    @property
    def is_learning(self) -> bool:
        """Return whether it has reached its steps. MdssError if it has ended."""
        self._require_running()
        return any(self._work.glob("*.checkpoint"))

    @property
    def share(self) -> float:
        """Return its share of one CPU while it was allowed to run."""
        return self._spent_s / self._ran_s if self._ran_s else 0.0

    def allow(self, *, run: bool) -> None:
        """Continue or stop it, with all its processes."""
        for each in self._family():
            each.send_signal(signal.SIGCONT if run else signal.SIGSTOP)

    def note(self, before_s: float, seconds: float) -> None:
        """Note the CPU time that it had in a window. MdssError if it has ended: the window was not beside a training."""
        self._require_running()
        self._spent_s, self._ran_s = self._spent_s + self.processor_s() - before_s, self._ran_s + seconds

    def processor_s(self) -> float:
        """Return the CPU time of all its processes so far."""
        times = [each.cpu_times() for each in self._family()]
        return float(sum(each.user + each.system for each in times))

    def end(self) -> None:
        """Kill it with all its processes."""
        for each in self._family():
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self._process.wait()

    def _require_running(self) -> None:
        if self._process.poll() is not None:
            raise MdssError(f"the training ended with code {self._process.returncode} (see {self._log})")

    def _family(self) -> list[psutil.Process]:
        """Return it and the processes that train its branches, which have process groups of their own; none if it has ended."""
        if self._process.poll() is not None:  # its id may be another process's by now
            return []
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]


def curated_copy(product: Product, folder: Path) -> Path:
    """Return a copy of the product's scans with one training scan less, so that the retraining finds something new."""
    for split in ("train", "validation"):
        shutil.copytree(product.data / split, folder / split)
    for kind in ("rgb", "xyz"):
        min((folder / "train" / "good" / kind).iterdir()).unlink()
    return folder


def beside(order: Order, folder: Path, product: Product) -> Report:
    """Run everything, and return the report."""
    with run_station(folder, product, {"station": {"name": "beside"}, "camera": {"deadline_ms": 60_000}}) as station:
        training = BackgroundTraining(station, order.threads)
        if not wait_until(lambda: training.is_learning, LEARNING_WITHIN_S, station):
            raise MdssError(f"the training had no checkpoint after {LEARNING_WITHIN_S:g} s (see {folder / 'retrain.log'})")
        training.allow(run=False)
        station.camera("camera", 1 / order.rate)
        wait_for_verdicts(station, LEARNING_WITHIN_S)
        wait_while_restarting(WARM_S, station)
        windows = [window(station, training, place, order.window_s) for place in combinations(range(order.rounds), WINDOWS)]
        training.allow(run=True)
        waits, failures = station.waits(), station.incidents()
        failures += no_done_sentences(waits)
        return report_of(rounds_of(windows, waits, WINDOWS), order.window_s, training.share, failures)


def window(station: BenchStation, training: BackgroundTraining, place: tuple[int, str], seconds: float) -> TimeWindow:
    """Continue or stop the training for one window."""
    number, state = place
    training.allow(run=state == BESIDE)
    wait_while_restarting(SETTLE_S, station)
    begun_ns, before_s = time.monotonic_ns(), training.processor_s()
    wait_while_restarting(seconds, station)
    ended_ns = time.monotonic_ns()
    if state == BESIDE:
        training.note(before_s, (ended_ns - begun_ns) / 1e9)
    return TimeWindow(number, state, begun_ns, ended_ns)


main = main_of(command, "bench.retrain_beside")

if __name__ == "__main__":
    sys.exit(main())
