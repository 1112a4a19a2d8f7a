"""How the rate of a station grows with the number of cameras, and with the number of processes per branch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import repeat

from demo.station import camera_of
from mdss.settings import Settings
from measure.line import Listener, MeasuredStation, rate_of, station
from measure.results import GrowthFigures
from measure.stages import LEAST_PARTS, Effort
from measure.subject import Size, Subject
from trainer.progress import Meter


def measure_growth(
    subject: Subject, size: Size, effort: Effort, cameras: tuple[int, ...], processes: tuple[int, ...]
) -> list[GrowthFigures]:
    """Return the rate for each combination of cameras and processes per branch; each number of processes gets its own station."""
    found = []
    with Meter(f"growth {size}", len(cameras) * len(processes)) as meter:
        for count in processes:
            with station(subject, branches={branch: {"count": count} for branch in ("rgb", "sdf")}) as (settings, _):
                for number, rate in rates(subject, size, effort, settings, cameras):
                    found.append(GrowthFigures(processes=count, cameras=number, parts_per_s=round(rate, 2)))
                    meter.step()
    return found


def rates(subject: Subject, size: Size, effort: Effort, settings: Settings, numbers: tuple[int, ...]) -> Iterator[tuple[int, float]]:
    """Yield each number of cameras with the verdicts per second while all of them use all their credit."""
    listener, scans = Listener(settings), subject.scans_at(size)
    try:
        for cameras in numbers:
            share = Effort(max(LEAST_PARTS, effort.parts // cameras), effort.longest_s)
            with ExitStack() as open_senders, ThreadPoolExecutor(cameras) as pool:
                names = [f"bench-{cameras}-{number}" for number in range(cameras)]
                senders = [open_senders.enter_context(camera_of(settings, name)) for name in names]
                lines = [MeasuredStation(subject, sender, listener) for sender in senders]
                heard_ns = [
                    each for line in pool.map(MeasuredStation.send_at_full_load, lines, repeat(scans), repeat(share)) for each in line
                ]
            yield cameras, rate_of(heard_ns)
    finally:
        listener.stop()
