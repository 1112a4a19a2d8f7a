"""A line so small that its model trains in seconds, and the whole station of real processes to judge it."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from daemon.recipe_models import RecipeReport
from daemon.status import ProcessReport, StationReport
from daemon.verbs import request_report
from demo.station import StationFolders, running_station
from mdss.client import CurveKeys, FrameSender, VerdictStream
from mdss.journal import Journal
from mdss.method.description_network import PatchDescriptionNetwork
from mdss.method.presets import preset, with_assignments
from mdss.method.recipe import Recipe
from mdss.method.teacher import TeacherCard, save_teacher
from mdss.settings import Settings
from mdss.wire.cloud import Invalid
from mdss.wire.verdict import Verdict
from tests.lines import write_tiny_line
from trainer.dataset import Unit
from trainer.synthetic import LineSize

NAME = "flange"
GOOD, PAINTED = ("good/000", "good/001", "good/002"), ("painted/000", "painted/001")
PATIENCE_S = 60.0
LOOK_EVERY_S = 0.05
COMES_WITHIN_S = 100.0  # sooner than the time-outs of the tests that wait, which would not say for what
SMALL = (
    *("point_cloud.size_px=96", "rgb.student_width=0.25", "rgb.steps=6", "rgb.batch=2", "rgb.window_px=64", "rgb.warmup_steps=1"),
    *("sdf.steps=12", "sdf.batch=4", "sdf.points_per_patch=64", "sdf.encoder=[16,32]", "sdf.code=16", "sdf.width=32", "sdf.depth=2"),
    *("sdf.warmup_steps=1", "threshold.false_reject_rate=0.0001"),  # six parts cannot tell of rarer ones
)
Scan = tuple[NDArray[np.uint8], NDArray[np.float32]]


def write_teacher(path: Path) -> Path:
    """Write a teacher that was never taught: its random features tell colours apart well enough for a test."""
    torch.manual_seed(0)
    save_teacher(path, PatchDescriptionNetwork(), TeacherCard(kind="procedural", source="a test", licence="Apache-2.0", made_at="now"))
    return path


def small_recipe(teacher: Path, *assignments: str) -> Recipe:
    """Return a recipe that trains in seconds."""
    return with_assignments(preset("demo"), (*SMALL, f"rgb.teacher={teacher}", *assignments))


def write_line(data: Path, unit: Unit = "m") -> Path:
    """Write eight parts to learn from, six to calibrate on, and five to judge: three good ones, two with a painted square."""
    write_tiny_line(data, unit=unit, size=LineSize(train=8, validation=6, good=3, defective=0))
    for number in range(len(PAINTED)):
        paint(data / "test", f"{number:03d}")
    return data


def paint(test: Path, name: str) -> None:
    """Write test/painted/NAME: a good part with a loud square in its middle, and the truth of it."""
    for part in ("rgb", "xyz", "gt"):
        (test / "painted" / part).mkdir(parents=True, exist_ok=True)
    image = np.asarray(cv2.imread(str(test / "good" / "rgb" / f"{name}.png")))
    truth = np.zeros(image.shape[:2], np.uint8)
    truth[36:60, 20:44] = 255
    image[truth > 0] = (255, 0, 255)
    image[40:56:4, 20:44] = 0
    assert cv2.imwrite(str(test / "painted" / "rgb" / f"{name}.png"), image)
    assert cv2.imwrite(str(test / "painted" / "gt" / f"{name}.png"), truth)
    (test / "painted" / "xyz" / f"{name}.tiff").write_bytes((test / "good" / "xyz" / f"{name}.tiff").read_bytes())


def scan_of(data: Path, part_id: str, split: str = "test") -> Scan:
    """Return image and cloud of one recorded part, as they lie on disk."""
    kind, name = part_id.split("/")
    folder = data / split / kind
    image = np.asarray(cv2.imread(str(folder / "rgb" / f"{name}.png")))[:, :, ::-1]
    return np.ascontiguousarray(image), np.asarray(tifffile.imread(folder / "xyz" / f"{name}.tiff"))


@dataclass(frozen=True)
class Trained:
    """A line on disk, and the store with the model that was trained on it."""

    data: Path
    store: Path


class Station:
    """A running station, as its cameras, subscribers and operators see it."""

    def __init__(self, config: Path, settings: Settings, trained: Trained) -> None:
        self.config, self.settings, self.trained = config, settings, trained

    @property
    def report(self) -> StationReport:
        """What the station says of itself."""
        return request_report(self.settings.http)

    def process(self, name: str) -> ProcessReport:
        """Return one process of the report."""
        return next(process for process in self.report.processes if process.name == name)

    def pid(self, name: str) -> int:
        """Return the process id of one process that runs."""
        pid = self.process(name).pid
        assert pid is not None
        return pid

    def page(self, path: str) -> tuple[int, str]:
        """Return status and text of one page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.http.port}{path}", timeout=PATIENCE_S) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def camera(self, source: str, keys: CurveKeys | None = None) -> FrameSender:
        """Return a camera of this station."""
        return FrameSender(self.settings.camera.endpoint, source, send_timeout_s=PATIENCE_S, keys=keys)

    def stream(self, since: int | None = 0, keys: CurveKeys | None = None) -> VerdictStream:
        """Return a subscriber of this station."""
        return VerdictStream(self.settings.verdicts.endpoint, self.settings.verdicts.snapshot_endpoint, since=since, keys=keys)

    def stream_from_now(self, keys: CurveKeys | None = None) -> VerdictStream:
        """Return a subscriber to what is judged from now on, once it has been told where that begins."""
        stream = self.stream(since=None, keys=keys)
        while stream.last_sequence is None:
            assert stream.receive(LOOK_EVERY_S) is None
        return stream

    def send(self, sender: FrameSender, part_id: str, **labels: Any) -> str:
        """Send one recorded part; returns the frame's id."""
        rgb, xyz = scan_of(self.trained.data, part_id)
        given: dict[str, Any] = {"part_id": part_id, "recipe_id": NAME, "unit": "m", "invalid": Invalid(kind="value", value=0.0)} | labels
        return sender.send(rgb, xyz, **given)

    def verdicts(self, source: str) -> list[Verdict]:
        """Return what the journal holds of one camera, in order."""
        return [verdict for verdict in read_journal(self.settings) if verdict.source_id == source]


