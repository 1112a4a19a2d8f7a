"""Sums up durations for the reports of benches, and says them in a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

MOST_GROWTH, SLACK_BYTES = 1.05, 20_000_000  # of memory that is allowed, from when it is warm to the end
Wait = tuple[int, int]  # when a part was offered and when DONE came, in ns; 0 if it never came


class Durations(msgspec.Struct, frozen=True):
    """A summary of `count` durations."""

    count: int
    p50_s: float
    p99_s: float
    longest_s: float

    def text(self, digits: int) -> str:
        """Return the figures in one line, with `digits` decimals."""
        p50, p99, longest = (f"{value:.{digits}f} s" for value in (self.p50_s, self.p99_s, self.longest_s))
        return f"p50 {p50}, p99 {p99}, longest {longest} ({self.count})"


def durations_of(seconds: Sequence[float], digits: int) -> Durations:
    """Return median, 99th percentile and maximum, rounded; all 0 without any."""
    if not seconds:
        return Durations(0, 0.0, 0.0, 0.0)
    p50, p99 = np.percentile(seconds, [50, 99])
    return Durations(len(seconds), *(round(float(value), digits) for value in (p50, p99, max(seconds))))


def unanswered(waits: Iterable[Wait]) -> int:
    """Return how many parts got no DONE."""
    return sum(not done_ns for _, done_ns in waits)


def no_done_sentences(waits: Iterable[Wait]) -> list[str]:
    """Return a sentence if parts got no DONE."""
    missing = unanswered(waits)
    return [f"{missing} frames got no DONE"] if missing else []


def wait_durations(waits: Sequence[Wait]) -> Durations:
    """Return how long parts waited from the offer to DONE."""
    return durations_of([(done_ns - offered_ns) / 1e9 for offered_ns, done_ns in waits if done_ns], 3)


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts in one line; "none" without any."""
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
