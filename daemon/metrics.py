"""Sums the counters and timings of all processes across their restarts and writes them in Prometheus's format."""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from daemon.metric_descriptions import DESCRIPTIONS
from mdss.wire.messages import Heartbeat

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
RATIO = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 5.0)
SERIES = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})?")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]


def parse_series(series: str) -> Key:
    """Return the name and labels of `name{label="value",...}`."""
    match = SERIES.fullmatch(series)
    if match is None:
        raise ValueError(f'{series!r} is no metric: expected a name and labels such as mdss_frames_total{{branch="rgb"}}')
    return match["name"], tuple(LABEL.findall(match["labels"] or ""))


@dataclass
class Observations:
    """One histogram: how many values fell into each bucket, and their sum."""

    limits: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.limits) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.limits, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative counts with the bucket labels of Prometheus."""
        return list(zip((*map(str, self.limits), "+Inf"), map(float, accumulate(self.counts)), strict=True))


class Ledger(Collector):
    """Sums what the processes report: counters survive a process's replacement; a gauge disappears with its process.

    The supervisor's loop writes and the HTTP threads read. The lock is held only for the sums, never while a file is read or a request
    answered.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._finished: dict[str, float] = {}
        self._current: dict[int, dict[str, float]] = {}
        self._histograms: dict[str, Observations] = {}

    def hear(self, heartbeat: Heartbeat) -> None:
        """Take the counters and timings of one heartbeat."""
        with self._lock:
            self._current[heartbeat.pid] = dict(heartbeat.counters)
            for series, values in heartbeat.timings.items():
                limits = RATIO if "_ratio" in series else SECONDS
                histogram = self._histograms.setdefault(series, Observations(limits))
                for value in values:
                    histogram.add(value)

    def close(self, pid: int) -> None:
        """Keep the counters of a process that has ended."""
        with self._lock:
            for series, value in self._current.pop(pid, {}).items():
                if is_counter(series):
                    self._finished[series] = self._finished.get(series, 0.0) + value

    def gauge(self, series: str) -> int:
        """Return the sum of a gauge over all running processes."""
        with self._lock:
            return int(sum(counters.get(series, 0.0) for counters in self._current.values()))

    def collect(self) -> list[Metric]:
        """Return one family per metric name."""
        with self._lock:
            values = dict(self._finished)
            for counters in self._current.values():
                for series, value in counters.items():
                    values[series] = values.get(series, 0.0) + value
            histograms = histogram_families((parse_series(series), histogram) for series, histogram in self._histograms.items())
            return [*families((parse_series(series), value) for series, value in values.items()), *histograms]


def is_counter(series: str) -> bool:
    """Return whether a series is a counter, judging by its name."""
    return series.partition("{")[0].endswith("_total")


def families(samples: Iterable[tuple[Key, float]]) -> Iterator[Metric]:
    """Group values by name into counters and gauges."""
    grouped: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for (name, labels), value in samples:
        kind = CounterMetricFamily if is_counter(name) else GaugeMetricFamily
        family = grouped.setdefault(name, kind(name, DESCRIPTIONS.get(name, "")))
        family.add_sample(name, dict(labels), value)
    yield from grouped.values()


def histogram_families(samples: Iterable[tuple[Key, Observations]]) -> Iterator[Metric]:
    """Group histograms by name."""
    grouped: dict[str, HistogramMetricFamily] = {}
    for (name, labels), histogram in samples:
        family = grouped.setdefault(name, HistogramMetricFamily(name, DESCRIPTIONS.get(name, ""), labels=[key for key, _ in labels]))
        family.add_metric([value for _, value in labels], histogram.buckets(), histogram.total)
    yield from grouped.values()


def gauge(name: str, *labels: str) -> GaugeMetricFamily:
    """Return an empty family for a gauge."""
    return GaugeMetricFamily(name, DESCRIPTIONS[name], labels=labels)


def counter(name: str, *labels: str) -> CounterMetricFamily:
    """Return an empty family for a counter."""
    return CounterMetricFamily(name, DESCRIPTIONS[name], labels=labels)
