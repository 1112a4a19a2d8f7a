"""A short run of bench/chaos.py: whatever is killed, stopped or cut off, every accepted part has one verdict, seen and stored once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.chaos_plan import streams
from bench.chaos_report import Report
from tests.station import NAME, Trained

SECONDS, KILL_EVERY_S, FEWEST_KILLS = 60, 1.5, 30
SEED = "25"  # of which the station is killed late: what needs one that has started has come by then


@pytest.mark.timeout(900)  # the run, and all the patience that the bench has before and after it
def test_a_station_under_load_loses_and_doubles_no_part_while_everything_around_it_is_killed(trained: Trained, tmp_path: Path) -> None:
    written = tmp_path / "chaos.json"
    line = ["--data", str(trained.data), "--store", str(trained.store), "--recipe", NAME]
    size = ["--minutes", str(SECONDS / 60), "--seed", SEED, "--kill-every-s", str(KILL_EVERY_S)]
    command = [sys.executable, "-m", "bench.chaos", *size, *line, "--out", str(tmp_path / "chaos"), "--json", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = msgspec.json.decode(written.read_bytes(), type=Report)
    assert (report.lost, report.doubled, report.disagreeing) == (0, 0, 0)
    assert sum(report.killed.values()) >= FEWEST_KILLS
    assert all(report.faults.keys() & set(stream.kinds) for stream in streams(KILL_EVERY_S))
    assert report.sent == report.acknowledged == sum(report.judged.values()) > 0
    assert report.judged.get("OK", 0) > 0
    assert "lost 0, doubled 0" in done.stdout
