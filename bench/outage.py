"""Whether verdicts wait for Redis: parts at a steady pace while Redis is up, killed, up again and stopped, in turns."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import product as combinations
from pathlib import Path
from typing import Any

import click

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
from bench.chaos_records import read_alerts
from bench.command_line import main_of
from bench.figures import no_done_sentences
from bench.outage_report import STATES, UP, OutageRun, Report, State, TimeWindow, alert_faults, as_text, report_of, rounds_of
from bench.station_journal import open_journal

EXAMPLE = "Example: python -m bench.outage --rounds 15 --window-s 10 --json outage.json"
CAUGHT_UP_WITHIN_S = 60.0  # the pause between two tries of the station grows to 30 s
WARM_S = 3.0
PAUSE_S = 1.0  # between a window and the bench's own work: starting Redis and reading the journal take a CPU


@dataclass(frozen=True)
class Order:
    """What to run."""

    rounds: int
    window_s: float
    cameras: int
    rate: float


@click.command(epilog=EXAMPLE)
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True, help="Each: Redis there, killed, there, stopped.")
@click.option("--window-s", type=click.FloatRange(1, 600), default=10.0, show_default=True, help="How long each of the four lasts.")
@click.option("--cameras", type=click.IntRange(1, 10), default=2, show_default=True, help="How many send at the same time.")
@click.option("--rate", type=click.FloatRange(0.1, 100), default=3.0, show_default=True, help="Parts per second of each; half are painted.")
@station_options("out/outage")
def command(**options: Any) -> None:
    """Measure how long parts wait from when they are due until DONE, with Redis there and away, in one run and in turns.

    Exit code 0 if p99 is not shown to be more than 10 % slower while Redis is away, and if after each return every alert is there once.
    """
    given, order = StationOptions.taken_from(options), Order(**options)
    with empty_run_folder(given.out) as folder:
        report = outage(order, folder, given.product())
        conclude(report, as_text(report), folder, given.json_path)


def outage(order: Order, folder: Path, product: Product) -> Report:
    """Run everything, and return the report."""
    windows, caught_up_s, failures = list[TimeWindow](), list[float](), list[str]()
    with run_station(folder, product, {"station": {"name": "outage"}}) as station:
        station.cameras(order.cameras, 1 / order.rate, "--painted")
        wait_for_verdicts(station)
        wait_while_restarting(WARM_S, station)
        for number, state in combinations(range(order.rounds), STATES):
            windows.append(window(station, (number, state), order.window_s))
            if state not in UP:
                caught_up_s.append(restore_redis(station, failures))
        waits = station.waits()
        evaluations = [verdict.evaluation for verdict in station.verdicts()]
        failures += station.incidents()
        if unjudged := station.unjudged_count():
            failures.append(f"{unjudged} parts have no verdict")
    failures += no_done_sentences(waits)
    return report_of(rounds_of(windows, waits), OutageRun(order.window_s, evaluations, caught_up_s, failures))


def window(station: BenchStation, place: tuple[int, State], seconds: float) -> TimeWindow:
    """Put Redis into a state and let a window pass; Redis is still in that state afterwards."""
    number, state = place
    if state == "killed":
        station.redis.kill()
    elif state == "stopped":
        signal_redis(station, signal.SIGSTOP)
    begun_ns = time.monotonic_ns()
    wait_while_restarting(seconds, station)
    ended_ns = time.monotonic_ns()
    wait_while_restarting(PAUSE_S, station)
    return TimeWindow(number, state, begun_ns, ended_ns)


def restore_redis(station: BenchStation, failures: list[str]) -> float:
    """Bring Redis back, wait until no alert waits, and compare its alerts with the journal; return the seconds it took."""
    signal_redis(station, signal.SIGCONT)
    station.redis.start()  # does nothing if it runs
    before, begun_s = station.judged_count(), time.monotonic()
    with closing(open_journal(station.settings)) as journal:
        if not wait_until(lambda: all(each.sequence > before for each in journal.undelivered(1)), CAUGHT_UP_WITHIN_S, station):
            failures.append(f"alerts still waited {CAUGHT_UP_WITHIN_S:g} s after Redis had returned")
    seconds = time.monotonic() - begun_s
    expected = [each.result_id for each in station.verdicts() if each.evaluation != "OK" and each.sequence <= before]
    alerts = list(read_alerts(station.settings))
    for where in ("stream", "hash"):
        failures += alert_faults(expected, [alert.result_id for alert in alerts if alert.where == where], where)
    wait_while_restarting(PAUSE_S, station)
    return seconds


def signal_redis(station: BenchStation, number: signal.Signals) -> None:
    """Send Redis a signal if it runs."""
    if station.redis.pid is not None:
        os.kill(station.redis.pid, number)


main = main_of(command, "bench.outage")

if __name__ == "__main__":
    sys.exit(main())
