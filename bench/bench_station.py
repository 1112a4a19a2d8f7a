"""A station for a bench: its own folder, a given model or one made here, real processes, Redis, and a watch from outside."""

from __future__ import annotations

import fcntl
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, Self, TypeVar

import click
import psutil

from bench.bench_camera import AnsweredPart
from bench.bench_line import Product, small_line
from bench.bench_log import read_lines
from bench.figures import Wait
from bench.load_process import LoadProcess
from bench.station_journal import open_journal, verdicts_of
from bench.station_process import StationProcess
from bench.station_watch import Watch
from daemon.private_redis import PrivateRedis
from daemon.recording import find_pairs
from demo.station import StationFolders
from mdss.errors import BadInput, MdssError
from mdss.method.model_store import open_champion
from mdss.settings import Settings, load_settings
from mdss.settings_access import HttpSettings
from mdss.whole_files import write_json
from mdss.wire.verdict import Verdict

KEEPS_ALL = ("--appendonly", "yes", "--appendfsync", "always")  # what Redis has accepted survives its death
MARKER = ".mdss-bench"
LOOK_EVERY_S = 0.1
READY_WITHIN_S, FIRST_WITHIN_S, DONE_WITHIN_S, METRICS_WITHIN_S = 120.0, 60.0, 120.0, 5.0
ON_CPU: Mapping[str, dict[str, Any]] = {
    "branches": {"rgb": {"device": "cpu"}, "sdf": {"device": "cpu"}},
    "alerts": {"timeout_s": 1.0, "stream_max_length": 1_000_000},
    "logs": {"level": "info"},
}

Command = TypeVar("Command", bound=Callable[..., None])


