"""More cameras than a station can serve, all as fast as possible but one, which is slow: memory must stay flat, and all be served."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.bench_line import Product
from bench.bench_station import (
    BenchStation,
    StationOptions,
    conclude,
    empty_run_folder,
    read_metrics,
    run_station,
    station_options,
    wait_until,
)
from bench.command_line import main_of
from bench.overload_report import MemorySample, OverloadRun, Report, as_text, report_of
from mdss.errors import MdssError
from mdss.wire.verdict import Verdict

EXAMPLE = "Example: python -m bench.overload --cameras 10 --frames 10000 --json overload.json"
BUSY = 'mdss_frames_rejected_total{code="BUSY"}'
HELD = "mdss_held_bytes"
SLOW, SLOW_EVERY_S = "slow", 1.0
LOOK_EVERY_S = 1.0
MOST_S_PER_FRAME, LEAST_S = 2.0, 60.0


@dataclass(frozen=True)
class Order:
    """What to run."""

    cameras: int
    frames: int
    deadline_ms: int
    credit: int


@click.command(epilog=EXAMPLE)
@click.option("--cameras", type=click.IntRange(3, 50), default=10, show_default=True, help="How many send; one of them a part a second.")
@click.option("--frames", type=click.IntRange(50), default=10_000, show_default=True, help="Verdicts to wait for.")
@click.option("--deadline-ms", type=click.IntRange(100), default=5000, show_default=True, help="The station's camera.deadline_ms.")
@click.option("--credit", type=click.IntRange(1, 64), default=4, show_default=True, help="The station's camera.credit.")
@station_options("out/overload")
def command(**options: Any) -> None:
    """Let many cameras send as fast as they are let, and see who is served, how long parts wait and how much memory that takes.

    Exit code 0 if every frame has its verdict, if no fast camera got less than half of another's share, if the slow camera's parts were
    all judged in time, and if memory at the end is where it was after 1000 frames (5 % and 20 MB are allowed).
    """
    given, order = StationOptions.taken_from(options), Order(**options)
    with empty_run_folder(given.out) as folder:
        report = overload(order, folder, given.product())
        conclude(report, as_text(report), folder, given.json_path)


def overload(order: Order, folder: Path, product: Product) -> Report:
    """Run everything, and return the report."""
    sections: dict[str, dict[str, Any]] = {
        "station": {"name": "overload"},
        "camera": {"deadline_ms": order.deadline_ms, "credit": order.credit},
    }
    with run_station(folder, product, sections) as station:
        for number in range(1, order.cameras):
            station.camera(f"fast-{number}", 0)
        station.camera(SLOW, SLOW_EVERY_S)
        looks = sample_until_judged(station, order.frames)
        waits = station.answers()
        busy = int(read_metrics(station.settings.http).get(BUSY, 0))
        return report_of(
            OverloadRun(
                waits={name: [line.wait for line in lines] for name, lines in waits.items()},
                slow=SLOW,
                slow_every_s=SLOW_EVERY_S,
                codes=codes_of(station.verdicts()),
                judged=station.judged_count(),
                unjudged=station.unjudged_count(),
                busy=busy,
                looks=looks,
                incidents=station.incidents(),
            )
        )


def sample_until_judged(station: BenchStation, frames: int) -> list[MemorySample]:
    """Look at the station once a second until `frames` parts are judged."""
    looks = list[MemorySample]()

    def is_enough() -> bool:
        held = int(read_metrics(station.settings.http).get(HELD, 0))
        looks.append(MemorySample(station.judged_count(), station.memory(), held))
        return looks[-1].judged >= frames

    if not wait_until(is_enough, max(LEAST_S, MOST_S_PER_FRAME * frames), station, LOOK_EVERY_S):
        raise MdssError(f"the station judged {looks[-1].judged} parts and then took too long; expected {frames}")
    return looks


def codes_of(verdicts: Iterable[Verdict]) -> dict[str, dict[str, int]]:
    """Count the Undefined verdicts by camera and code."""
    found = defaultdict[str, Counter[str]](Counter)
    for verdict in verdicts:
        if verdict.code is not None:
            found[verdict.source_id][verdict.code] += 1
    return {name: dict(codes) for name, codes in found.items()}


main = main_of(command, "bench.overload")

if __name__ == "__main__":
    sys.exit(main())
