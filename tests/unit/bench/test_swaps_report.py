"""The report of many changes of model says what must not be: each kind of failure is planted once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.swaps_report import Report, Swap, SwapRun, as_text, report_of
from mdss.wire.verdict import BranchResult, ModelReference, Verdict
from tests import parts

S = 10**9
MB = 10**6


def verdict(number: int, generation: int = 1, **changes: Any) -> Verdict:
    """Return a verdict on a part by the model of this generation: the odd ones are 0001, the even ones 0002."""
    version = f"{2 - generation % 2:04d}"
    accepted = msgspec.structs.replace(parts.accepted(f"f{number}", deadline_ns=0), received_ns=number * S)
    branches = {name: BranchResult(score=1.0, model_version=version) for name in ("rgb", "sdf")}
    model = ModelReference(name="cap", version=version, digest="d", generation=generation)
    return msgspec.structs.replace(parts.verdict(accepted), **({"model": model, "branches": branches} | changes))


def swap(seconds: float = 2.0, megabytes: float = 100.0) -> Swap:
    return Swap("0002", seconds, {"rgb-0": int(megabytes * MB)})


def course(*verdicts: Verdict, **changes: Any) -> SwapRun:
    fields: dict[str, Any] = {"swaps": [swap()] * 10, "quiet": [(0, S)], "swapping": [(S, 3 * S)], "unjudged": 0, "refused": 0}
    return SwapRun(**(fields | {"verdicts": verdicts, "incidents": ()} | changes))


GOOD = (verdict(1), verdict(2, 2), verdict(3, 3))


def test_a_course_without_a_flaw_has_no_failures() -> None:
    report = report_of(course(*GOOD))
    assert report.failures == ()
    assert (report.sent, report.judged, report.swaps, report.took.p50_s) == (2, 3, 10, 2.0)
    assert (report.quiet.p50_s, report.swapping.p50_s) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("flawed", "sentence"),
    [
        (course(*GOOD, swapping=[(S, 0)]), "1 parts without a verdict; expected none"),
        (course(*GOOD, unjudged=2), "2 parts without a verdict; expected none"),
        (course(*GOOD, GOOD[0]), "1 verdicts too many; expected none"),
        (course(verdict(1, branches=GOOD[1].branches)), "1 parts judged by two models, or by none; expected none"),
        (course(verdict(1, model=None)), "1 parts judged by two models, or by none; expected none"),
        (course(verdict(1, 2), verdict(2, 1)), "1 parts judged by an earlier model than one that was accepted before them; expected none"),
        (course(verdict(1, deadline_missed=True)), "1 parts later than their deadline; expected none"),
        (course(*GOOD, refused=1), "1 versions that the station did not take; expected none"),
        (course(*GOOD, incidents=("camera-1 ended",)), "camera-1 ended"),
        (
            course(*GOOD, swaps=[swap(megabytes=100 + 10 * number) for number in range(10)]),
            "rgb-0 grew from 150 MB to 190 MB; expected at most 5 % and 20 MB",
        ),
    ],
)
def test_every_flaw_is_named(flawed: SwapRun, sentence: str) -> None:
    report = report_of(flawed)
    assert report.failures == (sentence,)
    assert f"FAILED       {sentence}" in as_text(report)


def test_growth_is_told_per_change_once_the_processes_are_warm() -> None:
    report: Report = report_of(course(*GOOD, swaps=[swap(megabytes=50), *(swap(megabytes=100 + number) for number in range(9))]))
    assert report.bytes_per_swap == {"rgb-0": MB}
    assert "rgb-0 104.0 MB -> 108.0 MB, +1000.0 kB a change" in as_text(report)


def test_a_process_seen_between_two_models_has_not_grown_when_it_holds_the_next() -> None:
    low = {number: swap(megabytes=217.0 if number in (2, 7) else 280.0) for number in range(10)}
    report = report_of(course(*GOOD, swaps=list(low.values())))
    assert report.failures == ()
    assert (report.memory_warm, report.memory_end) == ({"rgb-0": 280 * MB}, {"rgb-0": 280 * MB})
