"""Verbs `mdss collection`: list and label the scans that a station keeps, prune them, and export them as a dataset."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
from rich.text import Text

from daemon.listing import by_option, json_option, note_option, print_table, readable_time, result_argument
from mdss.collection import FOLDER, RGB, XYZ, CollectedPart, CollectedScan, Collection, Label, PartFilter, Review
from mdss.errors import BadInput, BadPart, MdssError, written_out
from mdss.good_parts import standing_among
from mdss.part_names import name_among
from mdss.settings import Settings, load_settings
from mdss.verb_options import FiniteRange, config_option
from mdss.whole_files import named_as, whole_folder
from mdss.wire.verdict import Evaluation

NONE, MB = "none", 10**6
LABELS = (*get_args(Label), NONE)
COLUMNS = ("result", "judged (UTC)", "recipe", "part", "source", "evaluation", "score / threshold", "label", "by")
GOOD, DEFECT = "good", "defect"
recipe_option = click.option("--recipe", help="Only scans of this recipe.")
label_option = click.option("--label", "labels", multiple=True, type=click.Choice(LABELS), help="Only scans with this label; repeatable.")
evaluation_option = click.option(
    "--evaluation", "evaluations", multiple=True, type=click.Choice(get_args(Evaluation)), help="Only scans judged so; repeatable."
)


class ListedPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part as `--json` prints it."""

    folder: str
    nbytes: int
    part: CollectedPart
    review: Review | None


@click.group("collection", epilog="Example: mdss collection list --config station.yaml")
def collection() -> None:
    """List, label, prune and export the scans that the station has kept for retraining."""


@collection.command("list", epilog="Example: mdss collection list --config station.yaml --label none --evaluation NotOK")
@config_option
@recipe_option
@label_option
@evaluation_option
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="How many, newest first.")
@json_option
def list_parts(config: Path, as_json: bool, **choices: Any) -> None:
    """List the newest of the kept scans, one line each."""
    found = opened(config).parts(filter_of_options(**choices))[: choices["limit"]]
    if as_json:
        rows = [ListedPart(folder=str(each.folder), nbytes=each.nbytes, part=each.part, review=each.review) for each in found]
        click.echo(msgspec.json.encode(rows).decode())
    elif found:
        print_table(COLUMNS, map(cells, found))
    else:
        click.echo("no scans")


@collection.command(epilog="Example: mdss collection label RESULT_ID good --config station.yaml")
@config_option
@result_argument
@click.argument("label", type=click.Choice(get_args(Label)))
@by_option
@note_option
def label(config: Path, result_id: str, **review: Any) -> None:
    """Label the part of RESULT_ID. This replaces an earlier label. For alerts, use `mdss alerts confirm` or `reject`."""
    if not opened(config).label(result_id, Review(at_ns=time.time_ns(), **review)):
        raise MdssError(f"found no scan of {result_id}; expected one of those that `mdss collection list` shows")
    click.echo(f"{result_id} is {review['label']}")


@collection.command(epilog="Example: mdss collection prune --config station.yaml --max-mb 1000")
@config_option
@click.option("--max-mb", type=click.IntRange(0), help="Keep at most this many MB; collection.max_mb if left out.")
def prune(config: Path, max_mb: int | None) -> None:
    """Remove scans until the rest fits into a limit.

    The oldest OK parts go first, reviewed parts last. A running station keeps to its own budget.
    """
    settings = load_settings(config)
    limit_mb = settings.collection.max_mb if max_mb is None else max_mb
    done = collection_of(settings).prune(limit_mb * MB)
    click.echo(f"{done.removed} scans removed, {done.kept} are left ({done.kept_bytes / MB:.0f} MB)")


