"""Verbs `mdss alerts`: `list` and `show` read alerts from Redis; `ack`, `confirm` and `reject` record what a person decides about one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
from rich.text import Text

from daemon.alert_store import Alert, AlertReview, AlertState, AlertStore, open_store
from daemon.listing import by_option, json_option, note_option, print_table, readable_time, result_argument, utc_time
from daemon.verdict_words import COLOURS, position, score, strongest_region_text
from mdss.errors import BadInput, MdssError, legible, written_out
from mdss.settings import load_settings
from mdss.verb_options import config_option
from mdss.whole_files import write_whole
from mdss.wire.verdict import Region, Verdict

COLUMNS = ("result", "time (UTC)", "part", "source", "evaluation", "score / threshold", "where", "state")
STATES: tuple[AlertState, ...] = get_args(AlertState)
NO_ALERT = "found no alert {}; expected one of those that `mdss alerts list --all` shows"
STATE_WORDS: dict[str, str] = {"new": "new", "acknowledged": "acknowledged", "confirmed": "confirmed", "false_reject": "a false reject"}


@click.group("alerts", epilog="Example: mdss alerts list --config station.yaml")
def alerts() -> None:
    """List and show the alerts of parts that are not OK, and record what people decide about them."""


@alerts.command("list", epilog="Example: mdss alerts list --config station.yaml --limit 50 --all")
@config_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many, newest first.")
@click.option("--state", type=click.Choice(STATES), help="Only alerts in this state; new ones when left out.")
@click.option("--all", "is_all", is_flag=True, help="Alerts in every state.")
@click.option("--before", metavar="RESULT_ID", help="Only alerts older than this one: the last of the page before.")
@json_option
def list_alerts(config: Path, as_json: bool, **choices: Any) -> None:
    """List the newest alerts, one line each."""
    if choices["is_all"] and choices["state"]:
        raise BadInput("--state, --all: found both, expected one of them")
    states: tuple[AlertState, ...] | None = None if choices["is_all"] else (choices["state"] or "new",)
    with opened_store(config) as store:
        entry = None if choices["before"] is None else alert_of(store, choices["before"]).entry
        found = store.newest(choices["limit"], states, entry)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    elif found:
        print_table(COLUMNS, map(cells, found))
    else:
        click.echo(f"no alerts{f' in state {states[0]}' if states else ''}{' below this one' if entry else ''}")


@alerts.command("show", epilog="Example: mdss alerts show RESULT_ID --config station.yaml --picture part.png")
@config_option
@result_argument
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Write the picture, a PNG, to this file.")
@json_option
def show(config: Path, result_id: str, picture: Path | None, as_json: bool) -> None:
    """Show everything known about one alert."""
    with opened_store(config) as store:
        alert = alert_of(store, result_id)
        if picture is not None:
            write_picture(picture, result_id, store.picture(result_id))
    if as_json:
        click.echo(msgspec.json.encode(alert).decode())
        return
    for name, value in rows(alert):
        # cameras and people choose these names: control characters must not reach the terminal
        click.echo(f"{name:<16}{legible(str(value))}")


def reviewing(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments and options shared by all verbs that change an alert's state."""
    for option in (note_option, by_option, result_argument, config_option):
        command = option(command)
    return command


@alerts.command(epilog="Example: mdss alerts ack RESULT_ID --config station.yaml")
@reviewing
def ack(config: Path, result_id: str, by: str, note: str) -> None:
    """Note that somebody looks after RESULT_ID."""
    review(config, AlertReview(result_id, "acknowledged", by, note))


@alerts.command(epilog='Example: mdss alerts confirm RESULT_ID --config station.yaml --note "dent at the rim"')
@reviewing
def confirm(config: Path, result_id: str, by: str, note: str) -> None:
    """Confirm that RESULT_ID is a defective part. The next candidate must catch it, too."""
    review(config, AlertReview(result_id, "confirmed", by, note))


@alerts.command(epilog='Example: mdss alerts reject RESULT_ID --config station.yaml --by anna --note "only dust"')
@reviewing
def reject(config: Path, result_id: str, by: str, note: str) -> None:
    """Mark RESULT_ID as a false reject. The part is good, and the next training learns from its scan."""
    review(config, AlertReview(result_id, "false_reject", by, note))


