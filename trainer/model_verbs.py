"""Verbs `mdss model`: list what a store holds, and verify that it is whole and judges as it did; adds the verbs that change it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from mdss import whole_files
from mdss.errors import BadInput, MdssError, ModelRefused, ModelUnreadable
from mdss.method import model_store
from mdss.method.model_store import LINKS, ModelFolder
from mdss.method.store_files import CARD
from trainer.compare_verb import compare
from trainer.model_changes import export_verb, history, import_verb, promote, rollback, show_table, store_option
from trainer.progress import tracked
from trainer.shadow_verb import command as shadow

MOST_NAMED = 5  # names repeated in a sentence


class Row(msgspec.Struct):
    """One version in a store. A version that cannot be used has only the first three fields and the fault."""

    recipe: str
    version: str
    role: str
    preset: str = ""
    made_at: str = ""
    derived_from: str = ""
    threshold: float | None = None
    fault: str = ""

    def shown(self) -> dict[str, str]:
        """Return the row as text."""
        limit = "" if self.threshold is None else f"{self.threshold:.4g}"
        return msgspec.structs.asdict(self) | {"threshold": limit}


@click.group("model", epilog="Example: mdss model list --store models")
def model() -> None:
    """List, verify, compare, promote, export and import models."""


for command in (promote, rollback, export_verb, import_verb, history, compare, shadow):
    model.add_command(command)


@model.command("list", epilog="Example: mdss model list --store models --json")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def list_models(store: Path, as_json: bool) -> None:
    """Show every version with its role, age and threshold; a damaged one is shown with its fault."""
    rows = store_rows(store)
    if as_json:
        click.echo(whole_files.as_json(rows), nl=False)
    elif rows:
        show_table(Row.__struct_fields__, [row.shown() for row in rows])
    else:
        found = ", ".join(sorted(path.name for path in store.iterdir() if not path.name.startswith("."))[:MOST_NAMED])
        instead = f"; found {found}, expected RECIPE/VERSION, as `mdss train --out STORE` makes it" if found else ""
        click.echo(f"{store}: no models{instead}")


def store_rows(store: Path) -> list[Row]:
    """Return a row for each version of each recipe. BadInput as from `version_folders`."""
    return [version_row(path) for path in version_folders(store)]


def version_folders(store: Path) -> list[Path]:
    """Return the folder of each version of each recipe. BadInput if this is no folder, or the folder of one recipe."""
    if not store.is_dir():
        raise BadInput(f"--store {store}: no such folder; expected a model store")
    if any((path / CARD).is_file() for path in model_store.versions(store)):
        raise BadInput(f"--store {store}: found the versions of one recipe, expected the store above it, {store.absolute().parent}")
    return [path for name in model_store.recipes(store) for path in model_store.versions(store / name)]


def version_row(path: Path) -> Row:
    """Return the row of one version."""
    name = path.parent.name
    roles = ", ".join(link for link in LINKS if model_store.linked_version(path.parent, link) == path.name)
    try:
        found = model_store.open_version(path)
    except ModelRefused as refused:
        return Row(name, path.name, roles, fault=str(refused))
    card = found.card
    return Row(name, path.name, roles, found.recipe.preset, card.made_at, card.derived_from, found.calibration.threshold.value)


@model.command(epilog="Example: mdss model verify --store models --score")
@store_option
@click.option("--score", "with_scores", is_flag=True, help="Also load each version and score its golden scans again.")
@click.option("--device", default="auto", show_default=True, help="What --score computes on: auto, cpu or cuda:N.")
def verify(store: Path, with_scores: bool, device: str) -> None:
    """Check every file of every version against its checksum; exit code 1 if one is damaged or cannot be read, or if there is none.

    With --score, also exit with 1 if a version does not score its golden scans on this machine as it did when it was made.
    """
    folders, refusals = version_folders(store), list[ModelRefused]()
    if not folders:
        raise MdssError(f"--store {store}: found no model, expected a model store")
    for path in tracked(folders, "golden scans") if with_scores else folders:
        try:
            found = model_store.open_version(path)
            said = f"whole{golden_verdict(found, device) if with_scores else ''}"
        except ModelRefused as refused:
            refusals.append(refused)
            said = str(refused)
        click.echo(f"{path.parent.name} {path.name}: {said}")
    if refusals:
        raise MdssError(f"{store}: {summary(refusals, len(folders))}")


def golden_verdict(found: ModelFolder, device: str) -> str:
    """Return how many golden scans a version reproduces. ModelRefused if it does not."""
    from mdss.method.golden import reproduce  # imported here, because it brings torch, which takes a second
    from trainer.champion import Champion

    judge = Champion.of(found, device)
    count = reproduce(judge.folder, judge.golden_scores)
    return f", {count} golden scans score as they did" if count else ", without golden scans"


def summary(refusals: Sequence[ModelRefused], total: int) -> str:
    """Return how many of all models are damaged, and how many cannot be read, of which nobody knows."""
    unreadable = sum(isinstance(refused, ModelUnreadable) for refused in refusals)
    counts = {"are damaged": len(refusals) - unreadable, "cannot be read": unreadable}
    return ", ".join(f"{count} of {total} models {what}" for what, count in counts.items() if count)
