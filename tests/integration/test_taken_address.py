"""Another program takes the port of a process that was away: the station says so, and judges again once it is free."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from demo.station import free_port
from tests.station import GOOD, PATIENCE_S, Trained, site, wait_until

pytestmark = pytest.mark.timeout(180)
NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(("name", "link"), [("ingest", "frames"), ("fusion", "verdicts")])
def test_a_port_that_is_taken_after_a_restart_is_said_and_tried_again(trained: Trained, tmp_path: Path, name: str, link: str) -> None:
    port = free_port()
    endpoint = {"endpoint": f"tcp://127.0.0.1:{port}"}
    sections: dict[str, dict[str, Any]] = {"camera" if name == "ingest" else "verdicts": endpoint, "security": {"plain_loopback": True}}
    with site(trained, NO_REDIS, tmp_path / "station", **sections) as place, place.running() as station:
        process = psutil.Process(station.pid(name))
        supervisor = process.parent()
        assert supervisor is not None
        supervisor.suspend()  # else it may start the process again before the port is taken
        process.kill()
        with taken(port):
            supervisor.resume()
            refused = f"ended with code 2: {link} endpoint tcp://127.0.0.1:{port}: cannot be opened (Address already in use)"
            wait_until(lambda: refused in station.process(name).reason)
            assert (station.process(name).state, station.report.state) in {("degraded", "degraded"), ("starting", "degraded")}
        wait_until(lambda: station.report.is_ready)
        with station.camera("cam") as camera:
            station.send(camera, GOOD[0])
            assert camera.wait_until_done(PATIENCE_S)
        assert station.process(name).restarts >= 2


def taken(port: int) -> socket.socket:
    """Take a port as soon as its process has ended."""
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            time.sleep(0.001)  # the processor is for the station
