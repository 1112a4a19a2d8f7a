"""The whole station is told to read its settings again: under load, with a broken file, while it starts and while it drains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
import yaml
from click.testing import CliRunner

from daemon.alert_store import open_store
from daemon.private_redis import PrivateRedis
from daemon.status import ReloadReport
from demo.station import wait_until_ready
from mdss.cli import mdss
from mdss.client import FrameSender
from mdss.drift_record import write_record
from mdss.settings import SETTINGS_FILE, load_settings
from tests.drifting import drifting
from tests.ingest_process import Line
from tests.load import Load, ids
from tests.station import GOOD, LOOK_EVERY_S, NAME, PATIENCE_S, Station, Trained, read_journal, site, wait_until
from workers.fusion import configuration_id

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def station(trained: Trained, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with site(trained, redis_server.url, tmp_path_factory.mktemp("reloaded")) as place, place.running() as running:
        yield running


@pytest.fixture(autouse=True)
def _same_file_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put the station's file back."""
    if "station" not in request.fixturenames:
        yield
        return
    station: Station = request.getfixturevalue("station")
    before = station.config.read_text()
    yield
    station.config.write_text(before)
    assert reload(station).is_applied


def change(station: Station, section: str, **values: Any) -> None:
    """Write other values into the station's file."""
    tree = yaml.safe_load(station.config.read_text())
    tree[section] = (tree.get(section) or {}) | values
    station.config.write_text(yaml.safe_dump(tree))


def supervisor_of(station: Station) -> psutil.Process:
    """Return the station's first process."""
    parent = psutil.Process(station.pid("fusion")).parent()
    assert parent is not None
    return parent


def reload(station: Station) -> ReloadReport:
    """Send SIGHUP and return what became of it."""
    before = station.report.reload
    supervisor_of(station).send_signal(signal.SIGHUP)
    wait_until(lambda: station.report.reload not in (None, before))
    report = station.report.reload
    assert report is not None
    return report


def drifts(station: Station) -> list[tuple[str, str]]:
    """Return the recipes that /status warns of, with the quantity."""
    return [(each.recipe, each.quantity) for each in station.report.drift]


def test_credit_and_rules_change_between_two_frames_under_load_and_no_part_is_lost(station: Station) -> None:
    names = [configuration_id(load_settings(station.config))]
    load = Load(station)
    wait_until(lambda: len(station.verdicts("busy")) > len(GOOD))
    change(station, "camera", credit=2)
    change(station, "fusion", guard_band_ratio=1.0)
    names.append(configuration_id(load_settings(station.config)))
    report = reload(station)
    assert (report.is_applied, report.keys) == (True, ("camera.credit", "fusion.guard_band_ratio"))
    wait_until(lambda: len({verdict.configuration_id for verdict in station.verdicts("busy")}) == 2)
    several = len(station.verdicts("busy")) + 2 * len(GOOD)
    wait_until(lambda: len(station.verdicts("busy")) >= several)
    assert load.camera._window == 2
    load.end()
    verdicts = station.verdicts("busy")
    assert (load.camera.outstanding, load.camera.rejected) == (0, {})
    assert ids(verdicts) == sorted(load.camera.acknowledged)
    assert [name for name, _ in groupby(verdict.configuration_id for verdict in verdicts)] == names
    assert {(verdict.configuration_id, verdict.evaluation) for verdict in verdicts} == {(names[0], "OK"), (names[1], "NotDecidable")}
    assert all(process.restarts == 0 for process in station.report.processes)


def test_a_broken_file_changes_nothing_is_reported_and_processes_that_die_meanwhile_come_back(station: Station) -> None:
    change(station, "camera", credit=2)
    station.config.write_text(station.config.read_text() + "journal:\n  keep_days: never\n")
    line = len(station.config.read_text().splitlines())
    report = reload(station)
    assert not report.is_applied
    assert report.reason.endswith(f"station.yaml:{line}: journal.keep_days: found 'never', expected a whole number from 1 to 3650")
    assert "mdss_last_reload_success 0.0" in station.page("/metrics")[1]
    for name in ("fusion", "sdf-0", "ingest"):
        os.kill(station.pid(name), signal.SIGKILL)
    wait_until(lambda: all(station.process(name).restarts == 1 for name in ("fusion", "sdf-0", "ingest")))
    wait_until(lambda: station.report.state == "running")
    with station.camera("patient") as camera:
        for part in GOOD:
            station.send(camera, part)
        assert camera.wait_until_done(PATIENCE_S)
        assert camera._window == 4
    assert [verdict.evaluation for verdict in station.verdicts("patient")] == ["OK"] * len(GOOD)
    in_force = Path(station.settings.station.runtime_directory) / SETTINGS_FILE
    assert "refused" in CliRunner().invoke(mdss, ["status", "--config", str(in_force)]).output


