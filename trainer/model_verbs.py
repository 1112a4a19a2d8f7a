"""Verbs `mdss model`: what lies in the store, whether it is whole, and which version is the champion."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mdss.errors import BadInput, MdssError, ModelRefused
from mdss.method import model_store
from mdss.method.model_store import CHAMPION, PREVIOUS, ModelFolder

COLUMNS = ("recipe", "version", "role", "preset", "made_at", "threshold", "fault")
FALLBACK_COLUMNS = 160  # where the output is no terminal
store_option = click.option("--store", required=True, type=click.Path(path_type=Path), help="The model store.")
recipe_option = click.option("--recipe", required=True, help="The product's name.")


@click.group("model", epilog="Example: mdss model list --store models")
def model() -> None:
    """List, verify and promote models."""


@model.command("list", epilog="Example: mdss model list --store models --json")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def list_models(store: Path, as_json: bool) -> None:
    """Show every version with its role, age and threshold; a damaged one is shown with its fault."""
    rows = described(store)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
    elif rows:
        show_table(rows)
    else:
        click.echo(f"{store}: no models")


def show_table(rows: list[dict[str, str]]) -> None:
    """Print one line per version."""
    table = Table()
    for title in COLUMNS:
        table.add_column(title.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[name]) for name in COLUMNS))
    console = Console()
    (console if console.is_terminal else Console(width=FALLBACK_COLUMNS)).print(table)


def described(store: Path) -> list[dict[str, str]]:
    """Return one row for each version of each recipe; BadInput where there is no store."""
    if not store.is_dir():
        raise BadInput(f"--store {store}: no such folder; expected a model store")
    return [describe(path, name) for name in model_store.recipes(store) for path in model_store.versions(store / name)]


def describe(path: Path, name: str) -> dict[str, str]:
    """Return one row of the list."""
    roles = [link for link in (CHAMPION, PREVIOUS) if model_store.linked_version(path.parent, link) == path.name]
    row = {"recipe": name, "version": path.name, "role": ", ".join(roles)}
    try:
        found = model_store.open_version(path)
    except ModelRefused as refused:
        return {**row, "preset": "", "made_at": "", "threshold": "", "fault": str(refused)}
    limit = f"{found.calibration.threshold.value:.4g}"
    return {**row, "preset": found.recipe.preset, "made_at": found.card.made_at, "threshold": limit, "fault": ""}


@model.command(epilog="Example: mdss model verify --store models")
@store_option
def verify(store: Path) -> None:
    """Check every file of every version against its checksum; exit code 1 where one is damaged."""
    rows = described(store)
    for row in rows:
        click.echo(f"{row['recipe']} {row['version']}: {row['fault'] or 'whole'}")
    if damaged := [row for row in rows if row["fault"]]:
        raise MdssError(f"{store}: {len(damaged)} of {len(rows)} models are damaged")


@model.command(epilog="Example: mdss model promote --store models --recipe cable_gland --version 0002")
@store_option
@recipe_option
@click.option("--version", required=True, help="Such as 0002.")
def promote(store: Path, recipe: str, version: str) -> None:
    """Make a version the champion; a running station takes it over when it is started again."""
    click.echo(said(model_store.promote(store, recipe, version)))


@model.command(epilog="Example: mdss model rollback --store models --recipe cable_gland")
@store_option
@recipe_option
def rollback(store: Path, recipe: str) -> None:
    """Make the previous champion the champion again."""
    click.echo(said(model_store.rollback(store, recipe)))


def said(found: ModelFolder) -> str:
    """Return the sentence for a new champion."""
    return f"{found.name} {found.version} is the champion: {found.path}"
