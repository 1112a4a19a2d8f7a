"""How a retraining can end: an exit code and a sentence for each way, and the record that the station's pages show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, Self

import msgspec

from mdss.errors import BadInput, MdssError
from mdss.interrupts import signals_ignored
from mdss.method.store_lock import StoreBusy, training_lock
from mdss.retraining import OUTCOMES_WITHOUT_ALARM, RetrainRecord, read_record, write_record

End = Literal["candidate", "nothing_new", "refused_data", "held_back", "busy"]
EXIT_CODES: dict[End, int] = {"candidate": 0, "nothing_new": 3, "refused_data": 4, "held_back": 5, "busy": 6}
MEANINGS = {
    0: "a candidate was made (with --promote it is the champion)",
    1: "failed: the sentence says at what; the next run begins anew; what was learned and could not be stored is not learned again",
    2: "usage or settings",
    3: "nothing new: fewer new good parts than --least-new were collected",
    4: "refused data: after the checks too few parts are left",
    5: "held back: the gate found the new model worse; it stays in the store without a link, with its report",
    6: "busy: another training of the recipe is running",
    130: "interrupted: the next run goes on with it, or begins anew where nothing was learned yet",
}
Clock = Callable[[], int]


class RetrainEnded(MdssError):
    """A retraining that ended without a candidate, though nothing is broken."""

    def __init__(self, outcome: End, sentence: str) -> None:
        super().__init__(sentence)
        self.outcome = outcome


@contextmanager
def only_training(folder: Path, recipe: str) -> Iterator[None]:
    """Be the only process that trains a recipe while the block runs. RetrainEnded(busy) names another one, `mdss train` included."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(training_lock(folder, "mdss retrain"))
        except StoreBusy as busy:
            raise RetrainEnded("busy", f"{recipe} is being trained already: {busy}") from busy
        yield


class AttemptRecord:
    """The record of one attempt, written when the block begins, whenever more is known, and when it ends in whichever way."""

    def __init__(self, folder: Path, recipe: str, clock: Clock = time.time_ns) -> None:
        self._folder, self._clock = folder, clock
        self._record = RetrainRecord(recipe=recipe, outcome="running", started_ns=clock())

    def note(self, **changes: object) -> None:
        """Write what is known by now."""
        self._record = msgspec.structs.replace(self._record, **changes)
        write_record(self._folder, self._record)

    def end(self, outcome: str, reason: str = "") -> None:
        """Write how the attempt ended."""
        now = self._clock()
        success = {"last_success_ns": now} if outcome in OUTCOMES_WITHOUT_ALARM else {}
        self.note(outcome=outcome, reason=reason, ended_ns=now, **success)

    def __enter__(self) -> Self:
        before = last_record(self._folder, self._record.recipe)  # read only now: an attempt that held the lock until now may have succeeded
        self.note(last_success_ns=before.last_success_ns if before else 0)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        with signals_ignored():
            self.end(*outcome_of_error(error))


def outcome_of_error(error: BaseException | None) -> tuple[str, str]:
    """Return the outcome and the reason for the error that ended an attempt; None is success."""
    if error is None:
        return "candidate", ""
    if isinstance(error, RetrainEnded):
        return error.outcome, str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", str(error) or "stopped; the next run goes on with it"
    return "failed", str(error) or type(error).__name__


def last_record(folder: Path, recipe: str) -> RetrainRecord | None:
    """Return the record of the last attempt; None also for a damaged one, which is about to be overwritten."""
    try:
        return read_record(folder, recipe)
    except BadInput:
        return None
