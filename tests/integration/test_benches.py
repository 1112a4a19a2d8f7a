"""Short runs of the benches that need a station: overload, Redis away, killed processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import outage_report, overload_report, recovery_report
from tests.benches import run_bench
from tests.station import Trained


@pytest.mark.timeout(300)
def test_four_cameras_that_send_as_fast_as_they_are_let_are_all_served_and_memory_stays_flat(trained: Trained, tmp_path: Path) -> None:
    size = ("--cameras", "4", "--frames", "250", "--deadline-ms", "60000")
    report = run_bench(trained, tmp_path, overload_report.Report, "bench.overload", *size)
    assert report.unanswered == 0
    assert min(report.shares.values()) >= max(report.shares.values()) / 2 > 0
    assert report.slow.count > 0 and report.undefined == {}
    assert report.judged == report.sent >= 250 and report.held_bytes_most > 0


@pytest.mark.timeout(300)
def test_verdicts_go_on_while_redis_is_away_and_every_alert_is_there_once_after_each_return(trained: Trained, tmp_path: Path) -> None:
    size = ("--rounds", "1", "--window-s", "2", "--rate", "2")
    report = run_bench(trained, tmp_path, outage_report.Report, "bench.outage", *size)
    assert all(report.states[state].parts > 0 for state in outage_report.STATES)
    assert report.verdicts["NotOK"] > 0
    assert len(report.caught_up_s) == 2


@pytest.mark.timeout(300)
def test_killed_processes_are_ready_again_and_no_part_is_without_a_verdict(trained: Trained, tmp_path: Path) -> None:
    size = ("--kills", "1", "--whom", "sdf-0", "--whom", "fusion", "--rate", "2", "--settle-s", "1", "--within-s", "60")
    report = run_bench(trained, tmp_path, recovery_report.Report, "bench.recovery", *size)
    assert {name: group.kills for name, group in report.groups.items()} == {"sdf-0": 1, "fusion": 1}
    assert report.unanswered == 0
