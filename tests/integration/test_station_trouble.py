"""The whole station on a bad day: processes are killed, the station is stopped under load and started again; no part is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from daemon.private_redis import PrivateRedis
from mdss.client import FrameSender
from mdss.errors import MdssError
from mdss.wire.verdict import Verdict
from tests.load import Load, ids
from tests.station import GOOD, LOOK_EVERY_S, PAINTED, PATIENCE_S, Station, Trained, read_journal, site, wait_until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def life() -> Iterator[ExitStack]:
    """What ends the station of this module."""
    with ExitStack() as ending:
        yield ending


@pytest.fixture(scope="module")
def station(life: ExitStack, trained: Trained, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory) -> Station:
    two, quick = {"rgb": {"count": 2, "device": "cpu"}}, {"drain_timeout_s": 1}
    place = site(trained, redis_server.url, tmp_path_factory.mktemp("troubled"), branches=two, supervisor=quick)
    return life.enter_context(life.enter_context(place).running())


def judged(station: Station, camera: FrameSender, parts: tuple[str, ...] = GOOD) -> list[Verdict]:
    """Send parts, wait for their verdicts, and return them."""
    names = [station.send(camera, part) for part in parts]
    assert camera.wait_until_done(PATIENCE_S)
    return [verdict for verdict in station.verdicts(camera.source_id) if verdict.frame_id in names]


def test_two_processes_share_a_branch(station: Station) -> None:
    with station.camera("many") as camera:
        verdicts = judged(station, camera, GOOD + PAINTED)
    expected = [(part, "OK") for part in GOOD] + [(part, "NotOK") for part in PAINTED]
    assert sorted((verdict.part_id, verdict.evaluation) for verdict in verdicts) == expected, "one process may overtake the other"
    wait_until(lambda: all(station.process(name).steps for name in ("rgb-0", "rgb-1")))


def test_a_killed_branch_degrades_the_station_comes_back_and_costs_no_part_its_verdict(station: Station) -> None:
    with station.camera("bereft") as camera:
        judged(station, camera)
        for part in GOOD:
            station.send(camera, part, deadline_ms=5000)
        os.kill(station.pid("sdf-0"), signal.SIGKILL)
        wait_until(lambda: (now := station.report).state == "degraded" and now.reason.startswith("sdf-0: ended with code -9"))
        station.send(camera, PAINTED[0], deadline_ms=5000)
        assert camera.wait_until_done(PATIENCE_S)
        wait_until(lambda: station.report.state == "running" and station.process("sdf-0").restarts == 1)
        assert [verdict.evaluation for verdict in judged(station, camera)] == ["OK"] * len(GOOD)
    verdicts = station.verdicts("bereft")
    assert ids(verdicts) == sorted(camera.acknowledged)
    for verdict in verdicts:
        assert verdict.score is not None or (verdict.deadline_missed and "no result from" in verdict.reasons[0])


def test_a_branch_that_is_gone_for_good_keeps_nothing_from_the_other(trained: Trained, redis_server: PrivateRedis, tmp_path: Path) -> None:
    gone_for_good, one_alone = {"restart_limit": 1}, {"degraded_policy": "single_branch"}
    place = site(trained, redis_server.url, tmp_path / "bereft", supervisor=gone_for_good, fusion=one_alone)
    with place as bereft, bereft.running() as station:
        os.kill(station.pid("sdf-0"), signal.SIGKILL)
        wait_until(lambda: station.report.state == "error")
        with station.camera("cam") as camera:
            verdicts = judged(station, camera, (GOOD * 6)[:12])
    assert len(verdicts) == 12
    assert {(verdict.is_partial, verdict.deadline_missed, tuple(verdict.branches)) for verdict in verdicts} == {(True, False, ("rgb",))}


def test_parts_that_were_open_when_fusion_was_killed_get_their_verdict_and_later_ones_are_judged(station: Station) -> None:
    with station.camera("unjoined") as camera, station.stream_from_now() as stream:
        judged(station, camera, GOOD[:1])
        sdf = station.pid("sdf-0")
        os.kill(sdf, signal.SIGSTOP)  # so that the next parts are open
        for part in GOOD:
            station.send(camera, part, deadline_ms=3000)
        attend_until_acknowledged(camera, 1 + len(GOOD))
        os.kill(station.pid("fusion"), signal.SIGKILL)
        os.kill(sdf, signal.SIGCONT)
        assert camera.wait_until_done(PATIENCE_S)
        wait_until(lambda: station.report.state == "running" and station.process("fusion").restarts == 1)
        assert [verdict.evaluation for verdict in judged(station, camera)] == ["OK"] * len(GOOD)
        seen = [stream.receive(PATIENCE_S) for _ in range(1 + 2 * len(GOOD))]
    verdicts = station.verdicts("unjoined")
    assert ids(verdicts) == sorted(camera.acknowledged)
    assert seen == verdicts
    for verdict in verdicts[1 : 1 + len(GOOD)]:
        assert verdict.evaluation == "OK" or (verdict.deadline_missed and verdict.reasons)


def attend_until_acknowledged(camera: FrameSender, count: int) -> None:
    """Let the camera do its part until so many of its frames are accepted."""
    while len(camera.acknowledged) < count:
        camera.attend(LOOK_EVERY_S)


def test_a_station_that_is_stopped_under_load_and_then_killed_whole_leaves_no_gap_no_process_and_no_part_without_its_verdict(
    trained: Trained, redis_server: PrivateRedis, tmp_path: Path
) -> None:
    place = site(trained, redis_server.url, tmp_path / "restarted", supervisor={"drain_timeout_s": 30})
    with place as restarted, ExitStack() as second_life:
        with restarted.running() as station:
            stream, load = station.stream(), Load(station)
            seen = [stream.receive(PATIENCE_S) for _ in range(len(GOOD))]
        drained = read_journal(station.settings)
        assert set(load.camera.acknowledged) <= set(ids(drained))
        station = second_life.enter_context(restarted.running())
        seen += [stream.receive(PATIENCE_S) for _ in range(len(drained))]  # the last of them of this life: it ends under load too
        processes = [psutil.Process(process.pid) for process in station.report.processes]
        os.kill(processes[0].ppid(), signal.SIGKILL)
        psutil.wait_procs(processes)
        with pytest.raises(MdssError, match="the station ended with code -9"):
            second_life.close()
        with restarted.running():
            load.end()
            verdicts = read_journal(station.settings)
            seen += [stream.receive(PATIENCE_S) for _ in range(len(verdicts) - len(seen))]
            stream.close()
    assert load.camera.outstanding == 0
    assert ids(verdicts) == sorted(load.camera.acknowledged)
    assert [verdict.sequence for verdict in verdicts] == list(range(1, len(verdicts) + 1))
    assert {verdict.evaluation for verdict in verdicts} == {"OK"}
    assert len({verdict.boot_id for verdict in verdicts}) == 3
    assert seen == verdicts


def test_what_cannot_be_judged_before_the_stop_is_drained(station: Station, life: ExitStack) -> None:
    with station.camera("drained") as camera:
        os.kill(station.pid("sdf-0"), signal.SIGSTOP)
        for part in GOOD:
            station.send(camera, part)
        attend_until_acknowledged(camera, len(GOOD))
    life.close()
    verdicts = station.verdicts("drained")
    assert ids(verdicts) == sorted(camera.acknowledged)
    assert {(verdict.evaluation, verdict.code) for verdict in verdicts} == {("Undefined", "DRAINED")}
