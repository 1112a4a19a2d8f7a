"""Drift on a running station: a lamp that ages is warned of by name, everywhere at once, and every verdict is as it would have been."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from daemon.private_redis import PrivateRedis
from mdss.cli import main
from mdss.client import FrameSender, Invalid
from mdss.drift import BLOCK_PARTS
from mdss.drift_record import DriftRecord
from tests.station import NAME, PATIENCE_S, Station, Trained, scan_of, site, wait_until

pytestmark = pytest.mark.timeout(180)
SCANS = 8  # what the line was trained on; the six others are the reference
LAMP = (0.9, 0.87, 0.84, 0.81, 0.78)


def send(station: Station, camera: FrameSender, light: float, number: int) -> None:
    """Send one good part under so much of the light."""
    rgb, xyz = scan_of(station.trained.data, f"good/{number % SCANS:03d}", split="train")
    darker = np.rint(rgb * light).astype(np.uint8)
    camera.send(darker, xyz, part_id=f"part-{number}", recipe_id=NAME, unit="m", invalid=Invalid(kind="value", value=0.0))


def drifting(station: Station) -> dict[str, str]:
    """Return the quantities that /status warns of, each with the part since when."""
    return {each.quantity: each.since_part_id for each in station.report.drift}


def metric(station: Station, quantity: str) -> str:
    return f'mdss_drift_warning{{quantity="{quantity}",recipe="{NAME}"}} 1.0'


def test_a_lamp_that_ages_is_warned_of_by_name_and_no_verdict_knows_of_it(
    trained: Trained, redis_server: PrivateRedis, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with site(trained, redis_server.url, tmp_path) as place, place.running() as station, station.camera("cam") as camera:
        for number in range(BLOCK_PARTS):
            send(station, camera, 1.0, number)
        assert camera.wait_until_done(timeout_s=PATIENCE_S)
        assert drifting(station) == {}
        for number in range(BLOCK_PARTS, 3 * BLOCK_PARTS):
            send(station, camera, LAMP[(number - BLOCK_PARTS) // 10], number)
        assert camera.wait_until_done(timeout_s=PATIENCE_S)
        wait_until(lambda: metric(station, "brightness") in station.page("/metrics")[1])
        assert drifting(station)["brightness"] == f"part-{BLOCK_PARTS}"
        assert main(["status", "--config", str(station.config)]) == 0
        assert f"drift of {NAME} 0001: brightness of the part: now" in capfd.readouterr().out
        verdicts = station.verdicts("cam")
    assert len(verdicts) == 3 * BLOCK_PARTS
    for verdict in verdicts:
        assert verdict.score is not None and verdict.threshold is not None
        assert verdict.evaluation == ("NotOK" if verdict.score > verdict.threshold.value else "OK")
    logged = station.config.with_name("station.log").read_text().splitlines()
    assert len([line for line in logged if "brightness of the part: now" in line and "warning" in line]) == 1
    capfd.readouterr()
    assert main(["drift", "--config", str(station.config), "--json"]) == 0
    (record,) = msgspec.json.decode(capfd.readouterr().out, type=list[DriftRecord])
    assert (record.parts, record.model_version, "brightness" in record.warnings) == (3 * BLOCK_PARTS, "0001", True)