@collection.command(epilog="Example: mdss collection export --config station.yaml --recipe cable_gland --out data/cable_gland")
@config_option
@click.option("--recipe", required=True, help="Which recipe's scans.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="A folder that is not there yet.")
@click.option("--reviewed", is_flag=True, help="Only labelled scans; otherwise OK parts count as good, too.")
@click.option("--validation", type=FiniteRange(0, 0.9), default=0.3, show_default=True, help="Share of the good parts kept for validation.")
@click.option("--with-simulated", is_flag=True, help="Include parts that their camera marked as simulated.")
def export(config: Path, recipe: str, out: Path, **choices: Any) -> None:
    """Copy scans into a dataset for training.

    `mdss train --data OUT --unit mm` reads it: good parts, and known defects in test/defect.
    """
    if out.exists():
        raise BadInput(f"--out {out}: found something there already, expected a folder that is not there yet")
    kept = opened(config).parts(PartFilter(recipe=recipe, with_lost=True))
    found = [each for each in kept if choices["with_simulated"] or not each.part.is_simulated]
    standing = standing_among(kept)
    called_good = [each for each in found if standing(each) == GOOD and (each.label or not choices["reviewed"])]
    good = [each for each in called_good if each.part.code != BadPart.code]  # a training would refuse them
    defects = [each for each in found if standing(each) == DEFECT]
    left_out = {
        "simulated ones": len(kept) - len(found),
        "in doubt": sum(standing(each) == "contested" for each in found),
        f"without a part ({BadPart.code})": len(called_good) - len(good),
    }
    if not good:
        raise MdssError(f"found no good scan of {recipe} among {len(found)}{said(left_out)}; expected some that are OK, or labelled good")
    learned, apart = split_for_export(good, choices["validation"])
    with whole_folder(out) as partial, named_as(out, partial):
        sides_of = {"train/good": learned, "validation/good": apart, "test/defect": defects}
        copied = [copy(parts, partial / folder) for folder, parts in sides_of.items()]
    left_out["that the station removed meanwhile"] = len(good) + len(defects) - sum(copied)
    click.echo("{}: {} good parts to train on, {} to validate, {} defects{}; unit mm".format(out, *copied, said(left_out)))


def said(left_out: Mapping[str, int]) -> str:
    """Return how many scans were left out, by which they are, for the end of a sentence; "" if none was."""
    return "".join(f", {count} {which} left out" for which, count in left_out.items() if count)


def split_for_export(good: Sequence[CollectedScan], share: float) -> tuple[list[CollectedScan], list[CollectedScan]]:
    """Split good scans into training and at most this share of validation; scans with one part id stay on one side."""
    parts: dict[str, list[CollectedScan]] = {}
    name_of = name_among(each.part for each in good)
    for each in sorted(good, key=lambda each: each.part.result_id):  # result ids are random, so both sides hold parts from all times
        parts.setdefault(name_of(each.part), []).append(each)
    learned: list[CollectedScan] = []
    apart: list[CollectedScan] = []
    for scans in parts.values():
        (apart if len(apart) + len(scans) <= round(len(good) * share) else learned).extend(scans)
    return learned, apart


def copy(parts: Sequence[CollectedScan], folder: Path) -> int:
    """Copy scans as rgb/RESULT.png and xyz/RESULT.tiff and return how many: a running station may remove some meanwhile."""
    with click.progressbar(parts, label=folder.name, file=sys.stderr, hidden=not sys.stderr.isatty()) as shown:
        return sum(is_copied(each, folder) for each in shown)


def is_copied(each: CollectedScan, folder: Path) -> bool:
    """Copy one scan; return False and leave no file of it if the station removed it meanwhile."""
    places = {name: (folder / kind / each.part.result_id).with_suffix(Path(name).suffix) for kind, name in (("rgb", RGB), ("xyz", XYZ))}
    try:
        for name, place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(each.folder / name, place)
    except FileNotFoundError:
        if each.folder.exists():
            raise
        for place in places.values():
            place.unlink(missing_ok=True)
        return False
    return True


def filter_of_options(**choices: Any) -> PartFilter:
    """Return the filter that the options describe, newest first."""
    labels: frozenset[Any] = frozenset(None if each == NONE else each for each in choices["labels"])
    return PartFilter(
        recipe=choices["recipe"],
        labels=labels or None,
        evaluations=frozenset(choices["evaluations"]) or None,
        newest_first=True,
    )


def opened(config: Path) -> Collection:
    """Return the collection of the station in a settings file."""
    return collection_of(load_settings(config))


def collection_of(settings: Settings) -> Collection:
    """Return the collection of a station."""
    return Collection(Path(settings.station.state_directory) / FOLDER)


def cells(each: CollectedScan) -> Iterator[Text]:
    """Yield a part's cells for the table."""
    part = each.part
    score = " / ".join("none" if value is None else written_out(value) for value in (part.score, part.threshold))
    evaluation = f"{part.evaluation}{f' {part.code}' if part.code else ''}"
    label = (each.review.label, each.review.by) if each.review else ("", "")
    yield from map(
        Text, (part.result_id, readable_time(part.judged_ns), part.recipe_id, part.part_id, part.source_id, evaluation, score, *label)
    )
