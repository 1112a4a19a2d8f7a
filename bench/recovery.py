"""How long a killed process is away under a steady load, and what happens to the parts in the station meanwhile."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
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
from bench.figures import unanswered
from bench.recovery_report import JudgedTimes, Kill, RecoveryRun, Report, as_text, report_of
from mdss.errors import MdssError
from mdss.wire.verdict import Verdict

EXAMPLE = "Example: python -m bench.recovery --store models --recipe cable_gland --data data/cable_gland --kills 10 --json recovery.json"
PROCESSES = ("prepare", "rgb-0", "sdf-0", "fusion", "ingest")
READY_WITHIN_S = 60.0
# Each kill counts as a first one: the pause before a restart is always 0.5 s, not that of a process that dies over and over.
SECTIONS: dict[str, dict[str, Any]] = {"station": {"name": "recovery"}, "supervisor": {"restart_limit": 1000, "restart_window_s": 1}}


@dataclass(frozen=True)
class Order:
    """What to run."""

    kills: int
    whom: tuple[str, ...]
    cameras: int
    rate: float
    settle_s: float
    within_s: float


@click.command(epilog=EXAMPLE)
@click.option("--kills", type=click.IntRange(1), default=5, show_default=True, help="Of each process, one after the other.")
@click.option("--whom", multiple=True, type=click.Choice(PROCESSES), help="Only this process; may be repeated. All where left out.")
@click.option("--cameras", type=click.IntRange(1, 10), default=2, show_default=True, help="How many send at the same time.")
@click.option("--rate", type=click.FloatRange(0.05, 100), default=0.25, show_default=True, help="Parts per second of each.")
@click.option("--settle-s", type=click.FloatRange(0), default=8.0, show_default=True, help="From ready again to the next kill.")
@click.option("--within-s", type=click.FloatRange(0.1), default=5.0, show_default=True, help="How long a killed process may be away.")
@station_options("out/recovery")
def command(**options: Any) -> None:
    """Kill each process of a loaded station in turns; measure from the kill until it is ready again, and count what its parts became.

    Exit code 0 if each was ready again in time and every frame has its verdict.
    """
    given, order = StationOptions.taken_from(options), Order(**options)
    with empty_run_folder(given.out) as folder:
        report = recovery(order, folder, given.product())
        conclude(report, as_text(report), folder, given.json_path)


def recovery(order: Order, folder: Path, product: Product) -> Report:
    """Run everything, and return the report."""
    with run_station(folder, product, SECTIONS) as station:
        station.cameras(order.cameras, 1 / order.rate)
        wait_for_verdicts(station)
        wait_while_restarting(order.settle_s, station)
        kills = list[Kill]()
        for name in (order.whom or PROCESSES) * order.kills:
            kills.append(kill(station, name))
            wait_while_restarting(order.settle_s, station)
        without_verdict = unanswered(station.waits()) + station.unjudged_count()
        return report_of(
            kills,
            [judged_of(each) for each in station.verdicts()],
            RecoveryRun(order.within_s, without_verdict, station.incidents()),
        )


def kill(station: BenchStation, name: str) -> Kill:
    """Kill one process, and wait until it is ready again."""
    watch, pid = station.watch, station.watch.pid(name)
    if pid is None:
        raise MdssError(f"{name} did not run when it was to be killed")
    at_ns, known = time.time_ns(), len(watch.recoveries.done)
    watch.recoveries.note_kill(name, pid)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()
    if not wait_until(lambda: len(watch.recoveries.done) > known, READY_WITHIN_S, station):
        raise MdssError(f"{name} was not ready again within {READY_WITHIN_S:g} s (see {station.folder / 'station.log'})")
    return Kill(name, at_ns, watch.recoveries.done[-1].seconds)


def judged_of(verdict: Verdict) -> JudgedTimes:
    """Return what this report needs of a verdict."""
    times = verdict.times
    return JudgedTimes(times.received, times.published, verdict.attempt, verdict.evaluation, verdict.code or "")


main = main_of(command, "bench.recovery")

if __name__ == "__main__":
    sys.exit(main())
