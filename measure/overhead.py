"""Overhead: how long a part waits outside the networks, and in which stage, from the `times` in its verdict and in others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mdss.wire.verdict import Times, Verdict

Spans = list[tuple[int, int]]  # (begin, end) in ns, in order and without overlap


@dataclass(frozen=True)
class DeliveredVerdict:
    """A part's verdict, when its camera sent the part, and when a subscriber heard the verdict (UTC ns, as all times in verdicts)."""

    verdict: Verdict
    sent: int
    heard: int


def utc_ns(monotonic_ns: int) -> int:
    """Return a moment of the monotonic clock in UTC ns, the time in verdicts."""
    return monotonic_ns + time.time_ns() - time.monotonic_ns()


def busy_spans(verdicts: Iterable[Verdict]) -> Spans:
    """Return the spans in which any network was at work on one of these parts."""
    joined: Spans = []
    for begin, end in sorted(span for verdict in verdicts for span in _own_spans(verdict.times)):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return joined


def networks_ns(times: Times, busy: Spans) -> int:
    """Return how long a prepared part was in the networks, or waited while they worked on another part."""
    last = _last_map(times)
    if last is None or times.prepared is None:
        return 0
    return sum(max(0, min(end, last) - max(begin, times.prepared)) for begin, end in busy)


def stage_overheads_ms(part: DeliveredVerdict, in_networks_ns: int) -> Mapping[str, float]:
    """Return a part's overhead by stage, in the order of the stages; together they are all of it. Nothing if no network saw the part.

    `in_networks_ns` is the part's `networks_ns`.
    """
    times, last = part.verdict.times, _last_map(part.verdict.times)
    if last is None or times.prepared is None:
        return {}
    found = {
        "sending": times.received - part.sent,
        "preparing": times.prepared - times.received,
        "between": last - times.prepared - in_networks_ns,
        "fusing": times.fusion - last,
        "hearing": part.heard - times.fusion,
    }
    return {name: spent_ns / 1e6 for name, spent_ns in found.items()}


def _last_map(times: Times) -> int | None:
    """Return when the slower branch finished a part; None if neither worked on it."""
    return max((end for _, end in _own_spans(times)), default=None)


def _own_spans(times: Times) -> Spans:
    """Return the span in which each branch was at work on a part."""
    pairs = ((times.rgb_started, times.rgb), (times.sdf_started, times.sdf))
    return [(begin, end) for begin, end in pairs if begin is not None and end is not None]
