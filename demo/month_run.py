"""Sets up `mdss demo --month`: a line, its first model and a running station; plays the month and reports how it went."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.private_redis import PrivateRedis
from demo.month import CANDIDATE, HELD_BACK, Month, MonthRecord
from demo.month_page import write_month_page
from demo.month_parts import WeekSize
from demo.month_station import MonthStation, console
from demo.month_story import WEEKS, Calendar
from demo.station import StationFolders, camera_of, running_station
from mdss.client import VerdictStream
from mdss.errors import MdssError
from mdss.method.presets import preset, with_assignments
from trainer.synthetic import Line, LineSize, write_line
from trainer.synthetic_camera import View

SOURCE = "camera-1"
STATION = {"collection": {"ok_ratio": 1.0}}  # a demo's month has few parts
VIEW = View(150, 150)
SMALLER = (  # small enough for five trainings, and a gate after four of them, in some minutes
    *("point_cloud.size_px=128", "rgb.steps=150", "rgb.batch=4", "rgb.learning_rate=0.001", "rgb.blur_px=2"),
    *("sdf.steps=500", "sdf.blur_px=2", "threshold.method=conformal", "threshold.false_reject_rate=0.03"),
)
USUAL_OUTCOMES = (CANDIDATE, CANDIDATE, HELD_BACK, CANDIDATE)  # the outcomes of the timer's retrainings in most months
SIZE = LineSize(train=40, validation=40, good=30, defective=0)


def by_verb(station: MonthStation) -> int:
    """Retrain as the timer's unit does, but at normal priority: there is nothing here to give way to but the demo."""
    words = ("--config", str(station.config), "--recipe", station.recipe, "--with-simulated", "--full-speed")
    return station.verb("retrain", *words, allowed=(CANDIDATE, HELD_BACK))


@dataclass(frozen=True)
class Order:
    """What to play: which product, how many parts, and how it is trained."""

    line: Line
    week_size: WeekSize
    settings: tuple[str, ...] = SMALLER  # changes to the preset `demo`
    retrain: Callable[[MonthStation], int] = by_verb  # returns the exit code

    @classmethod
    def of(cls, product: str, seed: int) -> Order:
        """Return the usual month of a product."""
        return cls(Line(product, seed, SIZE, VIEW), WeekSize(good=28, defective=7, worn=14))


def play_month(order: Order, out: Path) -> Path:
    """Play the month, write its page and return the path; MdssError if the station broke a promise."""
    started_s = time.monotonic()
    with month_station(order, out) as made:
        month = Month(made, order.week_size, Calendar(), order.retrain)
        record = month.play()
        found = list(month.audit())
    page = write_month_page(out / "index.html", record, found)
    console.print(summary(record, time.monotonic() - started_s), style="bold")
    if tuple(record.retrained) != USUAL_OUTCOMES:
        console.print(
            f"the gate decided differently than in most months; its pages are in {out / 'models' / order.line.product / 'gates'}",
            style="yellow",
        )
    console.print(f"the page: {page.resolve()}")
    if found:
        raise MdssError(f"the audit found {len(found)} faults: {found[0]}")
    return page


@contextmanager
def month_station(order: Order, out: Path) -> Iterator[MonthStation]:
    """Make the line and its first model, and run the station until the block ends."""
    from trainer.train import TrainingOrder, train
    from trainer.train import summary as said

    line, data, store = order.line, out / "line", out / "models"
    console.print(f"a synthetic line of {line.product}s, and its first model", style="bold")
    write_line(line, data)
    recipe = with_assignments(preset("demo", line.seed), order.settings)
    console.print(said(train(TrainingOrder(data, store, line.product, recipe))))
    with tempfile.TemporaryDirectory(prefix="mdss-") as run, PrivateRedis(Path(run)) as redis:
        config = StationFolders(out / "station", Path(run), store).write_settings(line.product, redis.url, **STATION)
        with running_station(config) as settings:
            endpoints = settings.verdicts.endpoint, settings.verdicts.snapshot_endpoint
            with camera_of(settings, SOURCE) as camera, VerdictStream(*endpoints, since=0) as plc:
                yield MonthStation(config, settings, line, camera, plc)


def summary(record: MonthRecord, seconds: float) -> str:
    """Return the month in one line."""
    made, held_back = record.retrained.count(CANDIDATE), record.retrained.count(HELD_BACK)
    return (
        f"\n{len(WEEKS)} weeks, {len(record.kinds)} parts, {len(record.heard)} verdicts; {len(record.retrained)} retrainings, "
        f"{made} candidates, {held_back} held back; {len(record.served) - 1} changes of the model while the station ran; {seconds:.0f} s"
    )
