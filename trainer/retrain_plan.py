"""What one retraining learns from, fixed before it begins, so that a run after a power cut continues with exactly these parts.

The station prunes its collection meanwhile. So the scans of collected parts are linked into the work folder, or copied if the file system
cannot link. The plan is written last: if it exists, everything that it names is there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from mdss.collection import RGB, XYZ, CollectedScan
from mdss.errors import UNREADABLE, BadInput, MdssError
from mdss.method.recipe import Recipe
from mdss.part_names import Named
from trainer.data_checks import Refused
from trainer.dataset import GOOD, Dataset, Scan, Unit
from trainer.gathering import Side

Use = Literal["train", "validation", "gate", "defect"]
PLAN, PARTS, MADE_MODEL = "plan.json", "parts", "made"


class PlannedPart(msgspec.Struct, frozen=True, kw_only=True):
    """A collected part, and what it is used for."""

    result_id: str
    part_id: str
    source_id: str = ""  # its camera; empty in plans of earlier releases
    use: Use
    is_new: bool = True  # no model in the store was made from it or judged by it
    judged_ns: int = 0  # by the station; 0 in plans of earlier releases


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides the result of a training."""

    recipe: Recipe
    champion: str  # its version; "" without one
    base: str | None  # folder of the curated scans
    base_unit: Unit = "m"
    base_train: tuple[str, ...] = ()
    base_validation: tuple[str, ...] = ()
    base_left_out: tuple[str, ...] = ()  # names of its scans that a person has called defects since
    base_digest: str = ""  # of its file names and sizes (`Dataset.digest`); empty in plans of earlier releases
    is_base_new: bool = False  # no model in the store was made from exactly these curated scans
    parts: tuple[PlannedPart, ...]
    refused: tuple[Refused, ...] = ()
    unreviewed: int = 0
    with_simulated: bool = False  # whether `parts` may hold simulated ones
    max_invalid_ratio: float = 1.0  # parts that lacked more of their points were refused; 1 in plans of earlier releases
    made_at: str

    @property
    def learned(self) -> list[PlannedPart]:
        """The collected parts to train on or to calibrate with."""
        return [part for part in self.parts if part.use in ("train", "validation")]

    @property
    def new(self) -> int:
        """The number of good parts that no model was made from or judged by."""
        return sum(part.is_new for part in self.parts if part.use != "defect")

    def of(self, use: Use) -> list[PlannedPart]:
        """Return the collected parts of one use."""
        return [part for part in self.parts if part.use == use]


def assign_uses(
    good: Sequence[CollectedScan], defects: Sequence[CollectedScan], known: frozenset[str], side_of: Callable[[Named], Side]
) -> tuple[PlannedPart, ...]:
    """Return what each collected part is used for; `side_of` is that of `sides_among`."""
    uses: list[tuple[CollectedScan, Use]] = [(part, side_of(part.part)) for part in good]
    uses += [(part, "defect") for part in defects]
    return tuple(
        PlannedPart(
            result_id=part.part.result_id,
            part_id=part.part.part_id,
            source_id=part.part.source_id,
            use=use,
            is_new=part.part.result_id not in known,
            judged_ns=part.part.judged_ns,
        )
        for part, use in uses
    )


def link_parts(parts: Sequence[CollectedScan], work: Path) -> list[CollectedScan]:
    """Return the parts whose scans are now in the work folder; parts that the station removes meanwhile are left out.

    If the disk refuses a scan, all are removed: without a plan nobody continues with them, and the station needs the room.
    """
    try:
        return [part for part in parts if link_part(part.folder, work / PARTS / part.part.result_id)]
    except OSError as error:
        discard(work)
        why = error.strerror or error
        raise MdssError(f"{work}: scans cannot be kept for the training ({why}); expected a folder with room for them") from error


def discard(work: Path) -> None:
    """Remove an unfinished training, its plan first: with what an interrupt leaves of the rest nobody goes on."""
    with suppress(OSError):
        (work / PLAN).unlink()
    shutil.rmtree(work, ignore_errors=True)


def link_part(folder: Path, own: Path) -> bool:
    """Link a part's scan into a folder of one's own, or copy it if that fails; False if it is gone."""
    own.mkdir(parents=True)
    try:
        for name in (RGB, XYZ):
            link_or_copy(folder / name, own / name)
    except FileNotFoundError:
        shutil.rmtree(own)
        return False
    return True


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; copy its content if the file system, or a protection of links, does not allow that."""
    try:
        os.link(source, target)
    except OSError:  # also for a file that is gone, which the copy names
        shutil.copyfile(source, target)


def read_plan(work: Path) -> Plan | None:
    """Return the plan of an interrupted training; None if there is none. BadInput says why one cannot be continued.

    Its curated scans are not looked at: `base_set` does that.
    """
    path = work / PLAN
    if not path.exists():
        return None
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    except UNREADABLE as error:
        raise BadInput(f"{path}: {error}; expected the plan of a retraining of this release") from error
    for file in (work / PARTS / part.result_id / name for part in plan.parts for name in (RGB, XYZ)):
        if not file.is_file():
            raise BadInput(f"{file}: no such file; expected a scan that {path} names")
    return plan


def last_refusals(path: Path, champion: str, max_invalid_ratio: float) -> tuple[Refused, ...]:
    """Return the parts that the plan in a file refused; none if the file is no plan of this release.

    Left out are those that are checked again: for the champion's score if the plan's champion was another version, which may score
    differently; for missing points if by now a part may lack more of them; and for what people said.
    """
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    except (OSError, *UNREADABLE):
        return ()
    asked_anew = {"defect": True, "not_normal": plan.champion != champion, "missing_points": max_invalid_ratio > plan.max_invalid_ratio}
    return tuple(each for each in plan.refused if not asked_anew.get(each.code))


def collected_set(work: Path, plan: Plan) -> Dataset:
    """Return the collected parts of a plan as scans to train on and to calibrate with."""
    train, validation = ([scan_of(work, part) for part in parts] for parts in (plan.of("train"), plan.of("validation")))
    return Dataset(work / PARTS, "mm", train, validation)


def scan_of(work: Path, part: PlannedPart) -> Scan:
    """Return the paths of a planned part's scan."""
    folder = work / PARTS / part.result_id
    return Scan("validation" if part.use == "validation" else "train", GOOD, part.result_id, folder / RGB, folder / XYZ)


def base_set(plan: Plan) -> Dataset | None:
    """Return a plan's curated scans. BadInput if the folder holds other scans by now."""
    if plan.base is None:
        return None
    found = Dataset.open(Path(plan.base), plan.base_unit).without(plan.base_left_out)
    is_same = (found.relative_names(found.train), found.relative_names(found.validation)) == (plan.base_train, plan.base_validation)
    if not is_same or plan.base_digest not in ("", found.digest):
        raise BadInput(f"{plan.base}: found other scans than those of the plan; expected the same")
    return found