def station_options(out: str) -> Callable[[Command], Command]:
    """Add the options that all benches with a station share: what is judged, where logs lie, and where the figures go."""
    folder = click.Path(path_type=Path)
    options = (
        click.option("--data", type=folder, help="Scans to send, in metres; with --store and --recipe."),
        click.option("--store", type=folder, help="The model store; without it a small model is trained."),
        click.option("--recipe", help="Whose champion judges."),
        click.option("--out", type=folder, default=Path(out), show_default=True, help="Where logs and journal lie."),
        click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write every figure to this file."),
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@dataclass(frozen=True)
class StationOptions:
    """The values of `station_options`."""

    data: Path | None
    store: Path | None
    recipe: str | None
    out: Path
    json_path: Path | None

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> Self:
        """Take these options out of a command's, leave the others, and check them."""
        given = cls(**{each.name: options.pop(each.name) for each in fields(cls)})
        given.check()  # here, because the next steps remove the last run's files, and wait minutes for a station that cannot judge
        return given

    def check(self) -> None:
        """Raise BadInput for options that are incomplete or scans that are missing, ModelRefused for a store without the model."""
        if self.data is not None and self.store is not None and self.recipe is not None:
            if not self.data.is_dir():
                raise BadInput(f"--data {self.data}: no such folder; expected scans as `mdss synthetic` writes them")
            for pair in find_pairs(self.data, "test"):
                pair.check()
            open_champion(self.store, self.recipe)
        elif (self.data, self.store, self.recipe) != (None, None, None):
            raise BadInput("--data, --store and --recipe: found some of them, expected all three or none")

    def product(self) -> Product:
        """Return what is to be judged; without these options, a small line with its own model."""
        if self.data is not None and self.store is not None and self.recipe is not None:
            return Product(self.data, self.store, self.recipe)
        return small_line(self.out)


class Restarter(Protocol):
    """Something that starts again what has ended."""

    def tick(self) -> None:
        """Start it again."""


class ReportWithFailures(Protocol):
    """A report that lists what must not be."""

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence for each failure."""


@dataclass(frozen=True)
class BenchStation:
    """A running station with its cameras, and everything else that a bench needs of it."""

    settings: Settings
    daemon: StationProcess
    watch: Watch
    redis: PrivateRedis
    product: Product
    closing: ExitStack
    load: list[LoadProcess] = field(default_factory=list)

    def tick(self) -> None:
        """Start again what has ended of the station and its load."""
        self.daemon.tick()
        for process in self.load:
            process.tick()

    def camera(self, name: str, every_s: float, *options: str) -> None:
        """Start a camera that offers a part every `every_s` seconds; with 0, as fast as it is let."""
        sent = ["--endpoint", self.settings.camera.endpoint, "--recipe", self.product.recipe, "--data", str(self.product.data)]
        self.begin(LoadProcess("bench.bench_camera", name, [*sent, "--every-s", str(every_s), *options], self.folder))

    def cameras(self, count: int, every_s: float, *options: str) -> None:
        """Start `count` of them: camera-1, camera-2 and so on."""
        for number in range(1, count + 1):
            self.camera(f"camera-{number}", every_s, *options)

    def begin(self, process: LoadProcess) -> None:
        """Start a process of the load, and keep it running until the bench ends."""
        process.start()
        self.closing.callback(process.kill)
        self.load.append(process)

    @property
    def folder(self) -> Path:
        """The folder of journal and logs."""
        return Path(self.settings.station.state_directory)

    def memory(self) -> dict[str, int]:
        """Return the bytes of each process by name (PSS, so that shared memory counts once)."""
        names = {self.daemon.pid: "supervisor"} | self.watch.names
        found = dict[str, int]()
        for process in self.daemon.processes():
            try:
                found[names.get(process.pid) or process.name().removeprefix("mdss: ")] = process.memory_full_info().pss
            except psutil.Error:
                continue  # the process has just ended
        return found

    def incidents(self) -> list[str]:
        """Return the ends that nobody asked for."""
        return [*self.daemon.incidents, *(incident for process in self.load for incident in process.incidents)]

    def answers(self) -> dict[str, list[AnsweredPart]]:
        """Ask the cameras to finish, wait until all their parts are answered, and return their logs by name."""
        for camera in self.load:
            camera.ask_to_finish()
        end_s = time.monotonic() + DONE_WITHIN_S
        for camera in self.load:
            camera.wait(end_s)  # the log says which parts got no answer by then
        return {camera.name: read_lines(camera.log, AnsweredPart) for camera in self.load}

    def waits(self) -> list[Wait]:
        """Ask the cameras to finish, and return the waits of all their parts."""
        return [line.wait for lines in self.answers().values() for line in lines]

    def judged_count(self) -> int:
        """Return the number of parts with a verdict."""
        with closing(open_journal(self.settings)) as journal:
            return journal.last_sequence()

    def verdicts(self) -> list[Verdict]:
        """Return all verdicts in order."""
        with closing(open_journal(self.settings)) as journal:
            return list(verdicts_of(journal))

    def unjudged_count(self) -> int:
        """Return the number of accepted parts without a verdict."""
        with closing(open_journal(self.settings)) as journal:
            return len(journal.pending())


@contextmanager
def run_station(folder: Path, product: Product, sections: Mapping[str, dict[str, Any]]) -> Iterator[BenchStation]:
    """Run a station that judges this product; it is ready when the block begins."""
    with ExitStack() as closing_all:
        run_folder = Path(closing_all.enter_context(TemporaryDirectory(prefix="mdss-")))
        redis = closing_all.enter_context(PrivateRedis(run_folder / "redis", *KEEPS_ALL))
        config = StationFolders(folder, run_folder, product.store).write_settings(product.recipe, redis.url, **{**ON_CPU, **sections})
        settings = load_settings(config)
        watch = closing_all.enter_context(Watch(settings.http))
        daemon = StationProcess(config, folder / "station.log")
        daemon.start()
        closing_all.callback(daemon.kill)
        if not wait_until(lambda: watch.is_ready, READY_WITHIN_S, daemon):
            raise MdssError(f"the station did not become ready (see {folder / 'station.log'})")
        yield BenchStation(settings, daemon, watch, redis, product, closing_all)


def conclude(report: ReportWithFailures, text: str, folder: Path, json_path: Path | None) -> None:
    """Show and write a report. MdssError if it has failures."""
    click.echo(text)  # first, so that a failed write does not lose an hour
    if json_path is not None:
        write_json(json_path, report)
    if report.failures:
        raise MdssError(f"{len(report.failures)} things that must not be (logs and journal in {folder})")


def wait_for_verdicts(station: BenchStation, seconds: float = FIRST_WITHIN_S) -> None:
    """Wait for the first verdict. MdssError if none comes."""
    if not wait_until(lambda: station.judged_count() > 0, seconds, station):
        raise MdssError(f"the station gave no verdict within {seconds:g} s (see {station.folder / 'station.log'})")


def wait_while_restarting(seconds: float, restarter: Restarter) -> None:
    """Let time pass, while what ends by itself is started again."""
    wait_until(lambda: False, seconds, restarter)


def wait_until(condition: Callable[[], bool], seconds: float, restarter: Restarter, every_s: float = LOOK_EVERY_S) -> bool:
    """Wait for a condition, while what ends by itself is started again; False if time runs out first."""
    end_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_s:
            return False
        restarter.tick()
        time.sleep(every_s)
    return True


@contextmanager
def empty_run_folder(out: Path) -> Iterator[Path]:
    """Empty the folder of the last run, and lock it while the block runs; a line and its model that were made here stay."""
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise BadInput(f"--out {out}: found files of another origin, expected a new folder or one of an earlier run")
    out.mkdir(parents=True, exist_ok=True)
    with (out / MARKER).open("a") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"--out {out}: another bench is at work in it, expected a folder for each") from error
        run_folder = out.resolve() / "run"
        shutil.rmtree(run_folder, ignore_errors=True)
        run_folder.mkdir()
        yield run_folder


def read_metrics(http: HttpSettings) -> dict[str, float]:
    """Return the station's metrics by name and labels, as its page writes them; empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{http.host}:{http.port}/metrics", timeout=METRICS_WITHIN_S) as page:
            text = page.read().decode()
    except OSError:
        return {}
    samples = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, value in samples}
