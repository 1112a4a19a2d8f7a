"""What a station, or one of its processes, cannot start with: a sentence that names it, an exit code, no process left; no second try."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from daemon.spawn import lock_folder
from mdss.errors import ModelRefused
from mdss.method import model_store
from mdss.method.store_files import SUMS
from mdss.settings import load_settings
from tests.station import NAME, Trained, site
from workers import rgb

pytestmark = pytest.mark.timeout(180)
PLAIN = {"plain_loopback": True}
NO_REDIS = "redis://127.0.0.1:1/0"  # the station starts without it, so it cannot be the reason
Refused = tuple[int, str]


def remove_champion(model: Path) -> None:
    """Leave the versions, but none that is the champion."""
    (model.parent / "champion").unlink()


def flip_a_byte(model: Path) -> None:
    """Damage the weights as a bad disk would."""
    weights = model / "sdf.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def replace_weights(model: Path) -> None:
    """Put weights of another network in, with a checksum that fits."""
    colour, shape = (model / f"{branch}.safetensors" for branch in ("rgb", "sdf"))
    before, after = (hashlib.sha256(weights.read_bytes()).hexdigest() for weights in (colour, shape))
    shutil.copyfile(shape, colour)
    (model / SUMS).write_text((model / SUMS).read_text().replace(before, after))


def damaged(trained: Trained, folder: Path, damage: Callable[[Path], None]) -> Trained:
    """Return a copy of the store whose model is damaged."""
    store = folder / "models"
    shutil.copytree(trained.store, store, symlinks=True)
    damage(store / NAME / "0001")
    return Trained(trained.data, store)


def run(config: Path, *module: str) -> Refused:
    """Run a station, or one process of it, that ends by itself; return its exit code and its last sentence."""
    command, log = [sys.executable, "-m", *(module or ("mdss.cli", "run")), "--config", str(config)], config.with_name("refusal.log")
    with log.open("w") as errors, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True) as process:
        try:
            code = process.wait(60)
        finally:
            process.kill()
    assert left_of(process.pid) == []
    said = log.read_text()
    assert "Traceback" not in said and "starts again" not in said
    return code, said.splitlines()[-1]


def left_of(session: int) -> list[psutil.Process]:
    """Return the processes of a session that have not ended."""
    left = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            left += [process] if os.getsid(process.pid) == session else []
    return left


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove_champion, "{store}/flange/champion: no such model; expected one made by `mdss train --recipe flange --out {store}`"),
        (flip_a_byte, "{store}/flange/0001/sdf.safetensors: found the checksum "),  # said by the first process that opens it
    ],
)
def test_a_model_that_cannot_be_used_is_named(trained: Trained, tmp_path: Path, damage: Callable[[Path], None], sentence: str) -> None:
    with site(damaged(trained, tmp_path, damage), NO_REDIS, tmp_path / "station") as place:
        code, said = run(place.config)
    assert code == 1
    assert said.startswith("mdss: the station cannot start: ")
    assert sentence.format(store=tmp_path / "models") in said


def test_weights_of_another_network_are_named(trained: Trained, tmp_path: Path) -> None:
    model = model_store.open_version(damaged(trained, tmp_path, replace_weights).store / NAME / "0001")
    sentence = f"{model.path}/rgb.safetensors: deviation: found nothing, expected a tensor of shape (1, 384, 1, 1)"
    with pytest.raises(ModelRefused, match=f"^{re.escape(sentence)}"):
        rgb.load(model, "cpu", "float32")


def test_a_device_that_this_machine_lacks_is_named(trained: Trained, tmp_path: Path) -> None:
    with site(trained, NO_REDIS, tmp_path / "station", branches={"sdf": {"device": "cuda:99"}}) as place:
        code, said = run(place.config, "workers.sdf")
    assert code == 2
    assert said.startswith("sdf: device: found 'cuda:99', expected auto or one of this machine's: cpu")


def test_a_taken_port_is_named_before_anything_starts(trained: Trained, tmp_path: Path) -> None:
    with site(trained, NO_REDIS, tmp_path / "station") as place:
        port = load_settings(place.config).http.port
        with socket.create_server(("127.0.0.1", port)):
            code, said = run(place.config)
    assert code == 1
    assert said == f"mdss: http: 127.0.0.1:{port} cannot be opened (Address already in use): expected a free port of this machine"


def test_a_taken_camera_endpoint_is_named(trained: Trained, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        endpoint = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with site(trained, NO_REDIS, tmp_path / "station", camera={"endpoint": endpoint}, security=PLAIN) as place:
            code, said = run(place.config, "daemon.ingest")
    assert code == 2
    assert said.startswith(f"ingest: frames endpoint {endpoint}: cannot be opened (Address already in use)")


@pytest.mark.parametrize("key", ["state_directory", "runtime_directory"])
def test_a_folder_that_cannot_be_written_is_named(trained: Trained, tmp_path: Path, key: str) -> None:
    with site(trained, NO_REDIS, tmp_path / "station", station={key: "/proc/mdss"}) as place:
        code, said = run(place.config)
    assert code == 2
    assert said.startswith(f"mdss: station.{key} /proc/mdss: cannot be written (")


@pytest.mark.parametrize(("key", "name"), [("runtime_directory", "supervisor.lock"), ("state_directory", "station.lock")])
def test_a_directory_in_which_another_station_runs_is_named(trained: Trained, tmp_path: Path, key: str, name: str) -> None:
    with site(trained, NO_REDIS, tmp_path / "station") as place:
        directory = getattr(load_settings(place.config).station, key)
        lock = lock_folder(f"station.{key}", Path(directory), name)
        code, said = run(place.config)
        os.close(lock)
    assert code == 1
    assert said == f"mdss: station.{key} {directory}: another station runs here; expected a directory of its own"
