"""Runs a station in a folder of its own, with the same processes as in production: settings, start, readiness, stop."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from daemon.tied_process import end_tied, last_words, start_tied
from daemon.verbs import request_report
from mdss.client import FrameSender
from mdss.errors import MdssError
from mdss.settings import Settings, load_settings

READY_WITHIN_S = 120.0
STOP_WITHIN_S = 40.0
CREDIT_WITHIN_S = 180.0
LOOK_EVERY_S = 0.2
TEMPLATE = files("config") / "demo.yaml"


@dataclass(frozen=True)
class StationFolders:
    """A station's folders: `state` is kept; `run` holds sockets and must have a short path; `store` holds the models."""

    state: Path
    run: Path
    store: Path

    def write_settings(self, recipe: str, redis_url: str, **sections: dict[str, Any]) -> Path:
        """Write station.yaml: the demo's settings with this place's paths and a free port."""
        tree = yaml.safe_load(TEMPLATE.read_text("utf-8"))
        own: dict[str, dict[str, Any]] = {
            "station": {"state_directory": str(self.state.resolve()), "runtime_directory": str(self.run)},
            "camera": {"endpoint": f"ipc://{self.run}/frames.sock"},
            "verdicts": {
                "endpoint": f"ipc://{self.run}/verdicts.sock",
                "snapshot_endpoint": f"ipc://{self.run}/snapshot.sock",
                "publish_maps": True,
            },
            "models": {"store": str(self.store.resolve()), "recipes": [recipe]},
            "alerts": {"redis_url": redis_url},
            "http": {"port": free_port()},
        }
        for name, values in (*own.items(), *sections.items()):
            tree[name] = {**(tree.get(name) or {}), **values}
        path = self.state / "station.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(tree, sort_keys=False), "utf-8")
        return path


def free_port() -> int:
    """Return a loopback port that nobody listens on and that the system assigns to nobody else for the next minute.

    The remains of a connection that this end closed first keep the port from being assigned, but not from being opened by its number.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        with socket.create_connection(probe.getsockname()):
            probe.accept()[0].close()
        return int(probe.getsockname()[1])


@contextmanager
def running_station(config: Path) -> Iterator[Settings]:
    """Run `mdss run` until the block ends; the station is ready when the block begins, and is drained at its end."""
    settings, log = load_settings(config), config.with_name("station.log")
    with log.open("wb") as output:
        process = start_tied([sys.executable, "-m", "mdss.cli", "run", "--config", str(config)], output, signal.SIGTERM)
    try:
        wait_until_ready(settings, process, log)
        yield settings
    finally:
        end_tied(process, STOP_WITHIN_S)
    if process.returncode != 0:
        raise MdssError(f"the station ended with code {process.returncode}; the last line of its log: {last_words(log)} (see {log})")


def camera_of(settings: Settings, name: str) -> FrameSender:
    """Return a camera connected to a station; with a time limit, because a station that has ended gives no credit any more."""
    return FrameSender(settings.camera.endpoint, name, send_timeout_s=CREDIT_WITHIN_S)


def wait_until_ready(settings: Settings, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the station says that it is ready; MdssError with the station's last log line if it ends or takes too long."""
    end_s = time.monotonic() + READY_WITHIN_S
    while not is_ready(settings):
        if process.poll() is not None or time.monotonic() > end_s:
            raise MdssError(f"the station did not become ready; the last line of its log: {last_words(log)} (see {log})")
        time.sleep(LOOK_EVERY_S)


def is_ready(settings: Settings) -> bool:
    """Return whether a station answers and says that all its processes can work."""
    try:
        return request_report(settings.http).is_ready
    except MdssError:
        return False
