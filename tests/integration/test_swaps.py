"""A running station changes its model: ten times under load, and not where the new one cannot be used."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import swaps_report
from daemon.private_redis import PrivateRedis
from daemon.recipe_models import RecipeReport
from mdss.method import model_store
from mdss.wire.model_plan import PLAN
from mdss.wire.verdict import Verdict
from tests.benches import run_bench
from tests.models import another, damage, other_scores
from tests.station import GOOD, LOOK_EVERY_S, NAME, PATIENCE_S, Station, Trained, site, state_of, wait_until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def station(trained: Trained, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    folder = tmp_path_factory.mktemp("swapped")
    shutil.copytree(trained.store, folder / "models", symlinks=True)
    another(folder / "models", NAME)
    with site(Trained(trained.data, folder / "models"), redis_server.url, folder / "station") as place, place.running() as running:
        yield running


def promote(station: Station, version: str) -> RecipeReport:
    """Make a version the champion, and wait until it judges."""
    model_store.promote(station.trained.store, NAME, version)
    wait_until(lambda: state_of(station).version == version)
    return state_of(station)


def is_of_one_model(verdict: Verdict) -> bool:
    """Whether both branches and the threshold are of the model that the verdict names."""
    assert verdict.model is not None
    return {branch.model_version for branch in verdict.branches.values()} == {verdict.model.version}


def test_ten_swaps_under_load_lose_no_part_and_none_is_judged_by_two_models(trained: Trained, tmp_path: Path) -> None:
    size = ("--swaps", "10", "--cameras", "1", "--rate", "4", "--quiet-s", "0", "--pause-s", "0.5", "--deadline-ms", "60000")
    report = run_bench(trained, tmp_path, swaps_report.Report, "bench.swaps", *size)
    assert (report.swaps, report.took.count) == (10, 10)
    assert (report.lost, report.doubled, report.by_two_models, report.out_of_order, report.late) == (0, 0, 0, 0, 0)
    assert report.judged == report.sent > 10
    assert report.evaluations.keys() <= {"OK", "NotOK"}


def test_a_damaged_version_is_not_taken_says_why_and_the_next_one_is(station: Station) -> None:
    serving = state_of(station)
    weights = damage(another(station.trained.store, NAME)).path
    store = station.trained.store / NAME
    (store / "champion").unlink()
    (store / "champion").symlink_to(weights.name)
    wait_until(lambda: state_of(station).failures == 1)
    assert (state_of(station).version, state_of(station).generation) == (serving.version, serving.generation)
    assert f"{weights}/sdf.safetensors: found the checksum" in state_of(station).reason
    assert station.report.state == "degraded" and station.page("/readyz")[0] == 200
    assert f'mdss_model_swap_failures_total{{recipe="{NAME}"}} 1.0' in station.page("/metrics")[1]
    with station.camera("unmoved") as camera:
        station.send(camera, GOOD[0])
        assert camera.wait_until_done(PATIENCE_S)
    promote(station, "0002" if serving.version == "0001" else "0001")
    wait_until(lambda: station.report.state == "running")
    assert (state_of(station).generation, state_of(station).reason) == (serving.generation + 1, "")


def test_a_version_that_scores_its_golden_scans_otherwise_is_not_taken(station: Station) -> None:
    serving = state_of(station)
    model_store.promote(station.trained.store, NAME, another(station.trained.store, NAME, change=other_scores).version)
    wait_until(lambda: state_of(station).failures > serving.failures)
    assert (state_of(station).version, state_of(station).generation) == (serving.version, serving.generation)
    assert "the model does not judge here as it did" in state_of(station).reason
    assert state_of(station).reason.startswith("rgb-0: ")


def test_a_swap_that_cannot_be_recorded_is_not_shown_as_done_and_happens_once_it_can(station: Station) -> None:
    before = state_of(station)
    version = "0002" if before.version == "0001" else "0001"
    generations = Path(station.settings.station.state_directory) / PLAN
    generations.rename(generations.with_suffix(".before"))
    generations.mkdir()
    model_store.promote(station.trained.store, NAME, version)
    wait_until(lambda: "cannot be written" in state_of(station).reason)
    shown = state_of(station)
    assert (shown.champion, shown.version, shown.generation, shown.swaps) == (version, before.version, before.generation, before.swaps)
    assert station.report.state == "degraded" and f"{generations}: cannot be written" in station.report.reason
    assert f'mdss_model_info{{recipe="{NAME}",version="{before.version}"}} 1.0' in station.page("/metrics")[1]
    with station.camera("meanwhile") as camera:
        station.send(camera, GOOD[0])
        assert camera.wait_until_done(PATIENCE_S)
        generations.rmdir()
        wait_until(lambda: state_of(station).version == version)
        station.send(camera, GOOD[0])
        assert camera.wait_until_done(PATIENCE_S)
    assert [each.model and each.model.version for each in station.verdicts("meanwhile")] == [before.version, version]
    wait_until(lambda: station.report.state == "running")


def test_a_worker_that_is_killed_after_a_swap_comes_back_with_the_model_that_serves(station: Station) -> None:
    version = promote(station, "0002" if state_of(station).version == "0001" else "0001").version
    for name in ("rgb-0", "fusion", "ingest"):
        os.kill(station.pid(name), signal.SIGKILL)
    wait_until(lambda: all(station.process(name).restarts == 1 for name in ("rgb-0", "fusion", "ingest")))
    wait_until(lambda: station.report.state == "running")
    with station.camera("after") as camera:
        for part in GOOD:
            station.send(camera, part)
        assert camera.wait_until_done(PATIENCE_S)
    verdicts = station.verdicts("after")
    assert [verdict.evaluation for verdict in verdicts] == ["OK"] * len(GOOD)
    assert {verdict.model and verdict.model.version for verdict in verdicts} == {version}
    assert all(map(is_of_one_model, verdicts))


def test_a_worker_that_comes_back_while_the_store_is_away_has_parts_wait_at_their_cameras_until_it_is_back(station: Station) -> None:
    store, restarts = station.trained.store, station.process("rgb-0").restarts
    away = store.rename(store.with_name("away"))
    os.kill(station.pid("rgb-0"), signal.SIGKILL)
    wait_until(lambda: state_of(station).version == "" and station.process("rgb-0").is_ready, lambda: station.report)
    with station.camera("patient") as camera:
        station.send(camera, GOOD[0])
        while not camera.put_off:
            camera.attend(LOOK_EVERY_S)
        (put_off,) = camera.put_off.values()
        assert put_off.code == "NOT_READY" and f"{store}/{NAME}" in put_off.reason
        away.rename(store)
        assert camera.wait_until_done(PATIENCE_S)
    assert [verdict.evaluation for verdict in station.verdicts("patient")] == ["OK"]
    wait_until(lambda: station.report.state == "running")
    assert station.process("rgb-0").restarts == restarts + 1
