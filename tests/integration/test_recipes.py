"""One station, several products: loaded when a frame names them or somebody announces them, within a budget that has room for two."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from daemon.private_redis import PrivateRedis
from mdss.cli import mdss
from mdss.method import model_store
from tests.models import another
from tests.station import GOOD, NAME, PATIENCE_S, Station, Trained, read_journal, site, state_of, wait_until

pytestmark = pytest.mark.timeout(240)
CAP, BOLT = "cap", "bolt"
ACCEPTED, NOT_READY = "mdss_frames_accepted_total", 'mdss_frames_rejected_total{code="NOT_READY"}'


@pytest.fixture(scope="module")
def station(trained: Trained, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    folder = tmp_path_factory.mktemp("products")
    store = folder / "models"
    shutil.copytree(trained.store, store, symlinks=True)
    model_store.promote(store, CAP, another(store, NAME, CAP).version)
    another(store, NAME, BOLT)  # a version, and none that is the champion
    models = {"recipes": [NAME, CAP, BOLT], "preload": [NAME], "memory_mb": 30}
    with site(Trained(trained.data, store), redis_server.url, folder / "station", models=models) as place, place.running() as running:
        yield running


def counted(station: Station, name: str) -> float:
    """Return how far a counter of ingest is, as of its last heartbeat."""
    (line,) = [line for line in station.page("/metrics")[1].splitlines() if line.startswith(name)]
    return float(line.split()[-1])


def refused_for_now(station: Station) -> float:
    """Return how many frames were answered NOT_READY, once ingest has told of every part that was judged."""
    wait_until(lambda: counted(station, ACCEPTED) == len(read_journal(station.settings)))
    return counted(station, NOT_READY)


def judged(station: Station, source: str, recipe: str) -> list[tuple[str, str, str]]:
    """Send one part of a recipe, and return recipe, evaluation and version of what came of the camera's parts."""
    with station.camera(source) as camera:
        station.send(camera, GOOD[0], recipe_id=recipe)
        assert camera.wait_until_done(PATIENCE_S) and not camera.rejected
    return [(each.recipe_id, each.evaluation, each.model.version if each.model else "") for each in station.verdicts(source)]


def test_the_first_frame_of_another_recipe_waits_at_its_camera_while_the_model_is_loaded(station: Station) -> None:
    assert state_of(station, CAP).version == ""
    assert judged(station, "asking", CAP) == [(CAP, "OK", "0001")]
    assert refused_for_now(station) > 0
    assert judged(station, "both", NAME) == [(NAME, "OK", "0001")], "there is room for two"


def test_a_recipe_without_a_model_is_not_waited_for(station: Station) -> None:
    result = CliRunner().invoke(mdss, ["recipe", "preload", BOLT, "--config", str(station.config), "--wait", "--timeout-s", "30"])
    champion = station.trained.store / BOLT / "champion"
    assert (result.exit_code, str(result.exception).startswith(f"recipe bolt: {champion}: no such model; ")) == (1, True), result.exception


def test_a_recipe_without_a_model_keeps_no_other_from_being_judged(station: Station) -> None:
    with station.camera("patient") as camera:
        station.send(camera, GOOD[0], recipe_id=BOLT)
        while "bolt/champion: no such model" not in state_of(station, BOLT).reason:
            camera.attend(0.05)
        for part in GOOD:
            station.send(camera, part, recipe_id=NAME)
        while len(station.verdicts("patient")) < len(GOOD):
            camera.attend(0.05)
        model_store.promote(station.trained.store, BOLT, "0001")
        assert camera.wait_until_done(PATIENCE_S)
    assert [each.recipe_id for each in station.verdicts("patient")] == [NAME] * len(GOOD) + [BOLT]
    assert state_of(station, CAP).version == "", "it was used least recently, and has made room"
    wait_until(lambda: station.report.state == "running")


def test_a_changeover_that_is_announced_costs_no_part_and_no_wait(station: Station) -> None:
    runner = CliRunner(env={"COLUMNS": "200"})
    result = runner.invoke(mdss, ["recipe", "preload", CAP, "--config", str(station.config), "--wait"])
    assert (result.exit_code, result.stdout.startswith("cap: version 0001 is loaded, generation ")) == (0, True), result.output
    before = refused_for_now(station)
    assert judged(station, "announced", CAP) == [(CAP, "OK", "0001")]
    assert refused_for_now(station) == before
    listed = runner.invoke(mdss, ["recipe", "list", "--config", str(station.config)])
    assert "25 MB of 30 MB are taken" in listed.stdout, listed.output


def test_a_recipe_that_the_station_does_not_have_cannot_be_announced(station: Station) -> None:
    result = CliRunner().invoke(mdss, ["recipe", "preload", "ring", "--config", str(station.config)])
    assert (result.exit_code, str(result.exception)) == (1, "RECIPE: found ring, expected one of models.recipes: flange, cap, bolt")


def test_beside_two_that_are_in_use_a_third_says_that_it_has_no_room_and_is_judged_once_they_rest(station: Station) -> None:
    for recipe in (NAME, CAP):
        judged(station, f"first-{recipe}", recipe)
    with station.camera("busy") as busy, station.camera("crowded-out") as waiting:
        for recipe in (NAME, CAP):  # to load the second may have taken so long that the first counts as idle
            station.send(busy, GOOD[0], recipe_id=recipe)
        station.send(waiting, GOOD[0], recipe_id=BOLT)
        while "no room" not in (report := station.report).reason:
            for recipe in (NAME, CAP):
                station.send(busy, GOOD[0], recipe_id=recipe)
            waiting.attend(0.1)
        shown = next(each.reason for each in report.models if each.recipe == BOLT)
        assert shown.startswith("no room beside flange, cap: ") and shown.endswith(" of 30 free (models.memory_mb)")
        assert (report.state, report.is_ready, report.reason) == ("degraded", True, f"recipe bolt is judged by nothing: {shown}")
        assert busy.wait_until_done(PATIENCE_S) and waiting.wait_until_done(PATIENCE_S)
    assert [each.recipe_id for each in station.verdicts("crowded-out")] == [BOLT]
    wait_until(lambda: station.report.state == "running")
