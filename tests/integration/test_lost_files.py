"""Somebody removes, moves or replaces what a running station has open: it says so, and its processes never record into two journals."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from mdss.cli import mdss
from mdss.journal import BESIDE, JOURNAL, Journal
from mdss.settings_types import IPC
from mdss.wire.topology import LINKS, address
from tests.station import GOOD, PATIENCE_S, Station, Trained, site, wait_until

pytestmark = pytest.mark.timeout(180)
NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
def station(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    impatient = {"restart_limit": 2, "restart_window_s": 2}  # a kill and a refused start, if that counted
    with site(trained, NO_REDIS, tmp_path_factory.mktemp("robbed"), supervisor=impatient) as place, place.running() as own:
        yield own


def judge(station: Station, parts: tuple[str, ...]) -> None:
    """Have some parts judged."""
    with station.camera("cam") as camera:
        for part in parts:
            station.send(camera, part)
        assert camera.wait_until_done(PATIENCE_S)


def move(source: Path, target: Path, ends: tuple[str, ...] = ("", *BESIDE)) -> None:
    """Move a journal with the files beside it, or some of these files."""
    for end in ends:
        Path(f"{source}{end}").rename(f"{target}{end}")


def test_each_socket_was_opened_by_the_process_that_the_table_of_links_names(station: Station) -> None:
    pids = {process.name: process.pid for process in station.report.processes}
    pids["supervisor"] = psutil.Process(pids["fusion"]).ppid()
    openers = {found.laddr: name for name, pid in pids.items() for found in psutil.Process(pid).net_connections("unix")}
    for link in LINKS.values():
        assert openers.get(address(link, station.settings).removeprefix(IPC)) == link.binder, link.name


def test_a_journal_that_was_replaced_is_said_and_no_process_begins_another_until_it_is_back(station: Station) -> None:
    path = Path(station.settings.station.state_directory) / JOURNAL
    judge(station, GOOD)
    move(path, away := path.with_name("away"))
    with closing(Journal(path)):  # an empty one in its place
        pass
    gone = f"journal {path} was removed, or moved away, or replaced, while the station runs"
    wait_until(lambda: (now := station.report).state == "degraded" and now.reason.startswith(gone))
    os.kill(station.pid("fusion"), signal.SIGKILL)
    wait_until(lambda: f"could not be started ({gone}" in station.process("fusion").reason)
    path.unlink()
    move(away, path)
    wait_until(lambda: station.report.is_ready and not station.report.reason.startswith("journal"))
    judge(station, GOOD)
    assert [verdict.sequence for verdict in station.verdicts("cam")] == list(range(1, 1 + 2 * len(GOOD)))


@pytest.mark.parametrize("end", BESIDE)
def test_a_file_beside_the_journal_that_was_moved_away_is_said_and_no_process_begins_another_until_it_is_back(
    station: Station, end: str
) -> None:
    path = Path(station.settings.station.state_directory) / JOURNAL
    before = len(station.verdicts("cam"))
    move(path, away := path.with_name("away"), (end,))
    judge(station, GOOD)
    gone = f"journal {path}{end} was removed, or moved away, or replaced, while the station runs"
    wait_until(lambda: (now := station.report).state == "degraded" and now.reason == f"{gone}; move it back, or restart the station")
    told = json.loads(CliRunner().invoke(mdss, ["doctor", "--config", str(station.config), "--json"]).stdout)
    assert [(each["level"], each["found"]) for each in told["findings"] if each["subject"] == "journal"] == [("bad", gone[8:])]
    assert not Path(f"{path}{end}").exists()  # which an opening of the journal would have made anew
    os.kill(station.pid("fusion"), signal.SIGKILL)
    wait_until(lambda: f"could not be started ({gone}" in station.process("fusion").reason)
    move(away, path, (end,))
    wait_until(lambda: station.report.is_ready and not station.report.reason.startswith("journal"))
    judge(station, GOOD)
    assert [verdict.sequence for verdict in station.verdicts("cam")] == list(range(1, 1 + before + 2 * len(GOOD)))


def test_sockets_that_were_removed_are_said_by_the_station_and_by_the_doctor(station: Station) -> None:
    folder = Path(station.settings.station.runtime_directory)
    away = folder / "frames"
    (folder / "frames.sock").rename(away)
    gone = f"socket {folder}/frames.sock is gone: nobody can connect there any more"
    wait_until(lambda: station.report.reason == f"{gone}; restart the station")
    assert station.report.state == "degraded"
    told = json.loads(CliRunner().invoke(mdss, ["doctor", "--config", str(station.config), "--json"]).stdout)
    assert [(each["level"], each["found"]) for each in told["findings"] if each["subject"] == "sockets"] == [("bad", gone)]
    away.rename(folder / "frames.sock")
    wait_until(lambda: not station.report.reason.startswith("socket"))


@pytest.mark.parametrize("end", BESIDE)
def test_a_stop_in_order_loses_nothing_of_a_journal_beside_which_a_file_was_moved_away(trained: Trained, tmp_path: Path, end: str) -> None:
    with site(trained, NO_REDIS, tmp_path) as place:
        with place.running() as station:
            path = Path(station.settings.station.state_directory) / JOURNAL
            judge(station, GOOD)
            move(path, path.with_name("away"), (end,))
            judge(station, GOOD)
        with closing(Journal(path)) as journal:
            assert [verdict.sequence for verdict in journal.since(0, 100)] == list(range(1, 1 + 2 * len(GOOD)))
