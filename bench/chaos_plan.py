"""What befalls the station in a chaos run, and when: drawn from the seed alone, so that a run can be had again."""

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
STALL_S = 5.0  # supervisor.stall_timeout_s of the station under test; a process that hangs for longer is replaced


@dataclass(frozen=True)
class Fault:
    """One thing that happens: after so many seconds, of a kind, to somebody, for a while (0: in a moment)."""

    at_s: float
    kind: Kind
    target: str
    lasts_s: float


@dataclass(frozen=True)
class Stream:
    """Faults that come one after the other, never two at once: one of the kinds, to one of the targets, for a while."""

    every_s: float
    kinds: tuple[Kind, ...]
    targets: tuple[str, ...]
    lasts_s: tuple[float, float] = (0.0, 0.0)


def streams(kill_every_s: float) -> tuple[Stream, ...]:
    """Return all that runs side by side."""
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


def plan(seconds: float, seed: int, kill_every_s: float, without: Collection[str] = ()) -> list[Fault]:
    """Return the faults of a run in order of time; every stream has at least one, and leaving out a kind changes no other."""
    drawn = list[Fault]()
    for stream in streams(kill_every_s):
        drawn += _faults(stream, seconds, Random(f"{seed}/{stream.kinds[0]}"))  # noqa: S311 - a seed, no secret
    return sorted((fault for fault in drawn if fault.kind not in without), key=lambda fault: (fault.at_s, fault.kind))


def _faults(stream: Stream, seconds: float, random: Random) -> Iterator[Fault]:
    """Yield one fault for each equal stretch of the time, somewhere in the first part of it, over at its end at the latest."""
    count = max(1, round(seconds / stream.every_s))
    stretch_s = seconds / count
    kinds, targets = _shuffled(stream.kinds, count, random), _shuffled(stream.targets, count, random)
    for number, (kind, target) in enumerate(zip(kinds, targets, strict=True)):
        at_s = (number + random.uniform(0.0, 0.8)) * stretch_s
        yield Fault(at_s, kind, target, min(random.uniform(*stream.lasts_s), (number + 1) * stretch_s - at_s))


def _shuffled(values: tuple[Value, ...], count: int, random: Random) -> list[Value]:
    """Return so many of the values in random order, none of them twice more often than another."""
    rounds = [random.sample(values, len(values)) for _ in range(-(-count // len(values)))]
    return [value for each in rounds for value in each][:count]
