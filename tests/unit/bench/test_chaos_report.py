"""What a chaos run reports: times from kill to ready, silences, and logs that survive the death of their writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.bench_log import LineLog, read_lines
from bench.chaos_audit import Entry, Finding, Records, SubscriberEvent
from bench.chaos_faults import GUARD_BANDS, with_guard_band
from bench.chaos_report import FaultSummary, RunTimes, as_text, longest_silence_s, report_of, verdict_counts
from bench.figures import durations_of
from bench.station_watch import STATION, Recoveries, Recovery
from daemon.status import ProcessReport, StationReport
from mdss.wire.messages import ProcessState
from tests.fakes import FakeClock

SECOND = 10**9


def report(uptime_s: float, pids: dict[str, int], state: ProcessState = "running") -> StationReport:
    """Return a station's report in which these processes are ready."""
    rows = tuple(
        ProcessReport(name=name, state="running", reason="", is_ready=True, pid=pid, steps=0, waiting=0, restarts=0, silence_s=0.0)
        for name, pid in pids.items()
    )
    return StationReport(station="s", state=state, reason="", is_ready=state == "running", uptime_s=uptime_s, processes=rows)


def away_of(recoveries: Recoveries) -> list[tuple[str, float, bool]]:
    """Return who was away for how long, and whether it was hindered."""
    return [(each.name, each.seconds, each.is_hindered) for each in recoveries.done]


def test_a_killed_process_was_away_until_another_of_its_name_is_ready() -> None:
    clock = FakeClock()
    recoveries = Recoveries(clock)
    recoveries.note_kill("fusion", 7)
    clock.advance(1.0)
    recoveries.see(report(100.0, {"fusion": 7}))  # an old report
    clock.advance(1.5)
    recoveries.see(report(100.0, {"ingest": 3}))
    assert recoveries.done == []
    recoveries.see(report(100.0, {"fusion": 8}))
    clock.advance(5.0)
    recoveries.see(report(100.0, {"fusion": 8}))
    assert away_of(recoveries) == [("fusion", 2.5, False)]


def test_a_process_that_is_killed_again_begins_anew_and_the_first_time_is_only_counted() -> None:
    clock = FakeClock()
    recoveries = Recoveries(clock)
    recoveries.note_kill("rgb-0", 7)
    clock.advance(1.0)
    recoveries.note_kill("rgb-0", 8)
    clock.advance(2.0)
    recoveries.see(report(100.0, {"rgb-0": 9}))
    assert away_of(recoveries) == [("rgb-0", 2.0, False)]
    assert recoveries.cut_short == 1


@pytest.mark.parametrize("name", ["fusion", STATION])
def test_what_else_befalls_a_process_that_is_away_is_noted(name: str) -> None:
    recoveries = Recoveries(FakeClock())
    recoveries.note_kill("fusion", 7)
    recoveries.note_kill("ingest", 8)
    recoveries.begin_hindrance(name)
    recoveries.end_hindrance(name)
    recoveries.see(report(100.0, {"fusion": 17, "ingest": 18}))
    assert {who: hindered for who, _, hindered in away_of(recoveries)} == {"fusion": True, "ingest": name == STATION}


def test_a_process_that_is_killed_while_something_else_goes_on_counts_as_hindered_and_not_after_it_is_over() -> None:
    recoveries = Recoveries(FakeClock())
    recoveries.begin_hindrance(STATION)
    recoveries.note_kill("fusion", 7)
    recoveries.end_hindrance(STATION)
    recoveries.note_kill("ingest", 8)
    recoveries.see(report(100.0, {"fusion": 17, "ingest": 18}))
    assert {who: hindered for who, _, hindered in away_of(recoveries)} == {"fusion": True, "ingest": False}


