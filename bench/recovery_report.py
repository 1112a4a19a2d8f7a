"""What killed processes cost: how long each was away, and what happened to the parts in the station meanwhile."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from bench.figures import counts_text

HEADING = "process   kills  ready p50  longest  in flight  2nd attempt  longest wait  Undefined"


class Kill(msgspec.Struct, frozen=True):
    """One killed process: the time of the kill (UTC), and the seconds until it was ready again."""

    name: str
    at_ns: int
    seconds: float


class JudgedTimes(msgspec.Struct, frozen=True):
    """What the journal says of one part: when it came and when it was judged (UTC), at which attempt, and the result."""

    received_ns: int
    published_ns: int
    attempt: int
    evaluation: str
    code: str


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """All kills of one process together."""

    kills: int
    p50_s: float
    longest_s: float
    in_flight: int  # parts accepted but not judged at the moment of a kill
    second_attempts: int  # parts judged at a later attempt than the first
    undefined: dict[str, int]  # by code
    longest_wait_s: float  # of a part, from its arrival to its verdict


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `--json`."""

    parts: int
    unanswered: int
    usual_p50_s: float
    usual_p99_s: float
    groups: dict[str, Group]
    kills: tuple[Kill, ...]
    failures: tuple[str, ...]


@dataclass(frozen=True)
class RecoveryRun:
    """What was measured besides verdicts and kills."""

    within_s: float
    unanswered: int
    failures: Sequence[str]


def report_of(kills: Sequence[Kill], judged: Sequence[JudgedTimes], run: RecoveryRun) -> Report:
    """Return the report; each part belongs to the last kill before its verdict."""
    by_kill = sorted_by_kill(kills, judged)
    usual = [seconds_of(each) for each in by_kill[-1]] or [0.0]
    p50, p99 = np.percentile(usual, [50, 99])
    slow = [
        f"{kill.name} was ready again {kill.seconds:.1f} s after its kill; expected at most {run.within_s:g} s"
        for kill in kills
        if kill.seconds > run.within_s
    ]
    missing = [f"{run.unanswered} frames have no verdict or no DONE"] if run.unanswered else []
    return Report(
        parts=len(judged),
        unanswered=run.unanswered,
        usual_p50_s=round(float(p50), 3),
        usual_p99_s=round(float(p99), 3),
        groups={name: group_of(name, kills, by_kill) for name in dict.fromkeys(kill.name for kill in kills)},
        kills=tuple(kills),
        failures=(*slow, *missing, *run.failures),
    )


def sorted_by_kill(kills: Sequence[Kill], judged: Sequence[JudgedTimes]) -> Mapping[int, list[JudgedTimes]]:
    """Return parts by the number of the last kill before their verdict; -1 has those before the first."""
    times, found = [kill.at_ns for kill in kills], defaultdict[int, list[JudgedTimes]](list)
    for each in judged:
        found[bisect_right(times, each.published_ns) - 1].append(each)
    return found


def group_of(name: str, kills: Sequence[Kill], by_kill: Mapping[int, list[JudgedTimes]]) -> Group:
    """Return the figures of one process's kills."""
    numbers = [number for number, kill in enumerate(kills) if kill.name == name]
    seconds = [kills[number].seconds for number in numbers]
    parts = [each for number in numbers for each in by_kill.get(number, [])]
    return Group(
        kills=len(numbers),
        p50_s=round(float(np.median(seconds)), 2),
        longest_s=round(max(seconds), 2),
        in_flight=sum(each.received_ns < kills[number].at_ns for number in numbers for each in by_kill.get(number, [])),
        second_attempts=sum(each.attempt > 1 and not each.code for each in parts),
        undefined=dict(Counter(each.code for each in parts if each.code)),
        longest_wait_s=round(max((seconds_of(each) for each in parts), default=0.0), 2),
    )


def seconds_of(judged: JudgedTimes) -> float:
    """Return how long a part was in the station."""
    return (judged.published_ns - judged.received_ns) / 1e9


def as_text(report: Report) -> str:
    """Return the report as text."""
    lines = [
        f"{report.parts} parts; before the first kill a verdict took p50 {report.usual_p50_s:.2f} s, p99 {report.usual_p99_s:.2f} s",
        HEADING,
    ]
    for name, group in report.groups.items():
        lines.append(
            f"{name:<9} {group.kills:>5} {group.p50_s:>8.2f} s {group.longest_s:>6.2f} s {group.in_flight:>10} {group.second_attempts:>12}"
            f" {group.longest_wait_s:>11.2f} s  {counts_text(group.undefined)}"
        )
    return "\n".join([*lines, *(f"FAILED  {failure}" for failure in report.failures)])
