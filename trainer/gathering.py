"""What a retraining can learn from: the scans that the champion was made from, and the parts that the station has collected since."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mdss.collection import FOLDER as COLLECTED
from mdss.collection import PART, RGB, XYZ, CollectedScan, Collection, PartFilter
from mdss.errors import BadInput
from mdss.good_parts import Standing, standing_among
from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared, prepare
from mdss.method.recipe import PointCloudSettings
from mdss.part_names import Named, name_among
from trainer.dataset import GOOD, Dataset, Scan, Unit, load_scan

Side = Literal["train", "validation", "gate"]
# Keys in the `data` of a model's card.
FOLDER, UNIT, DIGEST = "folder", "unit", "digest"
LEARNED, SHOWN, CALIBRATED = "collected_parts", "gate_parts", "calibrated_parts"
LEFT_OUT = "left_out_scans"  # names of curated scans that are no longer good
SCANS = "scans"  # names of the curated scans; for scans that `mdss collection export` wrote, these are result ids


@dataclass(frozen=True)
class Shares:
    """The shares of collected parts that set the threshold, and that are kept from a model to judge it; it is trained on the rest."""

    validation: float = 0.3
    gate: float = 0.3

    def __post_init__(self) -> None:
        if min(self.validation, self.gate) < 0 or self.validation + self.gate >= 1:
            raise BadInput(f"shares: found {self.validation:g} and {self.gate:g}, expected both from 0 on and less than 1 together")


@dataclass(frozen=True)
class Gathered:
    """A recipe's collected parts, sorted by what may be done with them, before any scan is read."""

    good: tuple[CollectedScan, ...]  # marked as good, then accepted ones; each newest first
    defects: tuple[CollectedScan, ...]  # confirmed by a person: for the gate, never to learn from
    contested: tuple[CollectedScan, ...]  # another scan of the part is a confirmed defect, or this one's review is lost
    unreviewed: int  # not accepted by the station, and not reviewed
    simulated: int  # good ones that are left out because they are simulated
    kept: tuple[CollectedScan, ...]  # every part of the recipe
    standings: Mapping[str, Standing]  # what each part of `kept` counts as, by result id

    @property
    def bad(self) -> frozenset[str]:
        """The result ids of defects and contested parts; some may have counted as good before."""
        return frozenset(name for name, standing in self.standings.items() if standing in ("defect", "contested"))


def collection_at(folder: Path) -> Collection:
    """Return a station's collection. BadInput if there is no such folder, or if it is the one above or below, which would look empty."""
    if not folder.is_dir():
        raise BadInput(f"--collected {folder}: no such folder; expected a station's collected parts (STATE/collected)")
    if (folder / COLLECTED).is_dir():
        raise BadInput(f"--collected {folder}: found a state directory, expected {folder / COLLECTED}")
    if any(folder.glob(f"*/{PART}")):
        raise BadInput(f"--collected {folder}: found the scans of one recipe, expected {folder.parent}, the folder of all")
    return Collection(folder)


def gather(kept: Collection, recipe: str, *, with_simulated: bool = False) -> Gathered:
    """Return a recipe's collected parts, sorted by what may be done with them."""
    found = kept.parts(PartFilter(recipe=recipe, newest_first=True, with_lost=True))
    real = [each for each in found if with_simulated or not each.part.is_simulated]
    standing = standing_among(found)
    standings = {each.part.result_id: standing(each) for each in found}
    good, defects, contested, unknown = ([each for each in real if standings[each.part.result_id] == kind] for kind in get_args(Standing))
    good.sort(key=lambda each: each.label is None)  # a stable sort: each half stays newest first
    simulated = list(standings.values()).count("good") - len(good)
    return Gathered(tuple(good), tuple(defects), tuple(contested), len(unknown), simulated, tuple(found), standings)


def read_and_prepare(part: CollectedScan, settings: PointCloudSettings) -> Prepared:
    """Read and prepare a collected part. BadInput if its files cannot be read, BadPart if it shows no part."""
    scan = Scan("train", GOOD, part.part.result_id, part.folder / RGB, part.folder / XYZ)
    loaded = load_scan(scan, "mm")
    return prepare(loaded.rgb, loaded.xyz_mm, settings)


