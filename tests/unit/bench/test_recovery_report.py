"""What the bench of recoveries counts, from kills and verdicts that are made up."""

from __future__ import annotations

from bench.recovery_report import JudgedTimes, Kill, RecoveryRun, as_text, report_of

SECOND = 10**9
KILLS = (Kill("sdf-0", 100 * SECOND, 3.0), Kill("fusion", 200 * SECOND, 1.5), Kill("sdf-0", 300 * SECOND, 4.5))
FINE = RecoveryRun(5.0, 0, [])


def judged(received_s: float, seconds: float, attempt: int = 1, code: str = "") -> JudgedTimes:
    """Return one part."""
    return JudgedTimes(int(received_s * SECOND), int((received_s + seconds) * SECOND), attempt, "Undefined" if code else "OK", code)


PARTS = (
    *(judged(at_s, 1.0) for at_s in range(10, 20)),
    *(judged(99, 4.5, attempt=2), judged(99.5, 4.8, attempt=3), judged(99.7, 5.0, code="LATE"), judged(105, 1.0)),
    *(judged(199, 2.0, attempt=2), judged(250, 1.0)),
    *(judged(299, 5.0, attempt=2, code="LATE"), judged(302, 3.0)),
)


def test_parts_belong_to_the_last_kill_before_their_verdict() -> None:
    report = report_of(KILLS, PARTS, FINE)
    sdf, fusion = report.groups["sdf-0"], report.groups["fusion"]
    assert (sdf.kills, sdf.p50_s, sdf.longest_s) == (2, 3.75, 4.5)
    assert (sdf.in_flight, sdf.second_attempts, sdf.undefined) == (4, 2, {"LATE": 2})
    assert (fusion.kills, fusion.in_flight, fusion.second_attempts, fusion.undefined) == (1, 1, 1, {})
    assert (sdf.longest_wait_s, fusion.longest_wait_s) == (5.0, 2.0)
    assert (report.parts, report.usual_p50_s) == (18, 1.0)


def test_a_process_that_was_away_for_longer_than_it_may_be_is_a_failure() -> None:
    assert report_of(KILLS, PARTS, FINE).failures == ()
    (sentence,) = report_of(KILLS, PARTS, RecoveryRun(4.0, 0, [])).failures
    assert sentence == "sdf-0 was ready again 4.5 s after its kill; expected at most 4 s"


def test_a_frame_without_verdict_and_an_end_by_itself_are_failures() -> None:
    report = report_of(KILLS, PARTS, RecoveryRun(5.0, 1, ["the station ended by itself"]))
    assert report.failures == ("1 frames have no verdict or no DONE", "the station ended by itself")


def test_the_text_has_a_line_for_each_process() -> None:
    lines = as_text(report_of(KILLS, PARTS, FINE)).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["sdf-0", "fusion"]
    assert lines[2].endswith("LATE 2") and lines[3].endswith("none")
