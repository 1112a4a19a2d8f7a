"""Verb `mdss model shadow`: a candidate scores the parts that the station judges meanwhile, and has no say in any verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mdss import audit, whole_files
from mdss.collect_request import request_all, request_path, withdraw_request
from mdss.collection import FOLDER, Collection
from mdss.errors import BadInput, MdssError
from mdss.method import model_store
from mdss.method.calibration import now
from mdss.method.model_store import CANDIDATE
from mdss.settings import Settings, load_settings
from mdss.verb_options import FiniteRange, config_option
from trainer.low_priority import lower_priority, use_threads
from trainer.progress import Meter
from trainer.shadow_report import LEFT_OUT, ShadowReport, as_text, report_of

if TYPE_CHECKING:
    from trainer.shadow import Shadow

SHADOW = "shadow.json"
LOOK_EVERY_S = 0.5
QUIET_S = 30.0  # without a first part for so long, somebody should look whether the line runs
ASK_EVERY_S, ASK_AHEAD_S = 20.0, 60.0  # after a killed shadow, the station keeps every part for one minute more
EXAMPLE = "Example: mdss model shadow --config station.yaml --recipe cable_gland --parts 200"


@dataclass(frozen=True)
class ShadowOrder:
    """Which version to compare, and when to stop."""

    settings: Settings
    recipe: str
    version: str
    parts: int
    minutes: float

    @property
    def state(self) -> Path:
        """The station's state directory, with its collection."""
        return Path(self.settings.station.state_directory)

    @property
    def store(self) -> Path:
        """The model store."""
        return Path(self.settings.models.store)

    @property
    def folder(self) -> Path:
        """The recipe's folder in the store."""
        return model_store.recipe_folder(self.store, self.recipe)


@click.command("shadow", epilog=EXAMPLE)
@config_option
@click.option("--recipe", required=True, help="The product's name.")
@click.option("--version", help="Such as 0002; the candidate where left out.")
@click.option("--parts", type=click.IntRange(min=1), default=100, show_default=True, help="End after this many.")
@click.option("--minutes", type=FiniteRange(0, min_open=True), default=60.0, show_default=True, help="End then at the latest.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(config: Path, recipe: str, version: str | None, as_json: bool, **enough: Any) -> None:
    """Score live parts with another version and report where it agrees with the champion; Ctrl-C ends it with what there is."""
    settings = load_settings(config)
    order = ShadowOrder(settings, recipe, version or candidate_of(settings, recipe), **enough)
    found = shadow(order)
    if as_json:
        click.echo(whole_files.as_json(found), nl=False)
    else:
        click.echo(f"{as_text(found)}\nreport: {report_path(order)}")


def candidate_of(settings: Settings, recipe: str) -> str:
    """Return the recipe's candidate. BadInput if it has none."""
    folder = model_store.recipe_folder(Path(settings.models.store), recipe)
    version = model_store.linked_version(folder, CANDIDATE)
    if version is None:
        raise BadInput(f"model {recipe}: found no candidate in {folder}; expected one, or a version by --version")
    return version


def shadow(order: ShadowOrder) -> ShadowReport:
    """Compare until the order is filled, note it in the store, and return the report. MdssError if no part came."""
    from trainer.champion import Champion  # imported here, so that `--help` does not wait for what reads and scores scans
    from trainer.shadow import Shadow

    check(order)
    model = model_store.open_stored(order.store, order.recipe, order.version)
    use_threads(1)
    lower_priority()
    collection = Collection(order.state / FOLDER)
    beside = Shadow(collection, order.recipe, Champion.of(model, "cpu"), order.settings.fusion)
    began = now()
    try:
        watch(order, beside)
    except KeyboardInterrupt:
        if not beside.parts:
            click.echo(nothing_found(order, beside, "before it was interrupted"), err=True)
            raise
    if not beside.parts:
        raise MdssError(nothing_found(order, beside, "within the time"))
    found = report_of(beside.parts, beside.skipped, recipe=order.recipe, candidate=order.version, began=began, ended=now())
    note(order, beside, found)
    return found


def nothing_found(order: ShadowOrder, beside: Shadow, until: str) -> str:
    """Return the sentence for a shadow that found no part to compare."""
    skipped = f" ({beside.skipped} were left out: {LEFT_OUT})" if beside.skipped else ""
    return f"model {order.recipe} {order.version}: found no live part {until}{skipped}, expected the station to judge some"


def check(order: ShadowOrder) -> None:
    """Refuse a recipe that the station does not judge, and a station that collects nothing."""
    known = order.settings.models.recipes
    if order.recipe not in known:
        raise BadInput(f"--recipe {order.recipe}: found no such recipe in the settings, expected one of {', '.join(known)}")
    if not order.settings.collection.enabled:
        raise BadInput("collection.enabled: found false, expected true: live parts come from what the station collects")


def watch(order: ShadowOrder, beside: Shadow) -> None:
    """Take parts as they come, until there are enough or the time is over."""
    end_s, quiet_s = time.monotonic() + 60 * order.minutes, time.monotonic() + QUIET_S
    with every_part(order) as ask, Meter("live parts", order.parts) as meter:
        while len(beside.parts) < order.parts and time.monotonic() < end_s:
            ask()
            if not beside.take(1):
                if not beside.parts and time.monotonic() >= quiet_s:
                    quiet_s = math.inf
                    click.echo(f"no live part of {order.recipe} for {QUIET_S:g} s: is the station running, and do parts come?", err=True)
                time.sleep(LOOK_EVERY_S)
                continue
            meter.step(f"{sum(not part.agrees for part in beside.parts)} differ")


@contextmanager
def every_part(order: ShadowOrder) -> Iterator[Callable[[], None]]:
    """Make the station keep every part, not only its sample, while the block runs; the block has to call what is yielded regularly."""
    due_s, request = 0.0, request_path(order.state, order.recipe)

    def ask() -> None:
        nonlocal due_s
        if time.monotonic() >= due_s or not request.exists():  # another shadow of the recipe that has ended has withdrawn it
            due_s = time.monotonic() + ASK_EVERY_S
            request_all(order.state, order.recipe, time.time_ns() + round(ASK_AHEAD_S * 1e9))

    try:
        yield ask
    finally:
        withdraw_request(order.state, order.recipe)


def report_path(order: ShadowOrder) -> Path:
    """Return where the report goes: beside the version's gate."""
    from trainer.gate import GATES  # imported here, so that `--help` does not wait for what draws its page

    return order.folder / GATES / order.version / SHADOW


def note(order: ShadowOrder, beside: Shadow, found: ShadowReport) -> None:
    """Write the report, whole or not at all, and a line into the audit."""
    whole_files.write_json(report_path(order), found)
    with model_store.recipe_lock(order.folder, "noting what a shadow found"):
        why = f"{found.same} of {found.parts} live parts evaluated alike"
        _, champion = beside.newest
        audit.record(order.folder, "shadow", (champion, order.version), why)
