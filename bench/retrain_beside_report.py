"""Whether a training beside a station makes parts wait longer: percentiles of windows with and without it, in pairs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.outage_report import LEAST_ROUNDS, Ratio, Round, StateReport, ratio, ratio_text, state_report

ALONE, BESIDE = "alone", "beside"
WINDOWS = (ALONE, BESIDE)
ALLOWED = 1.20


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `--json`."""

    rounds: int
    window_s: float
    training_share: float  # of one CPU, while it was allowed to run
    states: dict[str, StateReport]
    p99: Ratio
    p50: Ratio
    failures: tuple[str, ...]


def report_of(rounds: Sequence[Round], window_s: float, training_share: float, failures: Sequence[str]) -> Report:
    """Return the report; it fails if p99 is shown to grow by more than a fifth."""
    p99, p50 = (ratio(rounds, percent, (BESIDE,), (ALONE,)) for percent in (99, 50))
    slower = p99.lower > ALLOWED and len(rounds) >= LEAST_ROUNDS
    found = [f"p99 beside a training is {p99.value:.2f} times that without ({p99.lower:.2f} to {p99.upper:.2f})"] if slower else []
    return Report(
        rounds=len(rounds),
        window_s=window_s,
        training_share=round(training_share, 3),
        states={name: state_report(rounds, (name,)) for name in WINDOWS},
        p99=p99,
        p50=p50,
        failures=(*found, *failures),
    )


def as_text(report: Report) -> str:
    """Return the report as text."""
    lines = [
        f"{report.rounds} rounds of two windows of {report.window_s:g} s; the training had {report.training_share:.2f} of a processor",
        *(f"{name:<7} p50 {each.p50_s * 1e3:.1f} ms, p99 {each.p99_s * 1e3:.1f} ms ({each.parts})" for name, each in report.states.items()),
        f"p99 {ratio_text(report.p99)}, p50 {ratio_text(report.p50)} beside the training against alone",
        *(f"FAILED  {failure}" for failure in report.failures),
    ]
    return "\n".join(lines)
