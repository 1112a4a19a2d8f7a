"""Good parts that a station collected and no training saw: a threshold can be set from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import click

from mdss.collection import CollectedScan
from mdss.errors import BadInput, BadPart
from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import Recipe
from mdss.part_names import name_among
from trainer.dataset import GOOD
from trainer.gathering import collection_at, gather, parts_new_to, read_and_prepare
from trainer.progress import tracked

NS_PER_DAY = 86_400 * 10**9
MOST_PARTS = 500


@dataclass(frozen=True)
class CollectedSource:
    """Which collected parts to take."""

    folder: Path  # a station's collected folder
    since_ns: int = 0  # judged then or later, UTC
    most: int = MOST_PARTS
    with_simulated: bool = False


@dataclass
class ConfirmedParts:
    """Prepared parts, and who called how many of them good."""

    parts: list[Prepared] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # result ids
    reviewed: int = 0  # called good by a person
    accepted: int = 0  # accepted by the station, and reviewed by nobody

    @property
    def note(self) -> str:
        """Return a note on what a threshold from these parts cannot know; "" if a person has seen all of them."""
        total = self.reviewed + self.accepted
        missing = "good parts that the station rejected and nobody marked as good are missing among them"
        return f"{self.accepted} of {total} collected parts are good by verdict alone; {missing}" if self.accepted else ""


def read_confirmed_parts(source: CollectedSource, model: ModelFolder, recipe: Recipe, curated: frozenset[str]) -> ConfirmedParts:
    """Read and prepare a recipe's good parts, newest first. Parts that cannot be read, or show no part, are named and left out.

    `curated` are the names of scans that are taken anyway, so that a part among them does not count twice.
    """
    chosen = choose_parts(source, model, curated)
    found = ConfirmedParts()
    for each in tracked(chosen, "collected parts"):
        try:
            part = read_and_prepare(each, recipe.point_cloud)
        except (BadPart, BadInput) as bad:
            click.echo(f"calibrate: {each.folder} is left out: {bad}", err=True)
            continue
        found.parts.append(part)
        found.names.append(each.part.result_id)
        found.reviewed += each.label == GOOD
        found.accepted += each.label is None
    return found


def choose_parts(source: CollectedSource, model: ModelFolder, curated: frozenset[str]) -> list[CollectedScan]:
    """Return the newest parts that are marked good, or accepted and unreviewed, and that no training of the model saw.

    Each part counts once, by its newest scan: many scans of one part, as of a master part that is shown every day, say no more of others.
    """
    found = gather(collection_at(source.folder), model.name)
    good = [each for each in found.kept if found.standings[each.part.result_id] == GOOD and each.part.judged_ns >= source.since_ns]
    real = [each for each in good if source.with_simulated or not each.part.is_simulated]
    name_of, newest = name_among(each.part for each in found.kept), dict[str, CollectedScan]()
    for each in parts_new_to(model, real, found.kept, curated):
        newest.setdefault(name_of(each.part), each)
    return list(newest.values())[: source.most]