def read_journal(settings: Settings) -> list[Verdict]:
    """Return every verdict of a station, whether it runs or not."""
    with closing(Journal(Path(settings.station.state_directory) / "journal.sqlite")) as journal:
        return journal.since(0, 10_000)


def state_of(station: Station, recipe: str = NAME) -> RecipeReport:
    """Return what the station says of a recipe."""
    return next(each for each in station.report.models if each.recipe == recipe)


def wait_until(condition: Callable[[], bool], otherwise: Callable[[], object] = lambda: "") -> None:
    """Wait for a condition; the test fails where it is not met in time, and says `otherwise` then."""
    end_s = time.monotonic() + COMES_WITHIN_S
    while not condition():
        if time.monotonic() > end_s:
            pytest.fail(f"not within {COMES_WITHIN_S:.0f} s: {otherwise()}")
        time.sleep(LOOK_EVERY_S)


@dataclass(frozen=True)
class Site:
    """Where a station lives through its restarts."""

    config: Path
    trained: Trained

    @contextmanager
    def running(self) -> Iterator[Station]:
        """Run the station until the block ends."""
        with running_station(self.config) as settings:
            yield Station(self.config, settings, self.trained)


@contextmanager
def site(trained: Trained, redis_url: str, folder: Path, **sections: dict[str, Any]) -> Iterator[Site]:
    """Write the settings of a station that has time: two busy cores may be slow."""
    own: dict[str, dict[str, Any]] = {"station": {"name": folder.name}, "camera": {"deadline_ms": 60_000}, "logs": {"level": "info"}}
    own |= {"supervisor": {"stall_timeout_s": PATIENCE_S}, "alerts": {"timeout_s": PATIENCE_S}}
    merged = {name: own.get(name, {}) | sections.get(name, {}) for name in own.keys() | sections.keys()}
    with TemporaryDirectory(prefix="mdss-") as run:
        yield Site(StationFolders(folder, Path(run), trained.store).write_settings(NAME, redis_url, **merged), trained)
