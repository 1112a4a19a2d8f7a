"""A candidate beside a live station: it scores what the station judges, changes no verdict, and says on which parts it differs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from daemon.private_redis import PrivateRedis
from mdss import audit
from mdss.cli import main
from mdss.collect_request import FOLDER
from mdss.method import model_store
from mdss.method.model_store import ModelFolder
from tests.station import GOOD, NAME, PAINTED, PATIENCE_S, Station, Trained, site, wait_until
from trainer.gate import GATES
from trainer.shadow_report import ShadowReport

pytestmark = pytest.mark.timeout(240)
PARTS = (*GOOD, *PAINTED)
# Behind everything else on the machine it would never come to its turn where the tests have all cores busy.
WITHOUT_GIVING_WAY = """
import sys
from mdss.cli import main
from trainer import shadow_verb
shadow_verb.lower_priority = lambda: print("it gives way", file=sys.stderr)
sys.exit(main())
"""


@pytest.fixture(scope="module")
def two_models(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The line with a candidate: the champion's own weights under a threshold that no part stays below."""
    store = tmp_path_factory.mktemp("two") / "models"
    shutil.copytree(trained.store, store, symlinks=True)
    champion = model_store.open_champion(store, NAME)
    calibration = champion.calibration
    lower = msgspec.structs.replace(calibration.threshold, value=min(calibration.validation_scores) / 100)

    def write(folder: Path) -> None:
        for weights in champion.path.glob("*.safetensors"):
            shutil.copy(weights, folder)

    saved = model_store.save(store, champion.card, msgspec.structs.replace(calibration, threshold=lower), write)
    model_store.nominate(store, NAME, saved.version)
    return Trained(trained.data, store)


@pytest.fixture(scope="module")
def station(two_models: Trained, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    folder = tmp_path_factory.mktemp("shadowed")
    with site(two_models, redis_server.url, folder, collection={"min_free_mb": 0}) as place, place.running() as running:
        yield running


def begin(station: Station, *options: str) -> subprocess.Popen[bytes]:
    """Begin a shadow as an operator does, but for its priority: it only says where it would give way to all others."""
    words = ("model", "shadow", "--config", str(station.config), "--recipe", NAME, *options)
    return subprocess.Popen([sys.executable, "-c", WITHOUT_GIVING_WAY, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def versions(store: Path) -> tuple[ModelFolder, ModelFolder]:
    return model_store.open_champion(store, NAME), model_store.open_version(store / NAME / "0002")


def test_the_candidate_scores_live_parts_has_no_say_and_the_report_names_where_it_differs(station: Station) -> None:
    wish = Path(station.settings.station.state_directory) / FOLDER / f"{NAME}.json"
    running = begin(station, "--parts", str(len(PARTS)), "--minutes", "3", "--json")
    with station.camera("cam") as camera:
        wait_until(lambda: wish.exists() or running.poll() is not None)
        for part_id in PARTS:
            station.send(camera, part_id)
        assert camera.wait_until_done(timeout_s=PATIENCE_S)
    out, err = running.communicate(timeout=2 * PATIENCE_S)
    assert running.returncode == 0, err.decode()
    found = msgspec.json.decode(out, type=ShadowReport)
    champion, candidate = versions(station.trained.store)
    verdicts = {verdict.part_id: verdict for verdict in station.verdicts("cam")}
    assert {verdict.model.version for verdict in verdicts.values() if verdict.model} == {champion.version}
    accepted = {name for name, verdict in verdicts.items() if verdict.evaluation == "OK"}
    assert "it gives way" in err.decode()
    assert (found.parts, found.same) == (len(PARTS), len(PARTS) - len(accepted))  # all kept, though the sample is one in twenty
    assert ({part.part_id for part in found.differing}, found.only_champion_accepts) == (accepted, len(accepted))
    assert found.change is not None
    factor = champion.calibration.threshold.value / candidate.calibration.threshold.value
    assert found.change.value == pytest.approx(factor, rel=0.05)  # the same weights: only the threshold is another
    recipe = station.trained.store / NAME
    assert msgspec.json.decode((recipe / GATES / "0002" / "shadow.json").read_bytes(), type=ShadowReport) == found
    last = audit.events(recipe)[-1]
    assert (last.what, last.before, last.after) == ("shadow", champion.version, "0002")
    assert not wish.exists()


def test_where_the_report_lies_is_said_to_a_person(station: Station) -> None:
    wish = Path(station.settings.station.state_directory) / FOLDER / f"{NAME}.json"
    running = begin(station, "--parts", "1", "--minutes", "3")
    with station.camera("cam-2") as camera:
        wait_until(lambda: wish.exists() or running.poll() is not None)
        station.send(camera, GOOD[0])
        assert camera.wait_until_done(timeout_s=PATIENCE_S)
    out, err = running.communicate(timeout=2 * PATIENCE_S)
    assert running.returncode == 0, err.decode()
    assert out.decode().splitlines()[-1] == f"report: {station.trained.store / NAME / GATES / '0002' / 'shadow.json'}"


def test_a_shadow_that_sees_no_part_says_so_and_leaves_no_report(station: Station) -> None:
    running = begin(station, "--version", "0001", "--minutes", "0.01")
    _, err = running.communicate(timeout=2 * PATIENCE_S)
    assert (running.returncode, "found no live part within the time" in err.decode()) == (1, True)
    assert not (station.trained.store / NAME / GATES / "0001").exists()


def test_a_shadow_that_is_interrupted_before_a_part_came_says_that(station: Station) -> None:
    wish = Path(station.settings.station.state_directory) / FOLDER / f"{NAME}.json"
    running = begin(station, "--version", "0001")
    wait_until(wish.exists)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130
    assert "found no live part before it was interrupted, expected" in err.decode() and err.endswith(b"\nmdss: interrupted\n")
    assert not wish.exists() and not (station.trained.store / NAME / GATES / "0001").exists()


@pytest.mark.parametrize(
    ("options", "refusal"),
    [(("--recipe", "nut"), "expected one of flange"), (("--recipe", NAME, "--version", "0009"), "no such version")],
)
def test_what_it_cannot_compare_is_refused(
    station: Station, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], refusal: str
) -> None:
    version = () if "--version" in options else ("--version", "0001")
    assert main(["model", "shadow", "--config", str(station.config), *options, *version]) == 2
    assert refusal in capsys.readouterr().err