def side_of(name: str, shares: Shares) -> Side:
    """Return whether the part of this name (`name_among`) trains, calibrates or judges a model; it is the same in every retraining."""
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64
    if drawn < shares.validation:
        return "validation"
    return "gate" if drawn < shares.validation + shares.gate else "train"


def base_of(champion: ModelFolder | None, data: Path | None, unit: Unit | None) -> Dataset | None:
    """Return the curated scans: those of `--data`, otherwise those that the champion was made from; None if they are gone.

    They keep their splits, so that no part behind a threshold is ever trained on.
    """
    if data is not None:
        return Dataset.open(data, unit or "m")
    folder = curated_folder(champion)
    if champion is None or not folder or not _holds_anything(folder):
        return None
    return Dataset.open(Path(folder), unit or ("mm" if champion.card.data.get(UNIT) == "mm" else "m"))


def _holds_anything(folder: str) -> bool:
    """Return whether a folder is there and not empty, as the mount point of a share that is away, nor closed to this user."""
    try:
        return any(Path(folder).iterdir())
    except OSError:
        return False


def curated_folder(champion: ModelFolder | None) -> str:
    """Return the folder of the curated scans that a champion was made from, wherever that was; "" if its card names none."""
    return str(champion.card.data.get(FOLDER) or "") if champion else ""


def made_from(model: ModelFolder) -> frozenset[str]:
    """Return the result ids of the collected parts that a model was trained on and first calibrated with, exported ones included."""
    return frozenset(str(each) for key in (LEARNED, SCANS) for each in model.card.data.get(key, ()))


def learned_by(models: Sequence[ModelFolder]) -> frozenset[str]:
    """Return the result ids of the collected parts that any of these models was made from or judged by."""
    return frozenset(str(each) for model in models for each in (*made_from(model), *model.card.data.get(SHOWN, ())))


def parts_new_to(
    model: ModelFolder, parts: Sequence[CollectedScan], kept: Sequence[CollectedScan], calibrated: frozenset[str] = frozenset()
) -> list[CollectedScan]:
    """Return the parts that the model was not made from, not judged by, and that are not among these `calibrated`.

    If another scan of the same part among `kept` is, the part is, too.
    """
    is_seen = seen_in(learned_by([model]) | calibrated, [each.part for each in kept])
    return [each for each in parts if not is_seen(each.part)]


def sides_among(kept: Iterable[Named], base: Dataset | None, shares: Shares) -> Callable[[Named], Side]:
    """Return a function that gives the side of each of these scans: the split of its part's curated scan, or the side that is drawn."""
    scans = list(kept)
    name_of = name_among(scans)
    splits: tuple[Side, ...] = ("train", "validation")
    split_of = {scan.name: split for split in splits for scan in getattr(base, split, ())}
    curated = {name_of(each): split_of[each.result_id] for each in scans if each.result_id in split_of}
    return lambda scan: curated.get(name_of(scan)) or side_of(name_of(scan), shares)


def seen_in(result_ids: set[str] | frozenset[str], kept: Iterable[Named]) -> Callable[[Named], bool]:
    """Return a function that says whether a part, or another kept scan of it, is among these result ids."""
    scans = list(kept)
    name_of = name_among(scans)
    names = {name_of(each) for each in scans if each.result_id in result_ids}
    return lambda part: part.result_id in result_ids or name_of(part) in names


def calibrated_by(model: ModelFolder) -> frozenset[str]:
    """Return the result ids of the collected parts that a model was recalibrated on, exported ones included."""
    return frozenset(map(str, model.card.data.get(CALIBRATED, ())))


def is_made_from(base: Dataset, model: ModelFolder) -> bool:
    """Return whether a model was made from exactly these curated scans; older cards tell only their numbers, which are compared then."""
    data = model.card.data
    if DIGEST in data:
        return bool(data[DIGEST] == base.digest)
    return (data.get("training_scans"), data.get("validation_scans")) == (len(base.train), len(base.validation))


def require_start(champion: ModelFolder | None, base: Dataset | None, recipe: str, store: Path) -> None:
    """Refuse a retraining that has neither a champion nor curated scans to begin with."""
    if champion is None and base is None:
        raise BadInput(f"recipe {recipe}: found no champion in {store} and no --data, expected one of them to begin with")
