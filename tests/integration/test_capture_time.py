"""A capture time that cannot be right costs no part: the real process `ingest` takes it, and says once which camera it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from mdss.client import FrameSender
from tests.ingest_process import Line

pytestmark = pytest.mark.timeout(60)
RGB, XYZ = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64, 3), np.float32)
EVENT = "capture times are far from the station's clock"
DAY_NS = 86_400 * 10**9


def is_misdated(line: Line, cameras: int) -> None:
    """Wait until ingest counts so many cameras whose capture times cannot be right."""
    line.hear(lambda beat: beat.counters.get("mdss_sources_misdated") == cameras)


@pytest.mark.parametrize(
    "captured",
    [
        pytest.param(lambda: time.time_ns() // 10**9, id="seconds"),
        pytest.param(lambda: time.time_ns() // 10**6, id="milliseconds"),
        pytest.param(lambda: time.time_ns() // 10**3, id="microseconds"),
        pytest.param(lambda: time.time_ns() + DAY_NS, id="a day ahead"),
        pytest.param(lambda: time.time_ns() - DAY_NS // 6, id="the time of New York"),
        pytest.param(lambda: 2**63 - 1, id="the last there is"),
    ],
)
def test_every_part_is_accepted_as_it_came_and_the_camera_is_named_once(
    capfd: pytest.CaptureFixture[str], captured: Callable[[], int]
) -> None:
    with TemporaryDirectory() as folder, Line(Path(folder)) as line:
        for part in "ab":  # the camera's program is started anew, and has it wrong again
            with FrameSender(line.settings.camera.endpoint, "cam", send_timeout_s=30) as sender:
                found = captured()
                sender.send(RGB, XYZ, part_id=part, recipe_id="gland", capture_time=found)
                accepted = line.accepted(sender)
                assert accepted.identity.capture_time_ns == found
                is_misdated(line, 1)
                line.to_ingest.send(line.judge(accepted))
                assert sender.wait_until_done(30)
        with FrameSender(line.settings.camera.endpoint, "cam", send_timeout_s=30) as sender:
            sender.send(RGB, XYZ, part_id="c", recipe_id="gland")
            line.accepted(sender)
            is_misdated(line, 0)
    (said,) = (each for each in capfd.readouterr().err.splitlines() if EVENT in each)
    assert "source=cam" in said and "FRAME capture_time: found " in said
    assert "expected nanoseconds since 1970 in UTC, near 20" in said
