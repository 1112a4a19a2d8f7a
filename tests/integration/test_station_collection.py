"""A station that keeps scans for retraining: the very pixels that the camera sent, and never at the cost of a verdict."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import redis
from click.testing import CliRunner

from daemon.alert_store import open_store
from daemon.private_redis import PrivateRedis
from mdss.cli import mdss
from mdss.collection import FOLDER, CollectedScan, Collection
from tests.station import GOOD, NAME, PAINTED, PATIENCE_S, Scan, Station, Trained, scan_of, site, wait_until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def station(trained: Trained, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    sections = {"collection": {"ok_ratio": 1.0, "min_free_mb": 0}}
    with site(trained, redis_server.url, tmp_path_factory.mktemp("collecting"), **sections) as place, place.running() as running:
        yield running


def root_of(station: Station) -> Path:
    return Path(station.settings.station.state_directory) / FOLDER


def collected(station: Station, source: str) -> list[CollectedScan]:
    """Return what is kept of one camera."""
    return [each for each in Collection(root_of(station)).parts() if each.part.source_id == source]


def not_collected(station: Station) -> float:
    """Return how many scans could not be written so far."""
    lines = station.page("/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("mdss_scans_not_collected_total"))


def judge(station: Station, source: str, *names: str) -> None:
    """Send parts as one camera; all must have their verdicts."""
    with station.camera(source) as camera:
        for name in names:
            station.send(camera, name)
        assert camera.wait_until_done(PATIENCE_S)
    assert len(station.verdicts(source)) >= len(names)


@contextmanager
def standing_still(station: Station) -> Iterator[None]:
    """Let collect do nothing while the block runs: now and then it looks whether its folder is there, and makes it."""
    collect = psutil.Process(station.pid("collect"))
    collect.suspend()
    try:
        wait_until(lambda: collect.status() == psutil.STATUS_STOPPED)
        yield
    finally:
        collect.resume()


def as_judged(scan: Scan) -> Scan:
    """Return a recorded scan as the station has it: in millimetres, NaN where nothing was measured."""
    rgb, xyz = scan
    xyz_mm = xyz.astype(np.float32) * np.float32(1000)
    xyz_mm[(xyz == 0).all(axis=2)] = np.nan
    return rgb, xyz_mm


def test_scans_are_kept_with_the_very_pixels_that_the_camera_sent(station: Station) -> None:
    judge(station, "keeper", *GOOD, *PAINTED)
    wait_until(lambda: len(collected(station, "keeper")) == len(GOOD + PAINTED))
    verdicts = {verdict.result_id: verdict for verdict in station.verdicts("keeper")}
    for found in collected(station, "keeper"):
        verdict, part = verdicts[found.part.result_id], found.part
        assert (part.part_id, part.evaluation, part.score) == (verdict.part_id, verdict.evaluation, verdict.score)
        assert (part.judged_ns, part.threshold) == (verdict.times.published, verdict.threshold and verdict.threshold.value)
        assert part.model_version == (verdict.model and verdict.model.version)
        for read, sent in zip(found.read(), as_judged(scan_of(station.trained.data, part.part_id)), strict=True):
            np.testing.assert_array_equal(read, sent)


def test_nobody_but_the_station_and_its_group_may_read_the_scans(station: Station) -> None:
    judge(station, "discreet", GOOD[0])
    wait_until(lambda: bool(collected(station, "discreet")))
    root = root_of(station)
    with standing_still(station):
        assert [path for path in (root, *root.rglob("*")) if path.stat().st_mode & 0o027] == []


def rejected(station: Station, source: str) -> str:
    """Have a painted part judged, and return the id of its alert once that is in Redis and the scan is kept."""
    judge(station, source, PAINTED[0])
    wait_until(lambda: bool(collected(station, source)))  # a review that comes sooner waits for it, though not for ever
    (verdict,) = station.verdicts(source)
    with closing(open_store(station.settings)) as store:
        wait_until(lambda: store.find(verdict.result_id) is not None)
    return verdict.result_id


def run(*arguments: object) -> str:
    """Run one verb and return what it prints."""
    result = CliRunner().invoke(mdss, [str(argument) for argument in arguments], env={"COLUMNS": "300"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_scan_of_a_rejected_alert_becomes_a_good_part_with_the_very_pixels(station: Station) -> None:
    result_id = rejected(station, "misjudged")
    run("alerts", "reject", result_id, "--config", station.config, "--by", "anna", "--note", "only paint")
    wait_until(lambda: [each.label for each in collected(station, "misjudged")] == ["good"])
    (found,) = collected(station, "misjudged")
    assert found.review is not None and (found.review.by, found.review.note) == ("anna", "only paint")
    assert result_id in run("collection", "list", "--config", station.config, "--label", "good")
    for read, sent in zip(found.read(), as_judged(scan_of(station.trained.data, PAINTED[0])), strict=True):
        np.testing.assert_array_equal(read, sent)
    run("alerts", "confirm", result_id, "--config", station.config)
    wait_until(lambda: [each.label for each in collected(station, "misjudged")] == ["defect"])


def test_another_console_that_writes_the_documented_stream_has_the_same_effect_also_while_alerts_was_away(station: Station) -> None:
    result_id = rejected(station, "console")
    os.kill(station.pid("alerts"), signal.SIGKILL)
    with redis.Redis.from_url(station.settings.alerts.redis_url) as client:
        client.xadd(f"mdss:reviews:{station.settings.station.name}", {"result_id": result_id, "state": "false_reject", "by": "console"})
    wait_until(lambda: [each.label for each in collected(station, "console")] == ["good"])
    wait_until(lambda: station.report.state == "running")


def test_a_killed_collect_costs_scans_and_no_verdict(station: Station) -> None:
    judge(station, "bereft", GOOD[0])
    os.kill(station.pid("collect"), signal.SIGKILL)
    judge(station, "bereft", *GOOD, *PAINTED)
    wait_until(lambda: station.report.state == "running" and station.process("collect").restarts == 1)
    judge(station, "again", *GOOD)
    wait_until(lambda: len(collected(station, "again")) == len(GOOD))
    assert not list(root_of(station).glob("*/.*"))


def test_scans_that_were_dropped_are_said_in_the_row_of_collect_also_once_it_is_well_again(station: Station) -> None:
    pid = station.pid("collect")
    os.kill(pid, signal.SIGSTOP)
    blank = np.zeros((2000, 2000, 3), np.uint8), np.full((2000, 2000, 3), np.nan, np.float32)  # 60 MB; one may wait for it in ingest
    with station.camera("in-a-hurry") as camera:
        for number in range(8):
            camera.send(*blank, part_id=f"blank-{number}", recipe_id=NAME, unit="mm")
        assert camera.wait_until_done(PATIENCE_S)
    wait_until(lambda: station.process("collect").reason.startswith("scans dropped in the last hour: "))
    os.kill(pid, signal.SIGCONT)
    judge(station, "at-leisure", *GOOD)
    wait_until(lambda: len(collected(station, "at-leisure")) == len(GOOD))
    (row,) = (line for line in run("status", "--config", station.config).splitlines() if line.startswith("collect "))
    assert "running" in row and "scans dropped in the last hour: " in row
    assert station.report.state == "running" and station.pid("collect") == pid


def test_a_folder_that_is_gone_is_said_and_costs_scans_and_no_verdict(station: Station) -> None:
    root, before = root_of(station), not_collected(station)
    with standing_still(station):
        root.rename(root.with_name("elsewhere"))
        root.write_text("a file where the folder should be")
    judge(station, "homeless", *GOOD)
    wait_until(lambda: not_collected(station) == before + len(GOOD))
    wait_until(lambda: station.report.state == "degraded")
    report = station.report
    assert report.is_ready and report.reason.startswith("collect: no scan is kept: ") and "cannot be written" in report.reason
    with standing_still(station):
        root.unlink()
        root.with_name("elsewhere").rename(root)
    wait_until(lambda: station.report.state == "running")
    assert collected(station, "homeless") == []
    judge(station, "housed", *GOOD)
    wait_until(lambda: len(collected(station, "housed")) == len(GOOD))


def test_a_full_disk_is_said_and_costs_scans_and_no_verdict(station: Station) -> None:
    pid = station.pid("collect")
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1000, hard))  # to this process the disk is full
    judge(station, "crowded", *GOOD, *PAINTED)
    wait_until(lambda: station.report.reason.startswith("collect: no scan is kept: [Errno 27]"))
    assert station.report.is_ready and collected(station, "crowded") == []
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    wait_until(lambda: station.report.state == "running")
    judge(station, "roomy", *GOOD)
    wait_until(lambda: len(collected(station, "roomy")) == len(GOOD))
    assert station.pid("collect") == pid
