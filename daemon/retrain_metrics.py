"""Prometheus metrics on the last retraining of each recipe."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from daemon.metrics import gauge
from mdss.retraining import OUTCOMES, RetrainRecord

Records = Callable[[], tuple[RetrainRecord, ...]]


class RetrainCollector(Collector):
    """Reads the records anew for every request, because the trainer that writes them is a separate process that comes and goes."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def collect(self) -> list[Metric]:
        """Return the metric families; without a retraining they are empty."""
        attempt = gauge("mdss_retrain_last_attempt_timestamp_seconds", "recipe")
        success = gauge("mdss_retrain_last_success_timestamp_seconds", "recipe")
        outcome = gauge("mdss_retrain_outcome", "recipe", "outcome")
        duration = gauge("mdss_retrain_duration_seconds", "recipe")
        parts = gauge("mdss_retrain_parts", "recipe", "use")
        for record in self._records():
            attempt.add_metric([record.recipe], record.started_ns / 1e9)
            success.add_metric([record.recipe], record.last_success_ns / 1e9)
            for each in OUTCOMES:
                outcome.add_metric([record.recipe, each], float(each == record.outcome))
            duration.add_metric([record.recipe], record.seconds)
            parts.add_metric([record.recipe, "used"], record.parts_used)
            parts.add_metric([record.recipe, "refused"], record.parts_refused)
        return [attempt, success, outcome, duration, parts]
