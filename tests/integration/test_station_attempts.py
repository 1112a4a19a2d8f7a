"""The whole station when workers die with parts in their hands: a second attempt, and an end to parts that no worker survives."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from daemon.private_redis import PrivateRedis
from daemon.recording import find_pairs, read_pair
from mdss.client import FrameSender
from mdss.wire.verdict import Verdict
from tests.station import GOOD, LOOK_EVERY_S, PAINTED, PATIENCE_S, Station, Trained, scan_of, site, wait_until

ROOT = Path(__file__).resolve().parents[2]
# No scan is known that ends a process; Python runs this in every process of a station, as a crash in a native library would strike.
BREAKS_ON_PAINT = """
import os, signal
from mdss.method import point_cloud
original = point_cloud.prepare
def prepare(rgb, xyz, settings):
    if (rgb == (255, 0, 255)).all(axis=2).any():
        os.kill(os.getpid(), signal.SIGSEGV)
    return original(rgb, xyz, settings)
point_cloud.prepare = prepare
"""
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def station(trained: Trained, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    sections = {"supervisor": {"restart_limit": 100}, "camera": {"credit": 8, "deadline_ms": 60_000}}
    with site(trained, redis_server.url, tmp_path_factory.mktemp("tried"), **sections) as place, place.running() as running:
        yield running


def held_up(station: Station, process: str, camera: FrameSender, parts: tuple[str, ...]) -> int:
    """Stop a process, then send parts and wait until the station has them all; return the process id."""
    pid = station.pid(process)
    os.kill(pid, signal.SIGSTOP)
    already = len(camera.acknowledged)
    for part in parts:
        station.send(camera, part)
    while len(camera.acknowledged) < already + len(parts):
        camera.attend(LOOK_EVERY_S)
    return pid


def verdicts_of(station: Station, camera: FrameSender) -> list[Verdict]:
    """Wait until every frame has its verdict, and return them in order."""
    assert camera.wait_until_done(PATIENCE_S)
    return station.verdicts(camera.source_id)


@pytest.mark.parametrize("process", ["prepare", "rgb-0", "sdf-0", "fusion"])
def test_parts_that_wait_at_a_killed_process_are_judged_by_a_second_attempt(station: Station, process: str) -> None:
    parts = GOOD + PAINTED
    with station.camera(f"at-{process}") as camera:
        os.kill(held_up(station, process, camera, parts), signal.SIGKILL)
        verdicts = verdicts_of(station, camera)
    assert sorted((verdict.part_id, verdict.evaluation) for verdict in verdicts) == sorted(
        [(part, "OK") for part in GOOD] + [(part, "NotOK") for part in PAINTED]
    )
    assert {verdict.attempt for verdict in verdicts} <= {1, 2}
    if process != "fusion":  # whose next life may still find all that was said of a part on its way, and needs no second attempt then
        assert any(verdict.attempt == 2 for verdict in verdicts)
    assert {verdict.frame_id: verdict.result_id for verdict in verdicts} == camera.acknowledged
    wait_until(lambda: station.report.state == "running")


def test_parts_that_ingest_held_when_it_was_killed_come_again_from_the_camera(station: Station) -> None:
    with station.camera("at-ingest") as camera:
        sdf = held_up(station, "sdf-0", camera, GOOD)
        os.kill(station.pid("ingest"), signal.SIGKILL)
        os.kill(sdf, signal.SIGCONT)
        verdicts = verdicts_of(station, camera)
    assert sorted((verdict.part_id, verdict.evaluation) for verdict in verdicts) == [(part, "OK") for part in GOOD]
    wait_until(lambda: station.report.state == "running")


def test_a_part_that_two_workers_end_with_is_quarantined_with_its_scan_and_the_next_is_judged(
    trained: Trained, redis_server: PrivateRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BREAKS_ON_PAINT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", ""))))
    with site(trained, redis_server.url, tmp_path / "station") as place, place.running() as station, station.camera("cam") as camera:
        frame_id = station.send(camera, PAINTED[0])
        station.send(camera, GOOD[0])
        verdicts = {verdict.part_id: verdict for verdict in verdicts_of(station, camera)}
        wait_until(lambda: station.process("prepare").restarts == 2)
    assert (verdicts[GOOD[0]].evaluation, len(verdicts)) == ("OK", 2)
    poison = verdicts[PAINTED[0]]
    assert (poison.frame_id, poison.evaluation, poison.code, poison.attempt) == (frame_id, "Undefined", "POISON", 2)
    assert poison.reasons[0].count("prepare ended with code -11") == 2
    folder = Path(station.settings.station.state_directory) / "quarantine"
    (pair,) = find_pairs(folder, "test")
    np.testing.assert_array_equal(read_pair(pair)[0], scan_of(trained.data, PAINTED[0])[0])
    assert msgspec.json.decode((folder / f"{poison.result_id}.json").read_bytes())["reason"] == poison.reasons[0]