def review(config: Path, alert_review: AlertReview) -> None:
    """Store a review, or explain why it cannot be stored."""
    with opened_store(config) as store:
        outcome, before = store.review(alert_review)
    match outcome:
        case "missing":
            raise MdssError(NO_ALERT.format(alert_review.result_id))
        case "refused":
            if before not in STATE_WORDS:
                raise MdssError(f"alert {alert_review.result_id} is in state {before!r}, expected one of {', '.join(STATES)}")
            another = "`mdss alerts confirm` and `reject` change what was said of it"
            raise MdssError(f"alert {alert_review.result_id} is {STATE_WORDS[before]} already, expected a new one: {another}")
        case "same":
            click.echo(f"{alert_review.result_id} was {STATE_WORDS[alert_review.state]} before: nothing has changed")
        case "done":
            click.echo(f"{alert_review.result_id} is {STATE_WORDS[alert_review.state]} (was {STATE_WORDS.get(before, before)})")


@contextmanager
def opened_store(config: Path) -> Iterator[AlertStore]:
    """Open the store of a settings file and close it after the block."""
    store = open_store(load_settings(config))
    try:
        yield store
    finally:
        store.close()


def alert_of(store: AlertStore, result_id: str) -> Alert:
    """Return an alert; MdssError if there is none with this id."""
    alert = store.find(result_id)
    if alert is None:
        raise MdssError(NO_ALERT.format(result_id))
    return alert


def write_picture(path: Path, result_id: str, png: bytes | None) -> None:
    """Write the PNG; MdssError if there is no picture or it cannot be written."""
    if png is None:
        raise MdssError(f"alert {result_id} has no picture: the part had no map to show, or alerts.evidence_ttl_s is over")
    try:
        path.parent.stat()  # a folder that is not there is a mistake, and would be made
        write_whole(path, png)
    except OSError as error:
        raise MdssError(f"{path}: the picture cannot be written ({error.strerror})") from error


def cells(alert: Alert) -> Iterator[Text]:
    """Yield an alert's cells for the table."""
    verdict = alert.verdict
    yield from map(Text, (alert.result_id, readable_time(verdict.times.published), verdict.part_id, verdict.source_id))
    yield Text(evaluation(verdict), style=COLOURS[verdict.evaluation])
    yield from map(Text, (score(verdict), strongest_region_text(verdict), alert.state))


def rows(alert: Alert) -> Iterator[tuple[str, Any]]:
    """Yield name and value of everything that `mdss alerts show` prints."""
    verdict = alert.verdict
    yield from (("result", alert.result_id), ("state", alert.state))
    if alert.by or alert.note:
        when = f" at {utc_time(alert.at_ns)}" if alert.at_ns else ""  # another console may leave out the time and the name
        yield "said by", f"{alert.by or 'unknown'}{when}{f': {alert.note}' if alert.note else ''}"
    yield from (("station", verdict.station), ("sequence", verdict.sequence))
    yield from (("part", verdict.part_id), ("job", verdict.job_id), ("source", verdict.source_id), ("frame", verdict.frame_id))
    yield "recipe", verdict.recipe_id
    yield "model", f"{verdict.model.version} ({verdict.model.digest})" if verdict.model else "none"
    yield "evaluation", f"{evaluation(verdict)}{' (one branch only)' if verdict.is_partial else ''}"
    yield from (("reason", reason) for reason in verdict.reasons)
    yield "score", score(verdict)
    yield from ((f"branch {name}", f"{written_out(each.score)} by {each.model_version}") for name, each in verdict.branches.items())
    yield from ((f"region {number}", place(region)) for number, region in enumerate(verdict.regions, start=1))
    if verdict.invalid_point_ratio is not None:
        yield "missing points", f"{verdict.invalid_point_ratio:.1%}"
    yield from (
        ("captured", utc_time(verdict.times.captured)),
        ("received", utc_time(verdict.times.received)),
        ("judged", utc_time(verdict.times.published)),
    )
    yield "in Redis since", utc_time(alert.stored_ns)
    yield from (("simulated", verdict.is_simulated), ("deadline missed", verdict.deadline_missed), ("attempt", verdict.attempt))
    yield "picture", "yes" if alert.has_picture else "none, or no longer"


def evaluation(verdict: Verdict) -> str:
    """Return the evaluation, followed by its code if it has one."""
    return f"{verdict.evaluation}{f' {verdict.code}' if verdict.code else ''}"


def place(region: Region) -> str:
    """Return a description of a region in one line."""
    area = f"{region.area_px} px" if region.area_mm2 is None else f"{region.area_mm2:.1f} mm2 ({region.area_px} px)"
    left, top, width, height = region.bbox_px
    box = f"box {width} x {height} px at {left}, {top} px"
    return f"{region.branch} at {position(region)}, {area}, {box}, peak {written_out(region.peak, 3)}"
