"""Counters survive a restart, histograms are cumulative, labels arrive as they were written."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from daemon.metrics import Ledger, parse_series
from mdss.wire.messages import Heartbeat
from tests.fakes import dies_once
from tests.unit.daemon.test_supervisor import NAMES, Line


def beat(pid: int, counters: dict[str, float], timings: dict[str, list[float]] | None = None) -> Heartbeat:
    return Heartbeat(process="fusion", pid=pid, state="running", reason="", steps=0, waiting=0, counters=counters, timings=timings or {})


def read(ledger: Ledger) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample as Prometheus would scrape it."""
    registry = CollectorRegistry()
    registry.register(ledger)
    text = generate_latest(registry).decode()
    families = text_string_to_metric_families(text)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


def test_a_counter_goes_on_where_its_dead_process_left_it() -> None:
    ledger, series = Ledger(), 'mdss_verdicts_total{evaluation="OK"}'
    ledger.hear(beat(1, {series: 5}))
    ledger.close(1)
    ledger.hear(beat(2, {series: 2}))
    assert read(ledger)[("mdss_verdicts_total", (("evaluation", "OK"),))] == 7
    ledger.close(2)
    ledger.hear(beat(3, {series: 1}))
    assert read(ledger)[("mdss_verdicts_total", (("evaluation", "OK"),))] == 8


def test_a_series_that_its_process_no_longer_tells_of_is_gone() -> None:
    ledger = Ledger()
    ledger.hear(beat(1, {'mdss_drift{recipe="cap"}': 1, 'mdss_drift{recipe="foam"}': 2}))
    ledger.hear(beat(1, {'mdss_drift{recipe="foam"}': 3}))
    assert read(ledger) == {("mdss_drift", (("recipe", "foam"),)): 3}


def test_processes_of_one_branch_are_summed() -> None:
    ledger = Ledger()
    ledger.hear(beat(1, {"mdss_frames_total": 5}))
    ledger.hear(beat(2, {"mdss_frames_total": 6}))
    assert read(ledger)[("mdss_frames_total", ())] == 11


def test_a_gauge_goes_with_its_process() -> None:
    ledger = Ledger()
    ledger.hear(beat(1, {"mdss_open_parts": 5}))
    ledger.close(1)
    assert read(ledger) == {}


def test_the_supervisor_adds_up_what_every_process_said_last_and_forgets_the_gauges_of_one_that_died() -> None:
    line, said, seen = Line(rgb_0=dies_once()), dict[int, float](), list[tuple[float, float, float]]()
    hear = line.board.hear

    def note(heartbeat: Heartbeat) -> None:
        said[heartbeat.pid] = heartbeat.counters["mdss_things_total"]
        hear(heartbeat)

    def look() -> None:
        pages = text_string_to_metric_families(line.board.answer("/metrics")[2].decode())
        shown = {sample.name: sample.value for family in pages for sample in family.samples}
        seen.append((shown["mdss_things_total"], sum(said.values()), shown["mdss_lives"]))

    line.board.hear = note  # type: ignore[method-assign]
    for seconds in (2, 6, 9):
        line.at(seconds, look)
    line.run(10)
    assert len(line.world.of("rgb-0")) == 2
    assert [(shown, lives) for shown, _, lives in seen] == [(in_all, len(NAMES)) for _, in_all, _ in seen]


def test_a_histogram_counts_cumulatively() -> None:
    ledger = Ledger()
    ledger.hear(beat(1, {}, {'mdss_stage_duration_seconds{stage="rgb"}': [0.2, 0.3, 100.0]}))
    samples = read(ledger)
    assert samples[("mdss_stage_duration_seconds_bucket", (("le", "0.25"), ("stage", "rgb")))] == 1
    assert samples[("mdss_stage_duration_seconds_bucket", (("le", "+Inf"), ("stage", "rgb")))] == 3
    assert samples[("mdss_stage_duration_seconds_count", (("stage", "rgb"),))] == 3
    assert samples[("mdss_stage_duration_seconds_sum", (("stage", "rgb"),))] == 100.5


def test_a_value_at_a_limit_is_within_it_and_ratios_have_limits_of_their_own() -> None:
    ledger = Ledger()
    ledger.hear(beat(1, {}, {"mdss_score_to_threshold_ratio": [1.0, 1.2], "mdss_verdict_latency_seconds": [2.5]}))
    counts = {(name, labels[0][1]): value for (name, labels), value in read(ledger).items() if name.endswith("_bucket")}
    ratio, latency = "mdss_score_to_threshold_ratio_bucket", "mdss_verdict_latency_seconds_bucket"
    assert [counts[ratio, limit] for limit in ("0.9", "1.0", "1.1", "1.25")] == [0, 1, 1, 2]
    assert [counts[latency, limit] for limit in ("1.0", "2.5")] == [0, 1]


def test_prometheus_is_told_what_a_metric_says_and_not_its_name_once_more() -> None:
    ledger = Ledger()
    ledger.hear(beat(1, {"mdss_open_parts": 5, "mdss_parts_resent_total": 1}, {"mdss_verdict_latency_seconds": [0.2]}))
    told = {family.name: family.documentation for family in ledger.collect()}
    assert told == {
        "mdss_open_parts": "parts for which fusion waits for a result",
        "mdss_parts_resent": "parts that were sent to the workers once more, because one of them ended",
        "mdss_verdict_latency_seconds": "time from the arrival of a frame to its verdict",
    }


def test_a_name_that_is_no_metric_is_refused() -> None:
    assert parse_series('a_total{x="1",y="two words"}') == ("a_total", (("x", "1"), ("y", "two words")))
    with pytest.raises(ValueError, match="is no metric"):
        parse_series("not a metric")
