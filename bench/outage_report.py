"""Whether verdicts slow down while Redis is away: waits by window, ratios of their percentiles, and the spread over the rounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.figures import Wait
from mdss.errors import MdssError

State = Literal["up", "killed", "up again", "stopped"]
STATES: tuple[State, ...] = get_args(State)  # in this order in each round
UP: tuple[State, ...] = ("up", "up again")
DRAWS, SPREAD = 1000, (2.5, 97.5)
ALLOWED, LEAST_ROUNDS = 1.10, 5  # with fewer rounds, redrawing them gives no spread that could be believed
Round = Mapping[str, Sequence[float]]  # window -> the seconds that its parts waited
Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class TimeWindow:
    """A stretch of time in one state, of Redis, say; in ns of the monotonic clock."""

    round: int
    state: str
    begun_ns: int
    ended_ns: int


class Ratio(msgspec.Struct, frozen=True):
    """The ratio of two percentiles, with the 95 % limits that redrawing the rounds gives."""

    value: float
    lower: float
    upper: float


class StateReport(msgspec.Struct, frozen=True):
    """How long parts waited in one state."""

    parts: int
    p50_s: float
    p99_s: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `--json`."""

    rounds: int
    window_s: float
    verdicts: dict[str, int]
    states: dict[str, StateReport]
    p99: dict[str, Ratio]
    p50: dict[str, Ratio]
    alerts: int
    caught_up_s: tuple[float, ...]
    failures: tuple[str, ...]


@dataclass(frozen=True)
class OutageRun:
    """What was measured besides the waits."""

    window_s: float
    evaluations: Sequence[str]  # of all verdicts
    caught_up_s: Sequence[float]  # from each return to the last alert that had waited
    failures: Sequence[str]


def rounds_of(windows: Sequence[TimeWindow], waits: Iterable[Wait], states: Sequence[str] = STATES) -> list[Round]:
    """Sort waits into the windows in which they began. MdssError if no round has an answered part in each of its windows."""
    found: list[dict[str, list[float]]] = [{state: [] for state in states} for _ in range(1 + max(window.round for window in windows))]
    begins = np.array([window.begun_ns for window in windows])
    for offered_ns, done_ns in waits:
        window = windows[max(0, int(np.searchsorted(begins, offered_ns, "right")) - 1)]
        if done_ns and window.begun_ns <= offered_ns < window.ended_ns:
            found[window.round][window.state].append((done_ns - offered_ns) / 1e9)
    whole: list[Round] = [each for each in found if all(each.values())]
    if not whole:
        raise MdssError(f"none of {len(found)} rounds has an answered part in each of its windows; expected a higher --rate or --window-s")
    return whole


def report_of(rounds: Sequence[Round], run: OutageRun) -> Report:
    """Return the report."""
    pairs: dict[str, tuple[tuple[State, ...], tuple[State, ...]]] = {
        "killed": (("killed",), UP),
        "stopped": (("stopped",), UP),
        "floor": (("up again",), ("up",)),
    }
    p99 = {name: ratio(rounds, 99, *pair) for name, pair in pairs.items()}
    slower = [
        f"p99 while Redis is {name} is {each.value:.2f} times that of normal ({each.lower:.2f} to {each.upper:.2f})"
        for name, each in p99.items()
        if name != "floor" and each.lower > ALLOWED and len(rounds) >= LEAST_ROUNDS
    ]
    evaluations = dict(Counter(run.evaluations))
    groups: dict[str, tuple[State, ...]] = {"normal": UP} | {state: (state,) for state in STATES}
    return Report(
        rounds=len(rounds),
        window_s=run.window_s,
        verdicts=evaluations,
        states={name: state_report(rounds, states) for name, states in groups.items()},
        p99=p99,
        p50={name: ratio(rounds, 50, *pair) for name, pair in pairs.items()},
        alerts=sum(count for name, count in evaluations.items() if name != "OK"),
        caught_up_s=tuple(round(seconds, 1) for seconds in run.caught_up_s),
        failures=(*slower, *run.failures),
    )


def ratio(rounds: Sequence[Round], percent: int, over: Sequence[str], under: Sequence[str]) -> Ratio:
    """Return the ratio of a percentile in two groups of states, with its spread over redrawn rounds; a round's windows stay together."""
    random = np.random.default_rng(0)
    pairs = [(_seconds([each], over), _seconds([each], under)) for each in rounds]
    drawn = [random.integers(len(pairs), size=len(pairs)) for _ in range(DRAWS)]
    lower, upper = np.percentile([_ratio([pairs[index] for index in chosen], percent) for chosen in drawn], SPREAD)
    return Ratio(*(round(float(value), 3) for value in (_ratio(pairs, percent), lower, upper)))


def _ratio(pairs: Sequence[tuple[Seconds, Seconds]], percent: int) -> float:
    above, below = (np.percentile(np.concatenate(side), percent) for side in zip(*pairs, strict=True))
    return float(above / below)


def _seconds(rounds: Sequence[Round], states: Sequence[str]) -> Seconds:
    return np.concatenate([np.asarray(each[state]) for each in rounds for state in states])


def state_report(rounds: Sequence[Round], states: Sequence[str]) -> StateReport:
    """Return how long parts waited in these states together."""
    seconds = _seconds(rounds, states)
    p50, p99 = np.percentile(seconds, [50, 99])
    return StateReport(len(seconds), round(float(p50), 4), round(float(p99), 4))


def alert_faults(expected: Iterable[str], found: Iterable[str], where: str) -> list[str]:
    """Return sentences on results that have no alert, or more than one."""
    wanted, counts = set(expected), Counter(found)
    missing, doubled = wanted - counts.keys(), [name for name, count in counts.items() if count > 1]
    sentences = [f"{len(missing)} of {len(wanted)} alerts are missing in the {where} of Redis"] if missing else []
    return sentences + ([f"{len(doubled)} alerts are more than once in the {where} of Redis"] if doubled else [])


def as_text(report: Report) -> str:
    """Return the report as text."""
    lines = [
        f"{report.rounds} rounds of {len(STATES)} windows of {report.window_s:g} s; "
        + ", ".join(f"{name} {count}" for name, count in report.verdicts.items()),
        *(f"{name:<9} p50 {each.p50_s * 1e3:.1f} ms, p99 {each.p99_s * 1e3:.1f} ms ({each.parts})" for name, each in report.states.items()),
        *(f"{name:<9} p99 {ratio_text(each)}, p50 {ratio_text(report.p50[name])} {against(name)}" for name, each in report.p99.items()),
        f"alerts    {report.alerts}; after a return all were there after {max(report.caught_up_s, default=0.0):.1f} s at most",
        *(f"FAILED    {failure}" for failure in report.failures),
    ]
    return "\n".join(lines)


def ratio_text(each: Ratio) -> str:
    """Return a ratio with its spread."""
    return f"x {each.value:.3f} ({each.lower:.3f} to {each.upper:.3f})"


def against(name: str) -> str:
    """Say what a ratio is compared with."""
    return "of one half of the normal windows against the other" if name == "floor" else "against normal"
