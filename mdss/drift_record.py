"""What is stored on drift: one file per recipe with the latest blocks of parts, the reference values, and the current warnings."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from mdss.errors import UNREADABLE, MdssError
from mdss.whole_files import write_whole

Quantity = Literal["rgb", "sdf", "brightness", "valid_point_ratio", "distance_mm"]
QUANTITIES: Final[tuple[Quantity, ...]] = get_args(Quantity)
NAMES: Final[dict[Quantity, str]] = {
    "rgb": "score of branch rgb",
    "sdf": "score of branch sdf",
    "brightness": "brightness of the part",
    "valid_point_ratio": "share of valid points",
    "distance_mm": "distance of the part (mm)",
}
FORMAT: Final = "mdss.drift.v1"
FOLDER: Final = "drift"  # in the state directory


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Some parts in a row: how they rank among the reference, and their median values."""

    first_part_id: str
    first_result_id: str
    ended_ns: int  # UTC, when the last part was judged
    shifts: dict[Quantity, float]  # -0.5 (all below every reference part) to 0.5; 0 as calibrated
    medians: dict[Quantity, float]


class Onset(msgspec.Struct, frozen=True, kw_only=True):
    """A warning that has not ended."""

    part_id: str  # first part of the block in which the drift began, as far as that can be told
    result_id: str
    warned_ns: int  # UTC
    shift: float  # at the time of the warning
    median: float


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of the reference parts: its median, and the range of the middle eight in ten."""

    low: float
    median: float
    high: float


class DriftRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The stored record of one recipe under one version of its model."""

    format: str = FORMAT
    recipe: str
    model_version: str
    reference_parts: int
    block_parts: int
    parts: int  # in all
    reference: dict[Quantity, Range]
    limits: dict[int, float]  # number of blocks -> mean shift beyond which a warning begins
    rest: float  # mean shift within which a warning ends
    blocks: tuple[Block, ...]  # the latest ones, oldest first
    warnings: dict[Quantity, Onset]
    cleared: dict[Quantity, int]  # blocks since a warning last began or ended


class DriftWarning(msgspec.Struct, frozen=True, kw_only=True):
    """One current warning, as /status shows it."""

    recipe: str
    model_version: str
    quantity: Quantity
    since_part_id: str
    sentence: str


def sentence_of(record: DriftRecord, quantity: Quantity, since: Onset) -> str:
    """Return a sentence: what a quantity measures now and at calibration, and since when the two differ."""
    usual, last = record.reference[quantity], record.blocks[-1].medians[quantity]
    return (
        f"{NAMES[quantity]}: now {last:.4g}, at calibration {usual.median:.4g} ({usual.low:.4g} to {usual.high:.4g} of 8 in 10 good parts),"
        f" since about part {since.part_id}"
    )


def record_path(state: Path, recipe: str) -> Path:
    """Return the path of a recipe's record."""
    return state / FOLDER / f"{recipe}.json"


def write_record(state: Path, record: DriftRecord) -> None:
    """Store a record, complete or not at all; OSError if the disk refuses."""
    write_whole(record_path(state, record.recipe), msgspec.json.encode(record))


def read_record(state: Path, recipe: str) -> DriftRecord | None:
    """Return a recipe's record, None if there is none; MdssError if the file cannot be read, or is not such a record."""
    path = record_path(state, recipe)
    try:
        record = msgspec.json.decode(path.read_bytes(), type=DriftRecord)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MdssError(f"{path}: cannot be read ({error.strerror})") from error
    except UNREADABLE as error:
        raise MdssError(f"{path}: {error}; expected a record of drift ({FORMAT}); without the file the comparison begins anew") from error
    if record.format != FORMAT:
        raise MdssError(f"{path}: found format {record.format!r}, expected {FORMAT!r}; without the file the comparison begins anew")
    return record


def warnings_of(state: Path, recipes: Iterable[str]) -> tuple[DriftWarning, ...]:
    """Return all current warnings; a record that cannot be read has none, and `fusion` logs why before it starts a new one."""
    found: list[DriftWarning] = []
    for recipe in recipes:
        with suppress(MdssError):
            record = read_record(state, recipe)
            found += [] if record is None else [_warned(record, quantity) for quantity in record.warnings]
    return tuple(found)


def _warned(record: DriftRecord, quantity: Quantity) -> DriftWarning:
    since = record.warnings[quantity]
    return DriftWarning(
        recipe=record.recipe,
        model_version=record.model_version,
        quantity=quantity,
        since_part_id=since.part_id,
        sentence=sentence_of(record, quantity, since),
    )
