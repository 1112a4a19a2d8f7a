"""The scans of judged parts that retraining learns from: one folder per part, complete or absent, with the label a person gave it.

`<root>/<recipe>/<result_id>/` holds rgb.png, xyz.tiff (float32 mm, NaN where nothing was measured), part.json, and review.json once
somebody has labelled the part. Several processes may write, label and remove at the same time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from mdss.errors import UNREADABLE, BadInput
from mdss.folder_names import RULE, is_folder_name
from mdss.scan_files import write_scan
from mdss.whole_files import as_json, whole_folder, write_durably
from mdss.wire.verdict import Evaluation, UndefinedCode

FOLDER: Final = "collected"  # in the state directory
RGB, XYZ, PART, REVIEW = "rgb.png", "xyz.tiff", "part.json", "review.json"
HIDDEN = "."  # first character of names that are being written or removed
Label = Literal["good", "defect"]
Decoded = TypeVar("Decoded")
log = structlog.get_logger()


class CollectedPart(msgspec.Struct, frozen=True, kw_only=True):
    """Which part it is and how it was judged, as stored in part.json; times are UTC."""

    result_id: str
    part_id: str
    source_id: str
    recipe_id: str
    captured_ns: int
    judged_ns: int
    evaluation: Evaluation
    code: UndefinedCode | None = None
    score: float | None = None
    threshold: float | None = None
    model_version: str = ""  # empty if no model judged it
    is_simulated: bool = False


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A person's label for a part, as stored in review.json."""

    label: Label
    by: str
    at_ns: int  # UTC, by the clock of the person's machine
    note: str = ""
    entry: str = ""  # its entry in the stream of reviews; empty if it was labelled at the station, by `mdss collection label`


@dataclass(frozen=True)
class CollectedScan:
    """One part of the collection; its scan is read only on request."""

    folder: Path
    part: CollectedPart
    review: Review | None = None
    is_review_lost: bool = False  # there is a label, but it cannot be read any more

    @property
    def label(self) -> Label | None:
        """The label that a person gave the part, None if nobody has."""
        return None if self.review is None else self.review.label

    @property
    def nbytes(self) -> int:
        """How many bytes it takes now."""
        return _nbytes(self.folder)

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return image and cloud (H, W, 3), bit for bit as the station judged them; BadInput names a file that is damaged or gone."""
        from mdss.scans import read_scan  # imported here because it loads cv2, which the writing process does not need

        rgb, xyz_mm = read_scan(self.folder / RGB, self.folder / XYZ)
        return rgb, xyz_mm.astype(np.float32, copy=False)


@dataclass(frozen=True)
class PartFilter:
    """Which parts are wanted; a field at its default does not filter."""

    recipe: str | None = None
    labels: frozenset[Label | None] | None = None  # None among them stands for parts without a label
    evaluations: frozenset[Evaluation] | None = None
    since_ns: int = 0  # judged then or later, UTC
    newest_first: bool = False
    with_lost: bool = False  # include parts whose label cannot be read any more

    def matches(self, found: CollectedScan) -> bool:
        """Return whether a part is wanted."""
        return (
            (self.recipe is None or found.part.recipe_id == self.recipe)
            and (self.labels is None or found.label in self.labels)
            and (self.evaluations is None or found.part.evaluation in self.evaluations)
            and found.part.judged_ns >= self.since_ns
            and (self.with_lost or not found.is_review_lost)
        )


ALL: Final = PartFilter()


class RemovalRank(NamedTuple):
    """What decides when a part is removed: compared field by field, the smallest goes first."""

    is_reviewed: bool
    is_not_ok: bool
    judged_ns: int
    folder: str
    nbytes: int


class Pruned(NamedTuple):
    """What a pruning removed and what remains."""

    removed: int
    kept: int
    kept_bytes: int


class Collection:
    """The parts under one folder; OSError if the disk refuses."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, part: CollectedPart, rgb: NDArray[np.uint8], xyz_mm: NDArray[np.float32]) -> bool:
        """Write one part, complete or not at all, even across a power cut; return False, and change nothing, if it was there before."""
        folder = self._place(part.recipe_id, part.result_id)
        if folder.exists():
            return False
        with whole_folder(folder) as partial:
            write_scan(partial / RGB, rgb, partial / XYZ, xyz_mm)
            write_durably(partial / PART, as_json(part))
        return True

    def find(self, result_id: str) -> CollectedScan | None:
        """Return one part, None if there is none with this id."""
        if not is_folder_name(result_id):
            return None
        return next(_read(recipe / result_id for recipe in self._recipes() if (recipe / result_id).is_dir()), None)

    def parts(self, wanted: PartFilter = ALL) -> list[CollectedScan]:
        """Return the wanted parts in the order in which they were judged; parts that cannot be read are logged and left out."""
        folders = (self.root / wanted.recipe,) if wanted.recipe else self._recipes()
        found = [each for folder in folders for each in _read(_visible(folder)) if wanted.matches(each)]
        return sorted(found, key=lambda each: (each.part.judged_ns, each.part.result_id), reverse=wanted.newest_first)

    def label(self, result_id: str, review: Review) -> bool:
        """Write a person's label for a part, replacing an earlier one; return False if the part is not here (any longer)."""
        found = self.find(result_id)
        if found is None:
            return False
        partial = found.folder / f"{HIDDEN}{REVIEW}-{os.getpid()}"
        try:
            write_durably(partial, as_json(review))
            partial.replace(found.folder / REVIEW)
        except FileNotFoundError:  # the part was removed this moment
            return False
        return True

    def prune(self, max_bytes: int, between: Callable[[], object] = lambda: None, spare_ratio: float = 0.0) -> Pruned:
        """If the parts take more than `max_bytes`, remove parts until they fit with the share `spare_ratio` of the budget free.

        `between` is called after each part that is looked at or removed; all parts are looked at.
        """
        parts = []
        for recipe in self._recipes():
            for folder in _visible(recipe):
                parts.append(_removal_rank(folder))
                between()
        total = sum(each.nbytes for each in parts)
        going = parts_to_remove(parts, int(max_bytes * (1 - spare_ratio))) if total > max_bytes else []
        for each in going:
            remove(Path(each.folder))
            between()
        return Pruned(len(going), len(parts) - len(going), total - sum(each.nbytes for each in going))

    def tidy(self) -> int:
        """Remove what interrupted writing or removal left behind; return how many. Only the one writing process may call it."""
        hidden = [path for recipe in self._recipes() for path in recipe.glob(f"{HIDDEN}*")]
        for path in hidden:
            shutil.rmtree(path, ignore_errors=True)
        return len(hidden)

    def _place(self, recipe_id: str, result_id: str) -> Path:
        for name in (recipe_id, result_id):
            if not is_folder_name(name):
                raise BadInput(f"{name[:80]!r}: expected {RULE}")
        return self.root / recipe_id / result_id

    def _recipes(self) -> list[Path]:
        """Return the folders that can be a recipe's: not the lost+found of a disk, which is closed to the station."""
        return sorted(folder for folder in _visible(self.root) if is_folder_name(folder.name))


