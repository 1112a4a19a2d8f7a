"""Verb `mdss demo`: the whole station on a synthetic line, from training to alerts, with a page of pictures at the end."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import click
import zmq
from rich.text import Text

from daemon.alert_store import Alert, open_store
from daemon.private_redis import PrivateRedis
from daemon.tied_process import start_tied
from daemon.watch import line
from demo.camera import mixed_parts
from demo.page import PageContent, write_page
from demo.station import StationFolders, running_station
from mdss.client import VerdictStream
from mdss.errors import BadInput, MdssError
from mdss.method.model_store import ModelFolder
from mdss.method.presets import preset
from mdss.settings import Settings
from mdss.terminal import plain_console
from mdss.wire.client_socket import connect
from mdss.wire.verdict import Verdict
from trainer.dataset import GOOD
from trainer.synthetic_products import PRODUCTS

EXAMPLE = "Example: mdss demo --product potato --seed 3 --out out/demo"
MARKER = ".mdss-demo"
TRAIN, VALIDATION, GOOD_PARTS, DEFECTIVE_PARTS = 60, 40, 40, 20
SILENT_FOR_S = 60.0
ALERTS_WITHIN_S = 30.0
console = plain_console(soft_wrap=True)


@dataclass
class Outcome:
    """What the station produced."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)  # part_id -> verdict
    heats: dict[str, bytes] = field(default_factory=dict)  # result_id -> map as PNG
    alerts: list[Alert] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)  # result_id -> PNG out of Redis


@click.command(epilog=EXAMPLE)
@click.option("--product", type=click.Choice(list(PRODUCTS)), default="flange", show_default=True, help="What the line makes.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Another seed makes another line.")
@click.option(
    "--out", default=Path("out/demo"), show_default=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for all results."
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in a browser at the end.")
@click.option("--month", "is_month", is_flag=True, help="Four weeks instead: reviews, an ageing lamp, retraining by a timer, a rollback.")
def command(product: str, seed: int, out: Path, *, is_opened: bool, is_month: bool) -> None:
    """Make a line of synthetic parts, train on its good ones, run the station on 60 more, and show what it found.

    The exit code is 0 if every part got its verdict.
    """
    with empty_folder_locked(out):
        page = play_month_demo(product, seed, out) if is_month else play_short_demo(product, seed, out)
    if is_opened:
        webbrowser.open(page.resolve().as_uri())


def play_month_demo(product: str, seed: int, out: Path) -> Path:
    """Play four weeks of a line and return their page."""
    from demo.month_run import Order, play_month

    return play_month(Order.of(product, seed), out)


def play_short_demo(product: str, seed: int, out: Path) -> Path:
    """Train, inspect 60 parts, and return the page of what was found."""
    started_s = time.monotonic()
    data, store = out / "line", out / "models"
    make_line(product, seed, data)
    model = train_model(product, seed, data, store)
    scans = mixed_parts(data, seed)
    truth = {part_id: pair.rgb_path.parent.parent.name for part_id, pair in scans.items()}
    with tempfile.TemporaryDirectory(prefix="mdss-") as run, PrivateRedis(Path(run)) as redis:
        config = StationFolders(out / "station", Path(run), store).write_settings(product, redis.url)
        outcome = run_line(config, ["--data", str(data), "--recipe", product, "--seed", str(seed)], truth)
    shown = PageContent(outcome.verdicts, truth, scans, outcome.heats, outcome.pictures, model.recipe.point_cloud)
    page = write_page(out / "index.html", shown)
    conclude(outcome, truth, time.monotonic() - started_s)
    console.print(f"the page with pictures: {page.resolve()}")
    if len(outcome.verdicts) != len(truth):
        raise MdssError(f"{len(truth)} parts were sent, {len(outcome.verdicts)} got a verdict")
    return page


@contextmanager
def empty_folder_locked(out: Path) -> Iterator[None]:
    """Empty the folder, if it is new or an earlier demo made it, and lock it while the block runs."""
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise BadInput(f"--out {out}: found files of another origin, expected a new folder or one of an earlier demo")
    out.mkdir(parents=True, exist_ok=True)
    with (out / MARKER).open("a") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"--out {out}: another demo is at work in it, expected a folder for each") from error
        empty(out)
        yield


def empty(out: Path) -> None:
    """Remove what an earlier demo left, except its marker: the folder of an interrupted demo stays recognisable."""
    for left in out.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        elif left.name != MARKER:
            left.unlink()


def announce_step(step: int, sentence: str) -> None:
    """Announce the next of the demo's five steps."""
    console.print(Text(f"\n{step}/5  {sentence}", style="bold"))


