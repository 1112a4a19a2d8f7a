"""Short runs of the benches that need a station: overload, Redis away, killed processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from bench import outage_report, overload_report, recovery_report
from tests.station import NAME, Trained

Report = TypeVar("Report")


def run(trained: Trained, folder: Path, kind: type[Report], *words: str) -> Report:
    """Run a bench and return its report; it must end well."""
    written = folder / "report.json"
    line = ["--data", str(trained.data), "--store", str(trained.store), "--recipe", NAME]
    command = [sys.executable, "-m", *words, *line, "--out", str(folder / "out"), "--json", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return msgspec.json.decode(written.read_bytes(), type=kind)


@pytest.mark.timeout(300)
def test_four_cameras_that_send_as_fast_as_they_are_let_are_all_served_and_memory_stays_flat(trained: Trained, tmp_path: Path) -> None:
    size = ("--cameras", "4", "--frames", "250", "--deadline-ms", "60000")
    report = run(trained, tmp_path, overload_report.Report, "bench.overload", *size)
    assert report.unanswered == 0
    assert min(report.shares.values()) >= max(report.shares.values()) / 2 > 0
    assert report.slow.count > 0 and report.undefined == {}
    assert report.judged >= 250 and report.held_bytes_most > 0


@pytest.mark.timeout(300)
def test_verdicts_go_on_while_redis_is_away_and_every_alert_is_there_once_after_each_return(trained: Trained, tmp_path: Path) -> None:
    size = ("--rounds", "1", "--window-s", "2", "--rate", "2")
    report = run(trained, tmp_path, outage_report.Report, "bench.outage", *size)
    assert all(report.states[state].parts > 0 for state in outage_report.STATES)
    assert report.verdicts["NotOK"] > 0
    assert len(report.caught_up_s) == 2


@pytest.mark.timeout(300)
def test_killed_processes_are_ready_again_and_no_part_is_without_a_verdict(trained: Trained, tmp_path: Path) -> None:
    size = ("--kills", "1", "--whom", "sdf-0", "--whom", "fusion", "--rate", "2", "--settle-s", "1", "--within-s", "60")
    report = run(trained, tmp_path, recovery_report.Report, "bench.recovery", *size)
    assert {name: group.kills for name, group in report.groups.items()} == {"sdf-0": 1, "fusion": 1}
    assert report.unanswered == 0
