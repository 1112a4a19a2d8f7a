"""What `mdss doctor` says where the station's processes have something open that is not there any more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon import doctor, doctor_station
from daemon.finding import Case, Level
from daemon.status import ProcessReport, StationReport
from tests.cases import of, settings

KEEPS_JOURNAL = """
import pathlib, setproctitle, sys
from mdss.journal import Journal
setproctitle.setproctitle(sys.argv[1])
journal = Journal(pathlib.Path(sys.argv[2]))
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def keeping(path: Path, title: str = "mdss: fusion") -> Iterator[StationReport]:
    """Run a process with this title that has a journal open, and yield the report of a station whose fusion it is."""
    command = [sys.executable, "-c", KEEPS_JOURNAL, title, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        row = ProcessReport(
            name="fusion", state="running", reason="", is_ready=True, pid=process.pid, steps=0, waiting=0, restarts=0, silence_s=0.0
        )
        yield StationReport(station="cell", state="running", reason="", is_ready=True, uptime_s=1.0, processes=(row,))
        process.communicate()


def test_a_journal_that_was_replaced_under_the_station_is_bad_and_not_opened(tmp_path: Path) -> None:
    path, other = tmp_path / "journal.sqlite", tmp_path / "backup"
    other.write_bytes(b"")
    with keeping(path) as report:
        assert not doctor.is_lost(path, report)
        other.replace(path)
        assert doctor.is_lost(path, report)


def test_a_journal_that_was_moved_away_for_another_is_bad_until_it_is_back(tmp_path: Path) -> None:
    path, away = tmp_path / "journal.sqlite", tmp_path / "away"
    with keeping(path) as report:
        for end in ("", "-wal", "-shm"):
            path.with_name(f"{path.name}{end}").rename(f"{away}{end}")
        path.write_bytes(away.read_bytes())
        assert doctor.is_lost(path, report)
        away.rename(path)
        assert not doctor.is_lost(path, report)


def test_a_process_of_another_program_has_no_journal_to_lose(tmp_path: Path) -> None:
    """The station may run in a container, where its processes have other numbers than here."""
    with keeping(tmp_path / "other.sqlite", "another program") as report:
        (tmp_path / "journal.sqlite").touch()
        assert not doctor.is_lost(tmp_path / "journal.sqlite", report)


@pytest.mark.parametrize(
    ("reason", "level"), [("socket {} is gone: nobody can connect there any more; restart the station", "bad"), ("", "weak")]
)
def test_a_socket_that_is_missing_is_bad_only_if_the_station_says_so_too(tmp_path: Path, reason: str, level: Level) -> None:
    """Without that, the settings may have been changed since the start, and nothing is wrong."""
    folder = str(tmp_path)
    own = settings(
        station={"state_directory": folder, "runtime_directory": folder},
        camera={"endpoint": f"ipc://{folder}/new.sock"},
    )
    for link in ("prepare", "collect", "judged", "health"):
        (tmp_path / f"{link}.sock").touch()
    row = ProcessReport(name="ingest", state="running", reason="", is_ready=True, pid=1, steps=0, waiting=0, restarts=0, silence_s=0.0)
    said = reason.format(f"{folder}/new.sock")
    report = StationReport(station="cell", state="running", reason=said, is_ready=True, uptime_s=1.0, processes=(row,))
    found = of(doctor_station.station_findings(Case(own, report=report)), "sockets")
    assert found.level == level and found.found.startswith(f"socket {folder}/new.sock is gone")
    assert ("settings were changed" in found.found) == (level == "weak")