def make_line(product: str, seed: int, data: Path) -> None:
    """Draw good parts to train on, and the parts to inspect."""
    from trainer.synthetic import Line, LineSize, write_line

    announce_step(
        1, f"a synthetic line: {TRAIN} good {product}s to train on, {VALIDATION} to calibrate on, {GOOD_PARTS + DEFECTIVE_PARTS} to inspect"
    )
    write_line(Line(product, seed, LineSize(TRAIN, VALIDATION, GOOD_PARTS, DEFECTIVE_PARTS)), data)


def train_model(product: str, seed: int, data: Path, store: Path) -> ModelFolder:
    """Train as `mdss train` does."""
    from trainer.train import TrainingOrder, summary, train

    announce_step(2, "training on the good parts")
    model = train(TrainingOrder(data, store, product, preset("demo", seed)))
    console.print(summary(model))
    return model


def run_line(config: Path, sent: Sequence[str], truth: dict[str, str]) -> Outcome:
    """Start the station, let the camera send what these options say, and read the alerts back from Redis."""
    announce_step(3, "starting the station: supervisor, ingest, prepare, rgb, sdf, fusion, alerts, and a private Redis")
    outcome = Outcome()
    with running_station(config) as settings:
        announce_step(4, f"sending {len(truth)} parts through the station")
        with (
            VerdictStream(settings.verdicts.endpoint, settings.verdicts.snapshot_endpoint, since=0) as stream,
            MapListener(settings) as maps,
            running_camera("--endpoint", settings.camera.endpoint, *sent) as camera,
        ):
            watch(stream, maps, outcome, truth)
            camera.wait()
        announce_step(5, "reading the alerts back from Redis")
        read_alerts(settings, outcome)
    return outcome


@contextmanager
def running_camera(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the camera until the block ends; Ctrl-C in the terminal does not reach it."""
    camera = start_tied([sys.executable, "-m", "demo.camera", *arguments])
    try:
        yield camera
    finally:
        camera.kill()
        camera.wait()


class MapListener:
    """Keeps the heat maps that the station publishes."""

    def __init__(self, settings: Settings) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = connect(self._context, zmq.SUB, settings.verdicts.endpoint)
        self._socket.subscribe(b"map/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def take(self, heats: dict[str, bytes], timeout_ms: int = 0) -> None:
        """Add the maps that have arrived since the last call."""
        while self._socket.poll(timeout_ms):
            _, result_id, png = self._socket.recv_multipart()
            heats[result_id.decode()] = png


def watch(stream: VerdictStream, maps: MapListener, outcome: Outcome, truth: dict[str, str]) -> None:
    """Show each verdict as it comes, until all are in or the line falls silent."""
    while len(outcome.verdicts) < len(truth):
        verdict = stream.receive(SILENT_FOR_S)
        if verdict is None:
            return
        outcome.verdicts[verdict.part_id] = verdict
        maps.take(outcome.heats)
        console.print(line(verdict))
    maps.take(outcome.heats, timeout_ms=500)


def read_alerts(settings: Settings, outcome: Outcome) -> None:
    """Wait until every part that is not OK is an alert in Redis, and fetch the pictures."""
    expected = sum(verdict.evaluation != "OK" for verdict in outcome.verdicts.values())
    end_s = time.monotonic() + ALERTS_WITHIN_S
    with closing(open_store(settings)) as alerts:
        while len(outcome.alerts) < expected and time.monotonic() < end_s:
            outcome.alerts = alerts.newest(2 * len(outcome.verdicts))
            time.sleep(0.1)
        found = {alert.result_id: alerts.picture(alert.result_id) for alert in outcome.alerts}
    outcome.pictures = {result_id: png for result_id, png in found.items() if png is not None}
    console.print(f"{len(outcome.alerts)} alerts for {expected} parts that are not OK, {len(outcome.pictures)} with a picture")


def conclude(outcome: Outcome, truth: dict[str, str], seconds: float) -> None:
    """Print how well defective and good parts were told apart."""
    rejected = {part_id for part_id, verdict in outcome.verdicts.items() if verdict.evaluation != "OK"}
    good = {part_id for part_id, kind in truth.items() if kind == GOOD}
    console.print(
        f"\n{len(outcome.verdicts)} verdicts for {len(truth)} parts: {len(rejected - good)} of {len(truth) - len(good)} defective parts "
        f"not OK, {len(rejected & good)} of {len(good)} good parts rejected, in {seconds:.0f} s",
        style="bold",
    )
    for part_id in sorted(set(truth) - good - rejected):
        console.print(f"missed: {part_id} ({truth[part_id]})", style="yellow")
