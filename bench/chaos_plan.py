"""The faults of a chaos run and their times, drawn from the seed alone, so that a run can be repeated."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar, get_args

Value = TypeVar("Value")
OfStation = Literal["kill", "stop", "hang", "kill_station", "stop_supervisor", "disk_full", "reload", "broken_reload"]
OfOthers = Literal["redis_killed", "redis_stopped", "redis_hangs", "kill_camera", "kill_subscriber"]
Kind = OfStation | OfOthers
KINDS: tuple[str, ...] = (*get_args(OfStation), *get_args(OfOthers))
PROCESSES = ("ingest", "prepare", "rgb-0", "sdf-0", "fusion", "alerts")
STALL_S = 5.0  # supervisor.stall_timeout_s of the station under test: it replaces a process that hangs longer


@dataclass(frozen=True)
class PlannedFault:
    """One fault: when it begins, its kind, its target, and how long it lasts (0: no time)."""

    at_s: float
    kind: Kind
    target: str
    lasts_s: float


@dataclass(frozen=True)
class Stream:
    """Faults that follow one another and never overlap; each has one of the kinds and one of the targets."""

    every_s: float
    kinds: tuple[Kind, ...]
    targets: tuple[str, ...]
    lasts_s: tuple[float, float] = (0.0, 0.0)


def streams(kill_every_s: float) -> tuple[Stream, ...]:
    """Return all streams, which run at the same time."""
    return (
        Stream(kill_every_s, ("kill",), PROCESSES),
        Stream(12, ("stop",), PROCESSES, (0.2, 3.0)),
        Stream(50, ("hang",), PROCESSES, (STALL_S + 2, STALL_S + 6)),
        Stream(60, ("kill_station",), ("station",), (0.5, 2.0)),
        Stream(75, ("stop_supervisor",), ("supervisor",), (0.5, 3.0)),
        Stream(40, ("redis_killed", "redis_stopped", "redis_hangs"), ("redis",), (0.5, 10.0)),
        Stream(45, ("disk_full",), ("disk",), (1.0, 6.0)),
        Stream(40, ("reload",), ("settings",)),
        Stream(60, ("broken_reload",), ("settings",), (2.0, 6.0)),
        Stream(25, ("kill_camera",), ("camera",), (0.2, 2.0)),
        Stream(25, ("kill_subscriber",), ("subscriber",), (0.2, 2.0)),
    )


def plan(seconds: float, seed: int, kill_every_s: float, without: Collection[str] = ()) -> list[PlannedFault]:
    """Return the faults of a run in order of time. Every stream has at least one, and leaving out a kind changes no other."""
    drawn = list[PlannedFault]()
    for stream in streams(kill_every_s):
        drawn += _faults(stream, seconds, Random(f"{seed}/{stream.kinds[0]}"))  # noqa: S311 - a seed, no secret
    return sorted((fault for fault in drawn if fault.kind not in without), key=lambda fault: (fault.at_s, fault.kind))


def _faults(stream: Stream, seconds: float, random: Random) -> Iterator[PlannedFault]:
    """Yield one fault in each equal stretch of the time; it begins in the first 80 % of its stretch and ends within it."""
    count = max(1, round(seconds / stream.every_s))
    stretch_s = seconds / count
    kinds, targets = _shuffled(stream.kinds, count, random), _shuffled(stream.targets, count, random)
    for number, (kind, target) in enumerate(zip(kinds, targets, strict=True)):
        at_s = (number + random.uniform(0.0, 0.8)) * stretch_s
        yield PlannedFault(at_s, kind, target, min(random.uniform(*stream.lasts_s), (number + 1) * stretch_s - at_s))


def _shuffled(values: tuple[Value, ...], count: int, random: Random) -> list[Value]:
    """Return `count` values in random order, all of them equally often, give or take one."""
    rounds = [random.sample(values, len(values)) for _ in range(-(-count // len(values)))]
    return [value for each in rounds for value in each][:count]