def test_keys_that_need_a_restart_are_named_and_hold_all_others_back(station: Station) -> None:
    change(station, "camera", credit=3)
    change(station, "http", port=station.settings.http.port + 1)
    report = reload(station)
    assert (report.is_applied, report.reason) == (False, "needs a restart: http.port")
    with station.camera("unmoved") as camera:
        station.send(camera, GOOD[0])
        assert camera._window == 4


def test_the_log_s_level_changes_in_every_process_and_alerts_go_to_another_redis(station: Station, tmp_path: Path) -> None:
    log = station.config.with_name("station.log")
    with PrivateRedis(tmp_path / "redis") as other:
        change(station, "logs", level="error")
        change(station, "alerts", redis_url=other.url)
        change(station, "fusion", guard_band_ratio=1.0)
        assert reload(station).is_applied
        with station.camera("moved") as camera, closing(open_store(load_settings(station.config))) as store:
            while not store.newest(9):  # parts go by until fusion and alerts have read the settings, each when it comes to it
                station.send(camera, GOOD[0])
                assert camera.wait_until_done(PATIENCE_S)
        size = log.stat().st_size
        os.kill(station.pid("prepare"), signal.SIGKILL)
        wait_until(lambda: station.process("prepare").restarts > 0 and station.report.state == "running")
        assert log.stat().st_size == size


def test_drift_is_shown_of_a_recipe_that_a_reload_adds_and_no_more_of_one_that_it_removes(station: Station) -> None:
    write_record(Path(station.settings.station.state_directory), drifting())
    assert drifts(station) == []
    before = station.config.read_text()
    change(station, "models", recipes=[NAME, "cap"], preload=[NAME])
    assert reload(station).is_applied
    assert drifts(station) == [("cap", "brightness")]
    said = CliRunner().invoke(mdss, ["status", "--config", str(station.config)]).output
    assert "drift of cap 0001: brightness of the part" in said
    station.config.write_text(before)
    assert reload(station).is_applied
    assert drifts(station) == []


def test_a_process_whose_file_somebody_else_broke_goes_on_as_it_was_until_it_is_mended() -> None:
    with TemporaryDirectory() as folder, Line(Path(folder)) as line, FrameSender(line.settings.camera.endpoint, "cam") as camera:
        in_order = line.config.read_text()
        line.config.write_text("camera: {credit: 9999}\n")
        line.process.send_signal(signal.SIGHUP)
        for _ in range(2):  # a second apart: it has seen the file by then
            assert line.hear(lambda _: True).state == "running"
        while camera._window != 3:
            camera.attend(LOOK_EVERY_S)
        line.config.write_text(in_order.replace("credit: 3", "credit: 7"))
        line.process.send_signal(signal.SIGHUP)
        while camera._window != 7:
            camera.attend(LOOK_EVERY_S)


def test_a_hang_up_harms_nobody_while_the_station_starts_or_drains(trained: Trained, redis_server: PrivateRedis, tmp_path: Path) -> None:
    with site(trained, redis_server.url, tmp_path / "hurried", supervisor={"drain_timeout_s": 30}) as place:
        settings, log = load_settings(place.config), tmp_path / "log"
        command = [sys.executable, "-m", "mdss.cli", "run", "--config", str(place.config)]
        with log.open("wb") as output, subprocess.Popen(command, stderr=output) as run:
            supervisor = psutil.Process(run.pid)
            wait_until(lambda: len(supervisor.children()) >= 5)
            for process in (supervisor, *supervisor.children()):  # as `systemctl kill` would
                process.send_signal(signal.SIGHUP)
            wait_until_ready(settings, run, log)
            station = Station(place.config, settings, trained)
            wait_until(lambda: station.report.reload is not None)
            assert all(process.restarts == 0 for process in station.report.processes)
            with station.camera("hurried") as camera:
                for part in GOOD:
                    station.send(camera, part)
                camera.attend(LOOK_EVERY_S)
                run.send_signal(signal.SIGTERM)
                while run.poll() is None:
                    run.send_signal(signal.SIGHUP)
                    camera.attend(LOOK_EVERY_S / 10)
                camera.attend(LOOK_EVERY_S)  # what came with the last of the station's words
        verdicts = read_journal(settings)
    assert run.returncode == 0
    assert ids(verdicts) == sorted(camera.acknowledged)
    assert [verdict.evaluation for verdict in verdicts] == ["OK"] * len(verdicts)
