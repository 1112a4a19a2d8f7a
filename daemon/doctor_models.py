"""`mdss doctor` on the model store: whether every recipe has a champion that the workers can load."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from daemon.finding import Case, Finding, bad, is_folder, ok, weak
from daemon.status import StationReport
from mdss.errors import MdssError
from mdss.method import model_store

WHY: Final = "no part of this recipe can be judged by a model that is missing or damaged, and the station does not start without any"


def model_findings(case: Case) -> Iterator[Finding]:
    """Examine the champion of every recipe in the settings."""
    store, recipes = Path(case.settings.models.store), case.settings.models.recipes
    is_there = any(is_folder(store / recipe) for recipe in recipes)
    first = "" if is_there else "mount the disk of models.store, if it has one of its own; else "
    for recipe in recipes:
        subject = f"model {recipe}"
        try:
            model = model_store.open_champion(store, recipe)
        except MdssError as error:
            yield bad(
                subject, str(error), WHY, f"{first}train it, or mdss model rollback --store {shlex.quote(str(store))} --recipe {recipe}"
            )
        else:
            yield ok(subject, f"{model.path}: every file has its checksum, and this release reads it")
    if case.report is not None:
        yield from champions_not_taken(case.report)


def champions_not_taken(station: StationReport) -> Iterator[Finding]:
    """Report recipes for which the running station does not use the champion, and why."""
    for report in station.models:
        if report.reason:
            found = f"the station judges by {report.version or 'nothing'}: {report.reason}"
            why = "the promoted version does not judge, or the next start cannot load it"
            advice = f"fix what it names, promote another version, or roll back; after a repair: mdss recipe preload {report.recipe}"
            yield weak(f"champion {report.recipe}", found, why, advice)
