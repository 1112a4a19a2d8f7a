"""The report of many model changes under load: parts lost, doubled, late or judged by two models; the time of changes; memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from bench.figures import MOST_GROWTH, SLACK_BYTES, Durations, Wait, counts_text, durations_of, unanswered, wait_durations
from mdss.wire.verdict import Verdict

WARM = 0.2  # of the changes: by then every buffer for two models has reached its size


class Swap(msgspec.Struct, frozen=True):
    """One change: the version, the seconds from its promotion until it judged, and the memory of the processes after that."""

    version: str
    seconds: float
    memory: dict[str, int]  # process -> bytes


@dataclass(frozen=True)
class SwapRun:
    """What was measured."""

    swaps: Sequence[Swap]
    quiet: Sequence[Wait]  # waits of parts offered before the first change
    swapping: Sequence[Wait]  # waits of parts offered from then on
    verdicts: Sequence[Verdict]
    unjudged: int
    refused: int  # versions that the station did not take
    incidents: Sequence[str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `--json`."""

    swaps: int
    took: Durations
    sent: int
    judged: int
    lost: int
    doubled: int
    by_two_models: int
    out_of_order: int
    late: int
    evaluations: dict[str, int]
    quiet: Durations
    swapping: Durations
    memory_warm: dict[str, int]  # process -> the most after a change in the first half, once it is warm
    memory_end: dict[str, int]  # the same in the second half
    bytes_per_swap: dict[str, int]
    failures: tuple[str, ...]


def report_of(run: SwapRun) -> Report:
    """Return the report."""
    verdicts, waits = run.verdicts, [*run.quiet, *run.swapping]
    lost = unanswered(waits) + run.unjudged
    doubled = sum(count - 1 for count in Counter((each.source_id, each.frame_id) for each in verdicts).values())
    mixed, disordered, late = sum(map(is_mixed, verdicts)), out_of_order(verdicts), sum(each.deadline_missed for each in verdicts)
    warm, end = memory_by_halves(run.swaps)
    return Report(
        swaps=len(run.swaps),
        took=durations_of([swap.seconds for swap in run.swaps], 2),
        sent=len(waits),
        judged=len(verdicts),
        lost=lost,
        doubled=doubled,
        by_two_models=mixed,
        out_of_order=disordered,
        late=late,
        evaluations=dict(Counter(each.code or each.evaluation for each in verdicts)),
        quiet=wait_durations(run.quiet),
        swapping=wait_durations(run.swapping),
        memory_warm=warm,
        memory_end=end,
        bytes_per_swap=slopes(run.swaps),
        failures=(
            *failure_if_any(lost, "parts without a verdict"),
            *failure_if_any(doubled, "verdicts too many"),
            *failure_if_any(mixed, "parts judged by two models, or by none"),
            *failure_if_any(disordered, "parts judged by an earlier model than one that was accepted before them"),
            *failure_if_any(late, "parts later than their deadline"),
            *failure_if_any(run.refused, "versions that the station did not take"),
            *memory_growth_sentences(warm, end),
            *run.incidents,
        ),
    )


def is_mixed(verdict: Verdict) -> bool:
    """Whether a part was judged by two models, or by none."""
    seen = {branch.model_version for branch in verdict.branches.values()}
    return verdict.model is None or seen != {verdict.model.version}


def out_of_order(verdicts: Iterable[Verdict]) -> int:
    """Return the number of parts judged by an earlier generation than a part accepted before, or by one generation under two names."""
    latest, found, names = 0, 0, dict[int, str]()
    for verdict in sorted(verdicts, key=lambda each: each.times.received):
        if verdict.model is not None:
            generation, version = verdict.model.generation, verdict.model.version
            found += generation < latest or names.setdefault(generation, version) != version
            latest = max(latest, generation)
    return found


def warm_swaps(swaps: Sequence[Swap]) -> Sequence[Swap]:
    """Return the changes from when the processes are warm."""
    return swaps[int(WARM * len(swaps)) :]


def memory_by_halves(swaps: Sequence[Swap]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the most memory of each process in either half of the changes, once it is warm.

    A single look would not do: between the end of the old model and the next part, a process holds less.
    """
    warm = warm_swaps(swaps)
    first, second = warm[: (len(warm) + 1) // 2], warm[len(warm) // 2 :]
    return most_memory(first), most_memory(second)


def most_memory(swaps: Sequence[Swap]) -> dict[str, int]:
    """Return the most memory of each process that still runs at the end."""
    return {name: max(swap.memory.get(name, 0) for swap in swaps) for name in swaps[-1].memory}


def slopes(swaps: Sequence[Swap]) -> dict[str, int]:
    """Return the bytes by which each process grows per change, by least squares over all changes once it is warm."""
    warm = warm_swaps(swaps)
    if len(warm) < 2:
        return {}
    numbers = np.arange(len(warm))
    return {name: round(float(np.polyfit(numbers, [swap.memory.get(name, 0) for swap in warm], 1)[0])) for name in warm[-1].memory}


def failure_if_any(count: int, what: str) -> list[str]:
    """Return a sentence if there is any of what must not be."""
    return [f"{count} {what}; expected none"] if count else []


def memory_growth_sentences(warm: Mapping[str, int], end: Mapping[str, int]) -> list[str]:
    """Return sentences on the processes that have grown by more than is allowed."""
    found = []
    for name, size in end.items():
        before = warm.get(name, size)
        if size > before * MOST_GROWTH + SLACK_BYTES:
            found.append(f"{name} grew from {before / 1e6:.0f} MB to {size / 1e6:.0f} MB; expected at most 5 % and 20 MB")
    return found


def as_text(report: Report) -> str:
    """Return the report as text."""
    lines = [
        f"changes      {report.swaps}: {report.took.text(2)}, from the promotion until the new model judged",
        f"parts        {report.sent} sent, {report.judged} judged: {report.lost} lost, {report.doubled} doubled",
        f"models       {report.by_two_models} parts by two models, {report.out_of_order} out of order",
        f"verdicts     {counts_text(report.evaluations)}; {report.late} late",
        f"waiting      {report.quiet.text(3)} before the changes, from send to DONE",
        f"             {report.swapping.text(3)} while there were changes",
        *(f"{name:>12} {line}" for name, line in memory_lines(report)),
        *(f"FAILED       {failure}" for failure in report.failures),
    ]
    return "\n".join(lines)


def memory_lines(report: Report) -> list[tuple[str, str]]:
    """Return each process's most memory in the first half (once warm) and in the second, and its slope."""
    warm: Mapping[str, int] = report.memory_warm
    return [
        (name, f"{warm.get(name, 0) / 1e6:.1f} MB -> {size / 1e6:.1f} MB, {report.bytes_per_swap.get(name, 0) / 1e3:+.1f} kB a change")
        for name, size in report.memory_end.items()
    ]
