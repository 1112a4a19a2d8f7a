"""The report of a chaos run: faults, parts, findings of the audit, and how long things were away; as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from bench.chaos_audit import Entry, Finding, Records
from bench.figures import Durations, counts_text, durations_of
from bench.station_watch import STATION, Recovery

SHOWN = 20  # findings in the text


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `--json`."""

    seed: int
    seconds: float
    faults: dict[str, int]
    killed: dict[str, int]
    missed: int
    sent: int
    acknowledged: int
    refused: int
    judged: dict[str, int]
    alerts: int
    lost: int
    doubled: int
    disagreeing: int
    findings: tuple[Finding, ...]
    unhindered: Durations
    processes: Durations
    station: Durations
    recoveries: tuple[Recovery, ...]
    cut_short: int
    longest_silence_s: float
    ready_after_s: float
    settled_after_s: float
    memory_start_bytes: int
    memory_end_bytes: int
    incidents: tuple[str, ...]


@dataclass
class RunTimes:
    """What was measured during the run."""

    begun_ns: int = 0
    ended_ns: int = 0
    ready_after_s: float = 0.0
    settled_after_s: float = 0.0
    memory_start_bytes: int = 0
    memory_end_bytes: int = 0


@dataclass(frozen=True)
class FaultSummary:
    """What was done to the station, and how it coped."""

    seed: int
    faults: Mapping[str, int]
    killed: Mapping[str, int]
    missed: int
    recoveries: Sequence[Recovery]
    cut_short: int
    incidents: Sequence[str]


def report_of(records: Records, findings: Sequence[Finding], faults: FaultSummary, times: RunTimes) -> Report:
    """Return the report."""
    events = Counter(line.event for line in records.cameras)
    kinds = Counter(finding.kind for finding in findings)
    return Report(
        seed=faults.seed,
        seconds=round((times.ended_ns - times.begun_ns) / 1e9, 1),
        faults=dict(sorted(faults.faults.items())),
        killed=dict(sorted(faults.killed.items())),
        missed=faults.missed,
        sent=events["sent"],
        acknowledged=len({(line.source_id, line.frame_id) for line in records.cameras if line.event == "ack"}),
        refused=events["refused"],
        judged=verdict_counts(records.journal),
        alerts=sum(alert.where == "stream" for alert in records.redis),
        lost=kinds["lost"],
        doubled=kinds["doubled"],
        disagreeing=kinds["disagrees"],
        findings=tuple(findings),
        unhindered=durations_of([each.seconds for each in faults.recoveries if each.name != STATION and not each.is_hindered], 2),
        processes=durations_of([each.seconds for each in faults.recoveries if each.name != STATION], 2),
        station=durations_of([each.seconds for each in faults.recoveries if each.name == STATION], 2),
        recoveries=tuple(faults.recoveries),
        cut_short=faults.cut_short,
        longest_silence_s=longest_silence_s([entry.published_ns for entry in records.journal], times),
        ready_after_s=times.ready_after_s,
        settled_after_s=times.settled_after_s,
        memory_start_bytes=times.memory_start_bytes,
        memory_end_bytes=times.memory_end_bytes,
        incidents=tuple(faults.incidents),
    )


def verdict_counts(journal: Sequence[Entry]) -> dict[str, int]:
    """Count verdicts by evaluation, and by code if there is one."""
    names = [f"{entry.evaluation}{entry.code and '/'}{entry.code}" for entry in journal if entry.sequence is not None]
    return dict(sorted(Counter(names).items()))


def longest_silence_s(published_ns: Sequence[int], times: RunTimes) -> float:
    """Return the longest time without a verdict while faults happened."""
    within = sorted(time_ns for time_ns in published_ns if times.begun_ns < time_ns < times.ended_ns)
    moments = [times.begun_ns, *within, times.ended_ns]
    return round(max(after - before for before, after in pairwise(moments)) / 1e9, 2)


def as_text(report: Report) -> str:
    """Return the report as text."""
    lines = [
        f"chaos of {report.seconds:.0f} s, seed {report.seed}",
        f"faults       {counts_text(report.faults)}; {report.missed} befell nobody",
        f"killed       {counts_text(report.killed)}: {sum(report.killed.values())} kills",
        f"parts        {report.sent} sent, {report.acknowledged} acknowledged, {report.refused} refused",
        f"judged       {counts_text(report.judged)}; {report.alerts} alerts",
        f"audit        lost {report.lost}, doubled {report.doubled}, disagreeing {report.disagreeing}",
        f"recovery     of a killed process {report.unhindered.text(1)}",
        f"             with those that more befell meanwhile {report.processes.text(1)}; killed again before {report.cut_short}",
        f"             of the killed station, while its processes are killed {report.station.text(1)}",
        f"silence      {report.longest_silence_s:.1f} s at most without a verdict",
        f"afterwards   ready after {report.ready_after_s:.1f} s, all parts settled after {report.settled_after_s:.1f} s",
        f"memory       {report.memory_start_bytes / 1e6:.0f} MB at the start, {report.memory_end_bytes / 1e6:.0f} MB at the end",
        *(f"incident     {incident}" for incident in report.incidents),
        *(f"{finding.kind:<12} {finding.sentence}" for finding in report.findings[:SHOWN]),
    ]
    if len(report.findings) > SHOWN:
        lines.append(f"             and {len(report.findings) - SHOWN} more")
    return "\n".join(lines)
