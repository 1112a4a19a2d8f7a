"""Verbs `mdss model`: what lies in the store, whether it is whole, and which version is the champion."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from mdss.errors import MdssError, ModelRefused
from mdss.method import model_store
from mdss.method.model_store import CHAMPION, PREVIOUS, ModelFolder

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
    rows = [describe(path, name) for name in model_store.recipes(store) for path in model_store.versions(store / name)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    table = Table("recipe", "version", "role", "preset", "made at", "threshold", "fault")
    for row in rows:
        table.add_row(*(str(row[key]) for key in ("recipe", "version", "role", "preset", "made_at", "threshold", "fault")))
    Console().print(table)


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
    rows = [describe(path, name) for name in model_store.recipes(store) for path in model_store.versions(store / name)]
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
