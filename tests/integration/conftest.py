"""What several tests of real processes share: one tiny line and the model that was trained on it, and a Redis."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from daemon import private_redis, verbs
from daemon.private_redis import PrivateRedis
from tests.alert_line import Line
from tests.alerts import settings
from tests.retraining import Plant, answered, write_config
from tests.station import NAME, PATIENCE_S, Trained, small_recipe, write_line, write_teacher
from tests.verdict_station import Station
from trainer import retrain_run
from trainer.train import TrainingOrder, train


@pytest.fixture(scope="session", autouse=True)
def _patience() -> Iterator[None]:
    """Wait longer for a page of a station and for a Redis that starts: busy cores may be slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verbs, "ANSWER_WITHIN_S", PATIENCE_S)
        patch.setattr(private_redis, "START_WITHIN_S", PATIENCE_S)
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A line and its champion, trained as `mdss train` does; whoever changes the store works on a copy."""
    folder = tmp_path_factory.mktemp("line")
    data = write_line(folder / "data")
    train(TrainingOrder(data, folder / "models", NAME, small_recipe(write_teacher(folder / "teacher.safetensors")), device="cpu"))
    return Trained(data, folder / "models")


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A front door's address that nobody uses yet."""
    with TemporaryDirectory() as folder:
        yield f"ipc://{folder}/frames.sock"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrivateRedis]:
    """A Redis of this test alone."""
    with PrivateRedis(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def line(server: PrivateRedis, tmp_path: Path) -> Iterator[Line]:
    """A line whose alerts go to that Redis."""
    opened = Line.of(settings(server.url), tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    """The outer end of a station, for subscribers; tests of a whole one have a `station` of their own."""
    with closing(Station(tmp_path)) as opened:
        yield opened


@pytest.fixture
def own(trained: Trained, tmp_path: Path) -> Plant:
    """That line and its champion with a store, a state and settings of their own."""
    store = shutil.copytree(trained.store, tmp_path / "models", symlinks=True)
    return Plant(write_config(tmp_path, store), trained.data)


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that lets every model pass: what the real one asks has tests of its own."""
    monkeypatch.setattr(retrain_run, "run_gate", lambda _order, _plan, model: answered(model, is_passed=True))
