"""A camera of a bench, in its own process: offers parts at a steady pace or as fast as it is let, and logs how long each waited."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import click
import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.bench_log import LineLog
from bench.figures import Wait
from daemon.recording import NOT_MEASURED, find_pairs, read_pair
from mdss.client import FrameLabels, FrameSender
from mdss.wire.camera import Done

LOOK_S = 0.05
ANSWERED_WITHIN_S = 60.0
PAINT = (255, 0, 255)
Scan = tuple[NDArray[np.uint8], NDArray[np.float32]]


class AnsweredPart(msgspec.Struct, frozen=True):
    """One line of a camera's log, in ns of the machine's monotonic clock; `done_ns` is 0 if no DONE came."""

    frame_id: str
    offered_ns: int
    done_ns: int = 0

    @property
    def wait(self) -> Wait:
        """When the part was offered, and when it was done."""
        return self.offered_ns, self.done_ns


class TimestampedAnswers(dict[str, Done]):
    """The sender's table of answers; it notes each at the moment it arrives, because `send` may block long after that."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def __setitem__(self, frame_id: str, done: Done) -> None:
        super().__setitem__(frame_id, done)
        self._note(frame_id)


class Camera:
    """Offers scans in turn. A part's wait begins when it is due, even if the one before is not let in yet."""

    def __init__(self, sender: FrameSender, scans: list[Scan], recipe: str, log: LineLog[AnsweredPart]) -> None:
        self._sender, self._scans, self._recipe, self._log = sender, scans, recipe, log
        self._offered = dict[str, int]()
        sender.done = TimestampedAnswers(self._note)

    def offer(self, number: int, due_ns: int) -> None:
        """Send one part as soon as there is credit."""
        rgb, xyz = self._scans[number % len(self._scans)]
        frame_id = f"{self._sender.source_id}-{number:06d}"
        self._offered[frame_id] = due_ns
        labels = FrameLabels(part_id=frame_id, frame_id=frame_id, recipe_id=self._recipe, unit="m", invalid=NOT_MEASURED, is_simulated=True)
        self._sender.send(rgb, xyz, **labels)

    def finish(self) -> None:
        """Wait until all parts are answered; those that are not, or were refused, are logged without an answer."""
        self._sender.wait_until_done(ANSWERED_WITHIN_S)
        for frame_id, offered_ns in self._offered.items():
            self._log.write(AnsweredPart(frame_id, offered_ns))

    def _note(self, frame_id: str) -> None:
        if (offered_ns := self._offered.pop(frame_id, None)) is not None:
            self._log.write(AnsweredPart(frame_id, offered_ns, time.monotonic_ns()))


def with_bright_square(scan: Scan) -> Scan:
    """Return a scan with a bright square in its middle, which no good part has."""
    rgb, xyz = scan[0].copy(), scan[1]
    rows, columns = rgb.shape[:2]
    rgb[rows * 2 // 5 : rows * 3 // 5, columns * 2 // 5 : columns * 3 // 5] = PAINT
    return rgb, xyz


@click.command()
@click.option("--endpoint", required=True)
@click.option("--recipe", required=True)
@click.option("--data", required=True, type=click.Path(path_type=Path))
@click.option("--every-s", required=True, type=float)
@click.option("--scans", "most_scans", type=int, default=24)
@click.option("--painted", "is_painted", is_flag=True)
@click.option("--log", "log_path", required=True, type=click.Path(path_type=Path))
def command(endpoint: str, recipe: str, data: Path, log_path: Path, **options: float) -> None:
    """Offer parts until SIGTERM, then wait until all are answered; the camera has the name of its log."""
    asked = list[int]()
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    scans = [read_pair(pair) for pair in find_pairs(data, "test")[: int(options["most_scans"])]]
    if options["is_painted"]:
        scans = [each for scan in scans for each in (scan, with_bright_square(scan))]
    every_ns = int(options["every_s"] * 1e9)
    with FrameSender(endpoint, log_path.stem) as sender:
        camera, begun_ns = Camera(sender, scans, recipe, LineLog(log_path, AnsweredPart)), time.monotonic_ns()
        for number in count():
            due_ns = begun_ns + number * every_ns if every_ns else time.monotonic_ns()
            while not asked and (left_s := (due_ns - time.monotonic_ns()) / 1e9) > 0:
                sender.attend(min(LOOK_S, left_s))
            if asked:
                break
            camera.offer(number, due_ns)
        camera.finish()


if __name__ == "__main__":
    command()
