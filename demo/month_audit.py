"""The audit at the end of the month: every acknowledged part has one verdict, by one model, and one alert if it is not OK."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from daemon.alert_store import Alert
from mdss.wire.verdict import Verdict


def disagreements(sent: Collection[str], journal: Iterable[Verdict], heard: Iterable[Verdict], alerts: Iterable[Alert]) -> Iterator[str]:
    """Yield a sentence for each part whose records do not agree; `sent` are part ids, `heard` is what a subscriber received."""
    judged = list(journal)
    yield from _uneven("in the journal", sent, [verdict.part_id for verdict in judged])
    yield from _uneven("at the subscriber", sent, [verdict.part_id for verdict in heard])
    rejected = [verdict.result_id for verdict in judged if verdict.evaluation != "OK"]
    yield from _uneven("in Redis", rejected, [alert.result_id for alert in alerts])
    for verdict in judged:
        versions = {branch.model_version for branch in verdict.branches.values()} - {verdict.model.version if verdict.model else ""}
        if versions:
            yield f"{verdict.part_id}: seen by {', '.join(sorted(versions))}, judged by {verdict.model and verdict.model.version}"


def _uneven(where: str, expected: Collection[str], found: Iterable[str]) -> Iterator[str]:
    """Yield what is missing, or there more than once."""
    counts = Counter(found)
    yield from (f"{name}: found {counts[name]} times {where}, expected once" for name in dict.fromkeys(expected) if counts[name] != 1)
    yield from (f"{name}: found {where}, expected nowhere" for name in counts.keys() - set(expected))
