"""What the bench of overload calls a failure, from cameras, journal and memory that are made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.figures import Wait, wait_durations
from bench.overload_report import MemorySample, OverloadRun, as_text, report_of

SECOND, MB = 10**9, 10**6


def waits(count: int, seconds: float, begun_s: float = 0.0) -> list[Wait]:
    """Return parts of one camera that came evenly over so many seconds, and waited half a second each."""
    offered = [begun_s + seconds * number / count for number in range(count)]
    return [(int(at_s * SECOND), int((at_s + 0.5) * SECOND)) for at_s in offered]


def look(judged: int, rgb: int = 300, fusion: int = 100) -> MemorySample:
    """Return what two processes take."""
    return MemorySample(judged, {"rgb-0": rgb * MB, "fusion": fusion * MB}, 7 * MB)


FAIR = OverloadRun(
    waits={"fast-1": waits(6000, 100), "fast-2": waits(4000, 100), "slow": waits(100, 100)},
    slow="slow",
    slow_every_s=1.0,
    codes={"fast-1": {"LATE": 3}},
    judged=10_100,
    unjudged=0,
    busy=12,
    looks=[look(500, rgb=200), look(1000), look(10_000)],
    incidents=(),
)


def test_a_station_that_serves_all_and_stays_as_large_as_it_was_passes() -> None:
    report = report_of(FAIR)
    assert report.failures == ()
    assert (report.sent, report.judged, report.unanswered, report.undefined, report.busy) == (10_100, 10_100, 0, {"LATE": 3}, 12)
    assert report.verdicts_per_s == pytest.approx(101, rel=0.02)
    assert (report.fast.p50_s, report.slow.longest_s) == (0.5, 0.5)
    assert (sum(report.memory_warm.values()), report.memory_most, report.held_bytes_most) == (400 * MB, 400 * MB, 7 * MB)


def failures(**changes: object) -> list[str]:
    """Return what is wrong with the fair run when these things are otherwise."""
    return list(report_of(replace(FAIR, **changes)).failures)  # type: ignore[arg-type]  # names are the test's


def test_memory_may_grow_by_a_twentieth_and_20_mb_after_a_thousand_frames_and_no_more() -> None:
    assert failures(looks=[look(10), look(1000), look(10_000, rgb=339)]) == []
    (sentence,) = failures(looks=[look(10), look(1000), look(10_000, rgb=341)])
    assert "400 MB after 1000 verdicts to 441 MB after 10000, rgb-0 by 41 MB" in sentence


def test_what_is_taken_before_a_short_run_is_warm_is_no_growth() -> None:
    assert failures(looks=[look(3, rgb=10), look(40), look(400)]) == []


def test_a_fast_camera_with_less_than_half_of_another_s_share_is_a_failure() -> None:
    assert failures(waits={**FAIR.waits, "fast-2": waits(3001, 100)}) == []
    (sentence,) = failures(waits={**FAIR.waits, "fast-2": waits(2900, 100)})
    assert sentence.startswith("fast-2 got")


def test_shares_are_counted_while_all_cameras_send() -> None:
    early = waits(6000, 100) + waits(9000, 50, begun_s=-60)  # alone for a minute, while the other was still starting
    report = report_of(replace(FAIR, waits={**FAIR.waits, "fast-1": early}))
    assert report.shares["fast-1"] == pytest.approx(6000, rel=0.01)


def test_a_slow_camera_whose_parts_are_late_or_not_let_in_is_starved() -> None:
    (late,) = failures(codes={"slow": {"LATE": 1}})
    assert "LATE 1" in late
    (kept_out,) = failures(waits={**FAIR.waits, "slow": waits(40, 100)})
    assert "got 39 verdicts in 100 s; expected about 99" in kept_out


def test_a_slow_camera_that_gets_as_much_as_others_of_a_station_slower_than_itself_is_not_starved() -> None:
    slower = {"fast-1": waits(67, 160), "fast-2": waits(64, 160), "slow": waits(66, 160)}
    assert failures(waits=slower) == []
    (kept_out,) = failures(waits={**slower, "slow": waits(30, 160)})
    assert "got 29 verdicts in 158 s; expected about 65" in kept_out


def test_a_frame_without_done_or_a_part_without_verdict_is_a_failure() -> None:
    (no_done,) = failures(waits={**FAIR.waits, "slow": [*waits(100, 100), (0, 0)]})
    assert no_done.startswith("1 frames got no DONE")
    (no_verdict,) = failures(unjudged=2)
    assert "2 accepted parts have no verdict" in no_verdict


def test_an_end_that_nobody_asked_for_is_a_failure() -> None:
    assert failures(incidents=["fast-1 ended by itself"]) == ["fast-1 ended by itself"]


def test_the_text_names_every_failure_and_every_process() -> None:
    text = as_text(report_of(replace(FAIR, unjudged=2)))
    assert "FAILED       0 frames got no DONE and 2 accepted parts" in text
    assert "rgb-0 300 MB -> 300 MB" in text


def test_a_part_that_got_no_answer_has_not_waited_for_any_time() -> None:
    found = wait_durations([(5 * SECOND, 6 * SECOND), (7 * SECOND, 0), (8 * SECOND, 11 * SECOND)])
    assert (found.count, found.p50_s, found.longest_s) == (2, 2.0, 3.0)