def test_a_killed_station_is_back_when_a_new_one_has_started_and_nobody_waits_for_its_old_processes() -> None:
    clock = FakeClock()
    recoveries = Recoveries(clock)
    recoveries.note_kill("sdf-0", 7)
    recoveries.note_kill(STATION, 1)
    clock.advance(3.0)
    recoveries.see(report(50.0, {}))  # the last word of the killed one
    recoveries.see(report(1.0, {"sdf-0": 9}, "starting"))
    assert recoveries.done == []
    recoveries.see(report(1.0, {"sdf-0": 9}, "degraded"))
    assert away_of(recoveries) == [(STATION, 3.0, False)]
    assert recoveries.cut_short == 1


def test_a_process_that_is_killed_while_the_station_starts_counts_as_hindered() -> None:
    recoveries = Recoveries(FakeClock())
    recoveries.note_kill(STATION, 1)
    recoveries.note_kill("prepare", 7)
    recoveries.see(report(0.0, {"prepare": 8}, "starting"))
    assert away_of(recoveries) == [("prepare", 0.0, True)]


def test_the_longest_silence_counts_from_the_first_fault_to_the_last() -> None:
    course = RunTimes(begun_ns=10 * SECOND, ended_ns=30 * SECOND)
    assert longest_silence_s([2 * SECOND, 11 * SECOND, 18 * SECOND, 40 * SECOND], course) == 12.0
    assert longest_silence_s([24 * SECOND], course) == 14.0
    assert longest_silence_s([], course) == 20.0


def test_times_away_come_as_median_99th_percentile_and_maximum() -> None:
    found = durations_of([float(second) for second in range(1, 102)], 2)
    assert (found.count, found.p50_s, found.p99_s, found.longest_s) == (101, 51.0, 100.0, 101.0)
    assert durations_of([], 2).count == 0


def test_verdicts_are_counted_by_evaluation_and_code() -> None:
    def entry(sequence: int | None, evaluation: str, code: str = "") -> Entry:
        return Entry(source_id="c", frame_id=str(sequence), result_id="", sequence=sequence, evaluation=evaluation, code=code)

    journal = [entry(1, "OK"), entry(2, "Undefined", "LATE"), entry(3, "OK"), entry(None, "")]
    assert verdict_counts(journal) == {"OK": 2, "Undefined/LATE": 1}


def test_the_text_says_what_was_killed_how_often_and_what_the_audit_found() -> None:
    faults = FaultSummary(5, {"kill": 3}, {"fusion": 2, "station": 1}, 0, [Recovery("fusion", 0, 2.0, False)], 0, ["it rained"])
    findings = [Finding("lost", "sequence 4 is missing"), Finding("doubled", "sequence 5 is there twice")]
    made = report_of(Records([], [], [], []), findings, faults, RunTimes(ended_ns=SECOND))
    assert (made.lost, made.doubled, made.disagreeing) == (1, 1, 0)
    for words in ("seed 5", "3 kills", "lost 1, doubled 1", "p50 2.0 s", "it rained", "sequence 4 is missing"):
        assert words in as_text(made)


def test_a_log_goes_on_where_its_killed_writer_stopped_and_half_a_line_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    first, second = (SubscriberEvent(sequence=number, result_id=str(number), evaluation="OK", at_ns=0) for number in (1, 2))
    log = LineLog(path, SubscriberEvent)
    log.write(first)
    log.close()
    with path.open("ab") as file:
        file.write(b'{"sequence":2,"res')
    assert read_lines(path, SubscriberEvent) == [first]
    log = LineLog(path, SubscriberEvent)
    assert log.before == [first]
    log.write(second)
    log.close()
    assert read_lines(path, SubscriberEvent) == [first, second]


def test_a_changed_file_differs_from_the_one_before_and_keeps_the_rest() -> None:
    before = "fusion: {degraded_policy: reject}\nstation: {name: a}\n"
    first = with_guard_band(before, GUARD_BANDS[0])
    assert "name: a" in first and "degraded_policy: reject" in first and f"guard_band_ratio: {GUARD_BANDS[0]}" in first
    assert with_guard_band(first, GUARD_BANDS[1]) != first
