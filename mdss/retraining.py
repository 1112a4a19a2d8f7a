"""The outcome of the last retraining of each recipe: one small file per recipe, by which trainer and station share it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

import msgspec

from mdss.errors import UNREADABLE, BadInput
from mdss.whole_files import write_json

RetrainOutcome = Literal["running", "candidate", "nothing_new", "refused_data", "held_back", "failed", "interrupted"]
OUTCOMES: tuple[RetrainOutcome, ...] = get_args(RetrainOutcome)
OUTCOMES_WITHOUT_ALARM: tuple[RetrainOutcome, ...] = ("candidate", "nothing_new")  # outcomes that need nobody's attention


class RetrainRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The last retraining of a recipe, and the last one with an outcome as it should be."""

    recipe: str
    outcome: RetrainOutcome
    reason: str = ""
    started_ns: int  # UTC
    ended_ns: int = 0  # 0 while it runs
    last_success_ns: int = 0  # 0 before the first
    parts_used: int = 0
    parts_refused: int = 0
    version: str = ""  # of the candidate, or of the model that was held back

    @property
    def seconds(self) -> float:
        """Return how long it took; 0 while it runs."""
        return max(0, self.ended_ns - self.started_ns) / 1e9 if self.ended_ns else 0.0


def retrain_folder(state_directory: str | Path) -> Path:
    """Return the folder in which a station's retrainings store what must survive them."""
    return Path(state_directory) / "retrain"


def write_record(folder: Path, record: RetrainRecord) -> None:
    """Write a record; a power cut leaves either the old one or the new one."""
    write_json(folder / f"{record.recipe}.json", record)


def read_record(folder: Path, recipe: str) -> RetrainRecord | None:
    """Return a recipe's record, None before the first attempt; BadInput names a file that is no such record."""
    path = folder / f"{recipe}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=RetrainRecord)
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        raise BadInput(f"{path}: {error}; expected the record of a retraining, remove the file to begin anew") from error


def read_records(folder: Path) -> tuple[RetrainRecord, ...]:
    """Return the records of all recipes; one that cannot be read is left out, because a page must not fail for it."""
    found, paths = [], list[Path]()
    with suppress(OSError):  # raised if not even the folder can be read
        paths = sorted(folder.glob("*.json"))
    for path in paths:
        with suppress(OSError, *UNREADABLE):
            found.append(msgspec.json.decode(path.read_bytes(), type=RetrainRecord))
    return tuple(found)
