"""Verbs `mdss recipe list` and `preload`: show what the station can judge now, and have a recipe loaded in advance."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from daemon.model_plan_store import request_preload
from daemon.recipe_models import RecipeReport
from daemon.status import StationReport
from daemon.verbs import report_for, request_report
from mdss.errors import BadInput, MdssError
from mdss.settings import Settings, load_settings
from mdss.terminal import plain_console, table_console
from mdss.verb_options import FiniteRange, config_option

LOOK_EVERY_S = 0.2
MB = 10**6


@click.group("recipe", epilog="Example: mdss recipe list --config station.yaml")
def recipe() -> None:
    """Show which recipes a running station judges, and load the next one in advance."""


@recipe.command("list", epilog="Example: mdss recipe list --config station.yaml")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the recipes as JSON.")
def list_recipes(config: Path, as_json: bool) -> None:
    """List the recipes in the settings.

    Shown are the judging version, its generation, the champion, and the memory as models.memory_mb counts it.
    """
    settings = load_settings(config)
    reports = report_for(settings).models
    if as_json:
        click.echo(msgspec.json.encode(reports))
        return
    console = table_console()
    console.print(table(reports))
    total_mb = sum(report.memory_bytes for report in reports) / MB
    console.print(f"{total_mb:.0f} MB of {settings.models.memory_mb} MB are taken")


@recipe.command("preload", epilog="Example: mdss recipe preload cable_gland --config station.yaml --wait")
@click.argument("name", metavar="RECIPE")
@config_option
@click.option("--wait", "waits", is_flag=True, help="Wait until the recipe can be judged; exit code 1 if it cannot.")
@click.option("--timeout-s", type=FiniteRange(0), default=120.0, show_default=True, help="How long to wait.")
def preload(name: str, config: Path, waits: bool, timeout_s: float) -> None:
    """Load RECIPE before its first frame comes. Then a changeover costs no part. A version that was refused is tried again."""
    settings = load_settings(config)
    if name not in settings.models.recipes:
        raise BadInput(f"RECIPE: found {name}, expected one of models.recipes: {', '.join(settings.models.recipes)}")
    before = recipe_in(report_for(settings), name)
    request_preload(settings.station, name)
    if not waits:
        click.echo(f"{name}: {'is loaded' if before.version else 'will be loaded'}; mdss recipe list shows when it is")
        return
    with plain_console(stderr=True).status(Text(f"{name} is being loaded")):  # a str would be read as markup
        report = wait_for(settings, before, time.monotonic() + timeout_s)
    click.echo(f"{name}: version {report.version} is loaded, generation {report.generation}")


def wait_for(settings: Settings, before: RecipeReport, end_s: float) -> RecipeReport:
    """Wait until a recipe's champion judges and return its report; MdssError if it was refused, there is none, or time ran out."""
    while True:
        report = recipe_report(settings, before.recipe)
        has_looked = report.asked != before.asked  # since our request: only then is the champion up to date
        if has_looked and report.version and report.version == report.champion:
            return report
        if report.failures > before.failures or (has_looked and not report.champion):
            raise MdssError(f"recipe {report.recipe}: {report.reason}")
        if time.monotonic() > end_s:
            raise MdssError(f"recipe {report.recipe}: not loaded in time ({report.reason or 'it is still being loaded'})")
        time.sleep(LOOK_EVERY_S)


def recipe_report(settings: Settings, name: str) -> RecipeReport:
    """Return the running station's report on a recipe."""
    return recipe_in(request_report(settings.http), name)


def recipe_in(station: StationReport, name: str) -> RecipeReport:
    """Return what a station reports on a recipe."""
    for report in station.models:
        if report.recipe == name:
            return report
    raise MdssError(f"recipe {name}: the running station does not know it, expected a reload after models.recipes had changed")


def table(reports: tuple[RecipeReport, ...]) -> Table:
    """Return a table with one row per recipe."""
    made = Table("recipe", "version", "generation", "champion", "MB", "swaps", "refused", box=None, pad_edge=False)
    made.add_column("state", overflow="fold")  # the reason may say what to do, so it is never cut
    for report in reports:
        made.add_row(
            *(report.recipe, report.version or "-", str(report.generation or "-"), report.champion or "-"),
            *(f"{report.memory_bytes / MB:.0f}", str(report.swaps), str(report.failures)),
            state(report),
        )
    return made


def state(report: RecipeReport) -> str:
    """Return a recipe's state in a few words."""
    if report.loading:
        return f"{report.loading} is being loaded"
    return report.reason or ("judges" if report.version else "not loaded")
