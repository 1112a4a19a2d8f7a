"""Verbs of `mdss model` that change a store (promote, rollback, export, import), and the one that shows who did what (history)."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from mdss import audit, whole_files
from mdss.errors import BadInput, legible
from mdss.method import model_store
from mdss.method.model_archive import export_model, import_model
from mdss.method.model_store import Change, ModelFolder
from mdss.terminal import table_console
from mdss.verb_options import reason_option

store_option = click.option("--store", required=True, type=click.Path(path_type=Path), help="The model store.")
recipe_option = click.option("--recipe", required=True, help="The product's name.")
version_option = click.option("--version", required=True, help="Such as 0002.")
EVENT_COLUMNS = ("when", "who", "what", "from", "to", "why")


@click.command(epilog="Example: mdss model promote --store models --recipe cable_gland --version 0002 --reason 'holds on batch 17'")
@store_option
@recipe_option
@version_option
@reason_option
def promote(store: Path, recipe: str, version: str, reason: str) -> None:
    """Make a version the champion; the champion before stays as `previous`. A version that cannot be verified is refused."""
    click.echo(champion_sentence(model_store.promote(store, recipe, version, Change(why=reason))))


@click.command(epilog="Example: mdss model rollback --store models --recipe cable_gland --reason 'rejects good parts'")
@store_option
@recipe_option
@reason_option
def rollback(store: Path, recipe: str, reason: str) -> None:
    """Make the previous champion the champion again. What judged until now becomes `previous`, so a second rollback returns to it."""
    found = model_store.rollback(store, recipe, reason)
    before = model_store.linked_version(model_store.recipe_folder(store, recipe), model_store.PREVIOUS)
    older = "for an older version use `mdss model promote`"
    click.echo(f"{champion_sentence(found)}\n{before} is now `previous`: another rollback returns to it; {older}")


@click.command("export", epilog="Example: mdss model export --store models --recipe cable_gland --version 0002 --to cable_gland-0002.tar")
@store_option
@recipe_option
@version_option
@click.option(
    "--to", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write; one that is there is replaced."
)
def export_verb(store: Path, recipe: str, version: str, to: Path) -> None:
    """Write a verified version into one file, for the store of another station."""
    if not to.parent.is_dir():
        raise BadInput(f"--to {to}: found no folder {to.parent}, expected one that exists")
    model = model_store.open_stored(store, recipe, version)
    export_model(model, to)
    click.echo(f"{model.name} {model.version} is in {to}: {to.stat().st_size / 1e6:.1f} MB, digest {model.digest}")


@click.command("import", epilog="Example: mdss model import cable_gland-0002.tar --store models")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@store_option
@reason_option
def import_verb(file: Path, store: Path, reason: str) -> None:
    """Store the model of an exported file, after checking all of it. It is not promoted.

    It keeps its version if that is free, otherwise it gets the next one. A model that the store has already is not stored again.
    """
    found = import_model(store, file, reason)
    model = found.model
    what = "stored" if found.is_new else "here already"
    promotion = f"mdss model promote --store {shlex.quote(str(store))} --recipe {model.name} --version {model.version}"
    click.echo(f"{model.name} {model.version} is {what}: {model.path}\nto let it judge: {promotion}")


@click.command(epilog="Example: mdss model history --store models --recipe cable_gland")
@store_option
@recipe_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def history(store: Path, recipe: str, as_json: bool) -> None:
    """Show who trained, promoted, rolled back, calibrated or imported what, when and why, oldest first."""
    folder = model_store.recipe_folder(store, recipe)
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; expected the models of {recipe}")
    rows = [msgspec.to_builtins(event) for event in audit.events(folder)]
    if as_json:
        click.echo(whole_files.as_json(rows), nl=False)
    elif rows:
        show_table(EVENT_COLUMNS, rows)
    else:
        click.echo(f"{folder}: nothing was changed yet")


def show_table(columns: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    """Print one line per row."""
    table = Table()
    for title in columns:
        table.add_column(title.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(legible(row[name])) for name in columns))  # the text of an imported card is its maker's
    table_console().print(table)


def champion_sentence(found: ModelFolder) -> str:
    """Return the sentence for a new champion."""
    return f"{found.name} {found.version} is the champion: {found.path}"
