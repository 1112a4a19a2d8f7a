"""A camera that goes silent at a real ingest, and comes back: seen by people, felt by nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import yaml

from mdss.client import FrameSender
from mdss.wire.messages import Heartbeat
from tests.ingest_process import Line

pytestmark = pytest.mark.timeout(60)
RGB, XYZ = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64, 3), np.float32)
SILENCE_S = 2.5  # above the heartbeat, which a camera answers once a second


def send(camera: FrameSender, part: str) -> None:
    camera.send(RGB, XYZ, part_id=part, recipe_id="gland")


def judge_next(line: Line, camera: FrameSender) -> None:
    """Give the next part of a camera its verdict."""
    line.to_ingest.send(line.judge(line.accepted(camera)))
    assert camera.wait_until_done(30)


def attend_until(line: Line, cameras: Iterable[FrameSender], is_it: Callable[[Heartbeat], bool]) -> None:
    """Let some cameras do their part, and no other, until ingest says something."""
    while True:
        for camera in cameras:
            camera.attend(0.05)
        beat = line.health.receive(0)
        if isinstance(beat, Heartbeat) and is_it(beat):
            return


def restart_with_little_patience(line: Line) -> None:
    line.kill()
    settings = yaml.safe_load(line.config.read_text())
    settings["camera"]["silence_s"] = SILENCE_S
    line.config.write_text(yaml.safe_dump(settings))
    line.start()


def test_a_silent_camera_is_counted_serves_nobody_worse_and_is_taken_back_when_it_speaks() -> None:
    with TemporaryDirectory() as folder, Line(Path(folder)) as line:
        restart_with_little_patience(line)
        endpoint = line.settings.camera.endpoint
        with FrameSender(endpoint, "quiet") as quiet, FrameSender(endpoint, "other") as other:
            send(quiet, "before")
            judge_next(line, quiet)
            attend_until(line, (other,), lambda beat: beat.counters["mdss_sources_silent"] == 1)
            send(other, "meanwhile")
            judge_next(line, other)
            attend_until(line, (other,), lambda beat: beat.state == "running" and beat.counters["mdss_sources_silent"] == 1)
            send(quiet, "after")
            judge_next(line, quiet)
            attend_until(line, (quiet, other), lambda beat: beat.counters["mdss_sources_silent"] == 0)
        assert [verdict.part_id for verdict in line.journal.since(0, 10)] == ["before", "meanwhile", "after"]
