"""Kills, stops and cuts off processes of a running station under load; at the end, an audit checks every part."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.bench_line import Product
from bench.bench_log import LineLog
from bench.bench_station import BenchStation, StationOptions, empty_run_folder, run_station, station_options, wait_for_verdicts, wait_until
from bench.chaos_audit import audit
from bench.chaos_faults import FaultEvent, FaultTargets, Injector
from bench.chaos_plan import KINDS, STALL_S, plan
from bench.chaos_records import is_settled, read_records
from bench.chaos_report import FaultSummary, Report, RunTimes, as_text, report_of
from bench.command_line import main_of
from bench.load_process import LoadProcess
from mdss.errors import MdssError
from mdss.whole_files import write_json

EXAMPLE = "Example: python -m bench.chaos --minutes 10 --seed 1 --json chaos.json"
BEGIN_WITHIN_S, READY_WITHIN_S, DONE_WITHIN_S, SETTLED_WITHIN_S = 120.0, 60.0, 120.0, 60.0
SECTIONS: dict[str, dict[str, Any]] = {
    "station": {"name": "chaos"},
    "camera": {"deadline_ms": 5000},
    # With the usual limit the supervisor would give up on processes that die so often; here they are to come back soon.
    "supervisor": {"stall_timeout_s": STALL_S, "drain_timeout_s": 20, "restart_limit": 1000, "restart_window_s": 5},
}


@dataclass(frozen=True)
class Order:
    """What to run, and for how long."""

    minutes: float
    seed: int
    cameras: int
    rate: float
    kill_every_s: float
    without: tuple[str, ...]


@click.command(epilog=EXAMPLE)
@click.option("--minutes", type=click.FloatRange(0.1, 1000), default=1.0, show_default=True, help="How long things go wrong.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Which things, to whom, and when.")
@click.option("--cameras", type=click.IntRange(1, 10), default=3, show_default=True, help="How many send at the same time.")
@click.option("--rate", type=click.FloatRange(0.1, 100), default=4.0, show_default=True, help="Parts per second of each, if it has credit.")
@click.option("--kill-every-s", type=click.FloatRange(0.5, 60), default=2.4, show_default=True, help="From one killed process to the next.")
@click.option("--without", multiple=True, type=click.Choice(KINDS), help="Leave out this kind of fault; may be repeated.")
@station_options("out/chaos")
def command(**options: Any) -> None:
    """Run a station of real processes under load, let faults happen that the seed draws, and compare four records with each other.

    Processes of the station, the whole station, cameras, the subscriber and Redis are killed, stopped and started again; the disk fills
    up, and the settings are reloaded. Exit code 0 if at the end the cameras' logs, the journal, the subscriber's log and Redis agree.
    """
    given, order = StationOptions.taken_from(options), Order(**options)
    with empty_run_folder(given.out) as folder:
        report = chaos(order, folder, given.product())
        click.echo(as_text(report))  # first, so that a failed write does not lose it
        if given.json_path is not None:
            write_json(given.json_path, report)
        if report.findings:
            raise MdssError(f"the four records do not agree: {len(report.findings)} findings (logs and journal in {folder})")


def chaos(order: Order, folder: Path, product: Product) -> Report:
    """Run everything, and return the report."""
    times = RunTimes()
    with run_station(folder, product, SECTIONS) as station:
        targets = FaultTargets(station, *load_processes(order, station))
        injector = Injector(targets, LineLog(folder / "faults.jsonl", FaultEvent))
        start_load(targets)
        times.memory_start_bytes, times.begun_ns = sum(station.memory().values()), time.time_ns()
        injector.play(plan(order.minutes * 60, order.seed, order.kill_every_s, order.without), order.minutes * 60)
        times.ended_ns = time.time_ns()
        incidents = settle_and_stop(targets, times)
        records = read_records(station.settings, [camera.log for camera in targets.cameras], targets.subscriber.log)
    recoveries = station.watch.recoveries
    faults = FaultSummary(order.seed, injector.done, injector.killed, injector.missed, recoveries.done, recoveries.cut_short, incidents)
    return report_of(records, audit(records), faults, times)


def load_processes(order: Order, station: BenchStation) -> tuple[tuple[LoadProcess, ...], LoadProcess]:
    """Return the cameras and the subscriber, not started yet."""
    product, camera, verdicts = station.product, station.settings.camera, station.settings.verdicts
    sent = ["--endpoint", camera.endpoint, "--recipe", product.recipe, "--data", str(product.data), "--every-s", str(1 / order.rate)]
    names = [f"camera-{number}" for number in range(1, order.cameras + 1)]
    cameras = tuple(LoadProcess("bench.chaos_camera", name, sent, station.folder) for name in names)
    heard = ["--endpoint", verdicts.endpoint, "--snapshot-endpoint", verdicts.snapshot_endpoint]
    return cameras, LoadProcess("bench.chaos_subscriber", "subscriber", heard, station.folder)


def start_load(targets: FaultTargets) -> None:
    """Start the cameras and the subscriber, and wait until verdicts come."""
    for process in (targets.subscriber, *targets.cameras):
        targets.station.begin(process)
    wait_for_verdicts(targets.station, BEGIN_WITHIN_S)


def settle_and_stop(targets: FaultTargets, times: RunTimes) -> list[str]:
    """Let the station come to rest, end everything in order, and return what went wrong without a fault asking for it."""
    station, ended_s = targets.station, time.monotonic()
    incidents = [] if wait_until(lambda: station.watch.is_ready, READY_WITHIN_S, station) else ["the station did not become ready again"]
    times.ready_after_s = round(time.monotonic() - ended_s, 1)
    for camera in targets.cameras:
        camera.ask_to_finish()
    done_by_s = time.monotonic() + DONE_WITHIN_S
    incidents += [f"{camera.name} did not get all its answers" for camera in targets.cameras if not camera.wait(done_by_s)]
    if not wait_until(lambda: is_settled(station.settings, targets.subscriber.log), SETTLED_WITHIN_S, station.daemon):
        incidents.append("parts, alerts or verdicts were still on their way at the end")
    times.settled_after_s = round(time.monotonic() - ended_s, 1)
    times.memory_end_bytes = sum(station.memory().values())
    targets.subscriber.ask_to_finish()
    if not targets.subscriber.wait(time.monotonic() + DONE_WITHIN_S):
        incidents.append("the subscriber did not end when asked")
    code = station.daemon.stop()
    incidents += [] if code == 0 else [f"the station was asked to stop and ended with code {code}"]
    return [*station.incidents(), *(f"the station's state was error: {reason}" for reason in station.watch.errors), *incidents]


main = main_of(command, "bench.chaos")

if __name__ == "__main__":
    sys.exit(main())
