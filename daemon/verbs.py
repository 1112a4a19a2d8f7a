"""Verbs `mdss check` (is a settings file right) and `mdss status` (how is the running station)."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from daemon.client_keys import token_of
from daemon.recipe_models import RecipeReport
from daemon.status import ReloadReport, StationReport
from mdss.errors import UNREADABLE, BadInput, MdssError
from mdss.key_files import read_password
from mdss.retraining import RetrainRecord
from mdss.settings import Settings, checked_settings, load_settings
from mdss.settings_access import HttpSettings
from mdss.terminal import table_console
from mdss.verb_options import config_option

ANSWER_WITHIN_S = 5.0
MISUSED, UNAUTHORISED = 2, 401
ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - asked here, not bound
GIVE_EACH_ITS_PORT = "give each station an http.port of its own, or restart this one where its station.name was changed"
COLOURS = {"running": "green", "error": "bold red", "degraded": "yellow", "stopped": "dim"}


@click.command(epilog="Example: mdss check station.yaml")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check(file: Path, as_json: bool) -> None:
    """Check whether FILE is a valid settings file; if so, show what its station uses, if not, say what is wrong in which line."""
    try:
        settings = checked_settings(file)
    except BadInput as error:
        if not as_json:
            raise
        click.echo(msgspec.json.encode({"is_valid": False, "error": str(error)}))
        raise click.exceptions.Exit(MISUSED) from error
    if settings.alerts.password_file is not None:
        try:
            read_password(Path(settings.alerts.password_file))
        except BadInput as error:
            click.echo(f"mdss: {file}: {error}; a station starts all the same, and alerts wait", err=True)
    click.echo(msgspec.json.encode({"is_valid": True, "settings": settings}) if as_json else _summary(file, settings))


def _summary(file: Path, settings: Settings) -> str:
    rows = dict(settings.places())
    width = max(map(len, rows))
    named = f"{file}: station {settings.station.name}, recipes {', '.join(settings.models.recipes)}"
    return "\n".join((named, *(f"  {place:{width}}  {value}" for place, value in rows.items())))


@click.command(epilog="Example: mdss status --config station.yaml")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print what the station answers, as JSON.")
def status(config: Path, as_json: bool) -> None:
    """Show what a running station reports. The exit code is 1 if no station answers."""
    report = report_for(load_settings(config))
    if as_json:
        click.echo(msgspec.json.encode(report))
        return
    console = table_console()
    state = Text.assemble(f"{report.station}: ", coloured(report.state), f", started {report.uptime_s:.0f} s ago")
    console.print(state + Text(f" ({report.reason})" if report.reason else ""), soft_wrap=True)
    console.print(table(report))
    for line in lines(report):
        console.print(line, soft_wrap=True)  # a broken file name could be neither copied nor found


def lines(report: StationReport) -> Iterator[str]:
    """Yield the lines below the table: silent and misdated cameras, models, the last reload, retrainings and drift."""
    if report.silent_cameras:
        yield f"cameras: {report.silent_cameras} of {report.cameras} silent; the log names each"
    if report.misdated_cameras:
        yield f"cameras: {report.misdated_cameras} of {report.cameras} with a capture_time far from the station's clock; the log names each"
    yield from map(model_line, report.models)
    if report.reload is not None:
        yield reload_line(report.reload)
    yield from map(retrain_line, report.retrainings)
    yield from (f"drift of {warned.recipe} {warned.model_version}: {warned.sentence}" for warned in report.drift)


def report_for(settings: Settings) -> StationReport:
    """Return the report of the station that answers; where that is another one, say so on stderr."""
    report = request_report(settings.http)
    if other := another_station(report, settings):
        click.echo(f"mdss: {other}; {GIVE_EACH_ITS_PORT}", err=True)
    return report


def another_station(report: StationReport, settings: Settings) -> str:
    """Return what is wrong if the station that answers is not the one of the settings, by its name; empty if it is."""
    expected = settings.station.name
    if report.station == expected:
        return ""
    return f"http.port {settings.http.port}: station {report.station} answers there, expected {expected}"


def request_report(place: HttpSettings) -> StationReport:
    """Return the station's own report."""
    token = token_of(place)
    host = "127.0.0.1" if place.host in ANY_ADDRESS else place.host
    connection = http.client.HTTPConnection(host, place.port, timeout=ANSWER_WITHIN_S)
    try:
        connection.request("GET", "/status", headers={} if token is None else {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        if answer.status == UNAUTHORISED:
            raise MdssError(f"http://{host}:{place.port}/status: the station does not take this token, expected that of http.token_file")
        return msgspec.json.decode(read_body(answer), type=StationReport)
    except UNREADABLE as error:
        raise MdssError(f"http://{host}:{place.port}/status: found another program's answer, expected a station's") from error
    # UnicodeError: an impossible host name, for example with two dots in a row
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise MdssError(f"http://{host}:{place.port}/status: found no answer ({error}), expected a running station") from error
    finally:
        connection.close()


def read_body(answer: http.client.HTTPResponse) -> bytes:
    """Return the body of a page; give up on one that never ends, such as a camera's video stream."""
    body, end_s = b"", time.monotonic() + ANSWER_WITHIN_S
    while more := answer.read1():
        body += more
        if time.monotonic() > end_s:
            raise TimeoutError(f"after {ANSWER_WITHIN_S:g} s there is more to come")
    return body


def reload_line(reload: ReloadReport) -> str:
    """Return a line on the last reload."""
    what = (
        f"took over {', '.join(reload.keys) or 'nothing, because no key had changed'}" if reload.is_applied else f"refused: {reload.reason}"
    )
    return f"reload at {utc_text(reload.at_ns)}: {what}"


def retrain_line(record: RetrainRecord) -> str:
    """Return a line on the last retraining of a recipe."""
    what = record.outcome.replace("_", " ")
    counts = f"{record.parts_used} collected parts used, {record.parts_refused} refused"
    return (
        f"retraining of {record.recipe} at {utc_text(record.started_ns)}: {what}, {counts}{f': {record.reason}' if record.reason else ''}"
    )


def utc_text(time_ns: int) -> str:
    """Return a time (UTC ns) in a readable form with its zone, UTC."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(" ", "seconds")


def model_line(model: RecipeReport) -> str:
    """Return a line on the model that judges a recipe."""
    text = f"version {model.version}, generation {model.generation}" if model.version else "not loaded"
    extra = "; ".join(filter(None, (model.loading and f"{model.loading} is being loaded", model.reason)))
    return f"recipe {model.recipe}: {text}{f' ({extra})' if extra else ''}"


def coloured(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=COLOURS.get(state, "default"))


def table(report: StationReport) -> Table:
    """Return a table with one row per process."""
    made = Table("process", "state", "pid", "done", "waiting", "restarts", "heard", box=None, pad_edge=False)
    made.add_column("reason", overflow="fold")  # the reason may say what to do, so it is never cut
    for process in report.processes:
        made.add_row(
            process.name,
            coloured(process.state),
            "" if process.pid is None else str(process.pid),
            *(str(process.steps), str(process.waiting), str(process.restarts)),
            f"{process.silence_s:.1f} s ago" if process.pid else "",
            process.reason,
        )
    return made
