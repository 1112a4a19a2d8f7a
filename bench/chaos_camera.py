"""A camera of a chaos run, in its own process: sends parts without end, logs every answer, and continues from its log after a kill."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from bench.bench_log import LineLog
from bench.chaos_audit import CameraEvent, Event
from daemon.recording import NOT_MEASURED, find_pairs, read_pair
from mdss.client import FrameLabels, FrameSender

EMPTY_EVERY = 20  # every 20th scan shows no part
LOOK_S = 0.05
Scan = tuple[NDArray[np.uint8], NDArray[np.float32]]


class Camera:
    """Sends scans under numbered ids; logs each before it is sent, and every answer."""

    def __init__(self, sender: FrameSender, scans: list[Scan], recipe: str, log: LineLog[CameraEvent]) -> None:
        self._sender, self._scans, self._recipe, self._log = sender, scans, recipe, log
        self._acknowledged: dict[str, str] = {}
        self._open: dict[str, None] = {}
        for line in log.before:
            self._note(line)
        self._next = sum(line.event == "sent" for line in log.before)

    def send_again(self) -> None:
        """Send the frames that an earlier life sent and that have neither verdict nor refusal."""
        for frame_id in list(self._open):
            self._send(int(frame_id.rpartition("-")[2]), frame_id)

    def send_next(self) -> None:
        """Send the next part."""
        frame_id = f"{self._sender.source_id}-{self._next:06d}"
        self._write("sent", frame_id)
        self._send(self._next, frame_id)
        self._next += 1

    def attend(self, seconds: float) -> None:
        """Serve the connection for this many seconds."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._sender.attend(min(LOOK_S, left_s))
            self._note_answers()

    @property
    def is_done(self) -> bool:
        """Whether every part has its verdict or its refusal."""
        return not self._open

    def _send(self, number: int, frame_id: str) -> None:
        rgb, xyz = self._scans[number % len(self._scans)]
        if number % EMPTY_EVERY == EMPTY_EVERY - 1:
            xyz = np.zeros_like(xyz)
        labels = FrameLabels(part_id=frame_id, frame_id=frame_id, recipe_id=self._recipe, unit="m", invalid=NOT_MEASURED, is_simulated=True)
        self._sender.send(rgb, xyz, **labels)
        self._note_answers()

    def _note_answers(self) -> None:
        """Log the answers since the last call; an ACK with another result than before is logged again."""
        sender = self._sender
        for frame_id in list(self._open):
            result_id = sender.acknowledged.get(frame_id)
            if result_id is not None and result_id != self._acknowledged.get(frame_id):
                self._write("ack", frame_id, result_id=result_id)
            if frame_id in sender.done:
                done = sender.done[frame_id]
                self._write("done", frame_id, result_id=done.result_id, sequence=done.sequence)
            elif frame_id in sender.rejected:
                self._write("refused", frame_id, code=sender.rejected[frame_id].code)

    def _write(self, event: Event, frame_id: str, result_id: str = "", sequence: int = 0, code: str = "") -> None:
        source_id = self._sender.source_id
        line = CameraEvent(event, source_id, frame_id, time.time_ns(), result_id, sequence, code)
        self._log.write(line)
        self._note(line)

    def _note(self, line: CameraEvent) -> None:
        match line.event:
            case "sent":
                self._open[line.frame_id] = None
            case "ack":
                self._acknowledged[line.frame_id] = line.result_id
            case "done" | "refused":
                self._open.pop(line.frame_id, None)


@click.command()
@click.option("--endpoint", required=True)
@click.option("--recipe", required=True)
@click.option("--data", required=True, type=click.Path(path_type=Path))
@click.option("--every-s", required=True, type=float)
@click.option("--log", "log_path", required=True, type=click.Path(path_type=Path))
def command(endpoint: str, recipe: str, data: Path, every_s: float, log_path: Path) -> None:
    """Send parts until SIGTERM, then wait until all are answered; the camera has the name of its log."""
    asked = list[int]()
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    scans = [read_pair(pair) for pair in find_pairs(data, "test")]
    with FrameSender(endpoint, log_path.stem) as sender:
        camera = Camera(sender, scans, recipe, LineLog(log_path, CameraEvent))
        camera.send_again()
        while not asked:
            camera.send_next()
            camera.attend(every_s)
        while not camera.is_done:
            camera.attend(LOOK_S)


if __name__ == "__main__":
    command()
