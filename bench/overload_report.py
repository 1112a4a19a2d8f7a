"""The report of an overloaded station: each camera's share, how long parts waited, how much memory it took, and what must not be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from bench.figures import MOST_GROWTH, SLACK_BYTES, Durations, Wait, counts_text, unanswered, wait_durations

LEAST_SHARE = 0.5  # of another camera's verdicts in the same time
WARM_FRAMES = 1000  # or a tenth of a shorter run: by then every buffer has had its largest part


class MemorySample(msgspec.Struct, frozen=True):
    """What the station took at one moment."""

    judged: int
    memory: dict[str, int]  # process -> bytes
    held_bytes: int

    @property
    def total(self) -> int:
        """The bytes of all processes together."""
        return sum(self.memory.values())


@dataclass(frozen=True)
class OverloadRun:
    """What was measured: each camera's waits, the journal's codes, and the looks during the run."""

    waits: Mapping[str, Sequence[Wait]]
    slow: str  # the camera that sends a part every `slow_every_s`
    slow_every_s: float
    codes: Mapping[str, Mapping[str, int]]  # camera -> code of Undefined verdicts -> parts
    judged: int  # when all cameras had finished; the last look is from before
    unjudged: int
    busy: int
    looks: Sequence[MemorySample]
    incidents: Sequence[str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `--json`."""

    sent: int
    judged: int
    unanswered: int
    undefined: dict[str, int]
    seconds: float
    verdicts_per_s: float
    shares: dict[str, int]
    fast: Durations
    slow: Durations
    busy: int
    memory_warm: dict[str, int]
    memory_end: dict[str, int]
    memory_most: int
    held_bytes_most: int
    failures: tuple[str, ...]


def report_of(load: OverloadRun) -> Report:
    """Return the report."""
    fast = {name: waits for name, waits in load.waits.items() if name != load.slow}
    begun_ns, ended_ns = common_time(list(fast.values()))
    seconds = (ended_ns - begun_ns) / 1e9
    shares = {name: sum(begun_ns < done_ns <= ended_ns for _, done_ns in waits) for name, waits in fast.items()}
    done_slow = sum(begun_ns < done_ns <= ended_ns for _, done_ns in load.waits[load.slow])
    due = min(int(seconds / load.slow_every_s), max(shares.values()))  # a station slower than the slow camera gives nobody that many
    every = [wait for waits in load.waits.values() for wait in waits]
    warm, end = warm_look(load.looks), load.looks[-1]
    return Report(
        sent=len(every),
        judged=load.judged,
        unanswered=unanswered(every) + load.unjudged,
        undefined=dict(sum((Counter(codes) for codes in load.codes.values()), Counter())),
        seconds=round(seconds, 1),
        verdicts_per_s=round((sum(shares.values()) + done_slow) / seconds, 2) if seconds > 0 else 0.0,
        shares=shares,
        fast=wait_durations([wait for waits in fast.values() for wait in waits]),
        slow=wait_durations(load.waits[load.slow]),
        busy=load.busy,
        memory_warm=warm.memory,
        memory_end=end.memory,
        memory_most=max(look.total for look in load.looks),
        held_bytes_most=max(look.held_bytes for look in load.looks),
        failures=(
            *unanswered_sentences(every, load.unjudged),
            *unfairness_sentences(shares),
            *starvation_sentences(load, done_slow, due, seconds),
            *memory_growth_sentences(warm, end),
            *load.incidents,
        ),
    )


def common_time(cameras: Sequence[Sequence[Wait]]) -> tuple[int, int]:
    """Return the span in which all cameras got answers (ns)."""
    done = [sorted(done_ns for _, done_ns in waits if done_ns) or [0] for waits in cameras]
    return max(times[0] for times in done), min(times[-1] for times in done)


def warm_look(looks: Sequence[MemorySample]) -> MemorySample:
    """Return the first look after WARM_FRAMES frames, or a tenth of a shorter run."""
    warm = min(WARM_FRAMES, looks[-1].judged // 10)
    return next(look for look in looks if look.judged >= warm)


def unanswered_sentences(every: Sequence[Wait], unjudged: int) -> list[str]:
    """Return a sentence if parts have no verdict."""
    without = unanswered(every)
    return [f"{without} frames got no DONE and {unjudged} accepted parts have no verdict"] if without or unjudged else []


def unfairness_sentences(shares: Mapping[str, int]) -> list[str]:
    """Return a sentence if a camera got far fewer verdicts than another."""
    least, most = min(shares, key=lambda name: shares[name]), max(shares, key=lambda name: shares[name])
    if shares[least] >= LEAST_SHARE * shares[most]:
        return []
    return [f"{least} got {shares[least]} verdicts while {most} got {shares[most]}; expected at least {LEAST_SHARE:.0%} of that"]


def starvation_sentences(load: OverloadRun, done: int, due: int, seconds: float) -> list[str]:
    """Return sentences if the slow camera's parts were late, or if it could not send the few that it has."""
    late = load.codes.get(load.slow, {})
    found = [f"the slow camera's parts ended as {counts_text(late)}; expected all of them judged in time"] if late else []
    if done < LEAST_SHARE * due:
        found.append(f"the slow camera got {done} verdicts in {seconds:.0f} s; expected about {due}")
    return found


def memory_growth_sentences(warm: MemorySample, end: MemorySample) -> list[str]:
    """Return a sentence if memory has grown by more than is allowed."""
    allowed = warm.total * MOST_GROWTH + SLACK_BYTES
    if end.total <= allowed:
        return []
    by_name = {name: size - warm.memory.get(name, 0) for name, size in end.memory.items()}
    most = max(by_name, key=lambda name: by_name[name])
    grew = f"memory grew from {megabytes(warm.total)} after {warm.judged} verdicts to {megabytes(end.total)} after {end.judged}"
    return [f"{grew}, {most} by {megabytes(by_name[most])}; expected at most {megabytes(int(allowed))}"]


def as_text(report: Report) -> str:
    """Return the report as text."""
    shares = sorted(report.shares.values())
    warm, end = (sum(memory.values()) for memory in (report.memory_warm, report.memory_end))
    lines = [
        f"frames       {report.sent} sent, {report.judged} judged, {report.unanswered} without a verdict",
        f"Undefined    {counts_text(report.undefined)}",
        f"pace         {report.verdicts_per_s:.1f} verdicts per second over {report.seconds:.0f} s in which all cameras sent",
        f"shares       {shares[0]} to {shares[-1]} verdicts for each of the {len(shares)} fast cameras",
        f"waiting      {report.fast.text(2)} for their parts, from send to DONE",
        f"             {report.slow.text(2)} for the slow camera's",
        f"BUSY         {report.busy} answers",
        f"memory       {megabytes(warm)} when warm, {megabytes(end)} at the end, {megabytes(report.memory_most)} at most",
        *(f"{name:>12} {megabytes(size)} -> {megabytes(report.memory_end.get(name, 0))}" for name, size in report.memory_warm.items()),
        f"frames held  {megabytes(report.held_bytes_most)} at most",
        *(f"FAILED       {failure}" for failure in report.failures),
    ]
    return "\n".join(lines)


def megabytes(size: int) -> str:
    """Return bytes as text in MB."""
    return f"{size / 1e6:.0f} MB"