def _read(folders: Iterable[Path]) -> Iterator[CollectedScan]:
    for folder in folders:
        try:
            part = _decoded(folder / PART, CollectedPart)
            _check_place(folder, part)
        except (OSError, BadInput, *UNREADABLE) as error:
            log.warning("a collected part cannot be read", folder=str(folder), reason=str(error))
            continue
        if part is not None:  # otherwise it was removed this moment
            yield _reviewed(folder, part)


def _check_place(folder: Path, part: CollectedPart | None) -> None:
    """Refuse a part.json that names another part: whoever copies by that name would write elsewhere."""
    if part is not None and (part.recipe_id, part.result_id) != (folder.parent.name, folder.name):
        raise BadInput(f"{folder / PART}: found part {part.result_id[:80]!r} of {part.recipe_id[:80]!r}, expected that of its folder")


def _reviewed(folder: Path, part: CollectedPart) -> CollectedScan:
    try:
        return CollectedScan(folder, part, _decoded(folder / REVIEW, Review))
    except (OSError, *UNREADABLE) as error:
        log.warning("the label of a collected part cannot be read; label it again", folder=str(folder), reason=str(error))
        return CollectedScan(folder, part, is_review_lost=True)


def parts_to_remove(parts: Iterable[RemovalRank], max_bytes: int) -> list[RemovalRank]:
    """Return the parts to remove so that the rest fits: the oldest OK parts first, then the oldest others, labelled ones last."""
    ordered = sorted(parts)
    excess, going = sum(each.nbytes for each in ordered) - max_bytes, []
    for each in ordered:
        if excess <= 0:
            break
        going.append(each)
        excess -= each.nbytes
    return going


def remove(folder: Path) -> None:
    """Remove one part; nobody ever sees half of it."""
    going = folder.with_name(f"{HIDDEN}{folder.name}-gone")
    try:
        folder.rename(going)
    except FileNotFoundError:  # somebody else removed it first
        return
    shutil.rmtree(going, ignore_errors=True)


def _removal_rank(folder: Path) -> RemovalRank:
    """Return a part's place in the order of removal; one that cannot be read goes first."""
    nbytes = _nbytes(folder)
    try:
        part = _decoded(folder / PART, CollectedPart)
    except (OSError, *UNREADABLE):
        part = None
    if part is None:
        return RemovalRank(is_reviewed=False, is_not_ok=False, judged_ns=0, folder=str(folder), nbytes=nbytes)
    return RemovalRank((folder / REVIEW).exists(), part.evaluation != "OK", part.judged_ns, str(folder), nbytes)


def _visible(folder: Path) -> list[Path]:
    """Return the complete folders in a folder; none if it does not exist."""
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith(HIDDEN) and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _decoded(path: Path, kind: type[Decoded]) -> Decoded | None:
    """Return the content of a file, None if it does not exist."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def _nbytes(folder: Path) -> int:
    return sum(_size(path) for path in folder.glob("*"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
