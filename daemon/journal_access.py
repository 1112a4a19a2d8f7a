"""The journal as ingest uses it: while it fails, frames are refused for now, and a locked file does not delay every message."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol, TypeVar

import structlog

from mdss.journal import Entry, JournalDamaged, JournalFailed
from mdss.wire.headers import WireRefusal
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import Accepted, Judged

PAUSE_S = 0.5
FAILURES = "mdss_journal_failures_total"
Value = TypeVar("Value")
log = structlog.get_logger()


class Journal(Protocol):
    """What ingest needs of the journal."""

    def accept(self, accepted: Accepted) -> None:
        """Store that a verdict will follow."""

    def find(self, source_id: str, frame_id: str) -> Entry | None:
        """Return what is known about a frame, None if it is unknown."""

    def pending(self) -> list[Accepted]:
        """Return the parts that were accepted and have no verdict."""


class JournalAccess:
    """Asks the journal and remembers what is wrong with it."""

    def __init__(self, journal: Journal, tally: Tally, clock: Callable[[], float]) -> None:
        self._journal, self._tally, self._clock = journal, tally, clock
        self._again_s, self._fault, self._damage = float("-inf"), "", ""
        tally.start(FAILURES)

    @property
    def trouble(self) -> str:
        """The journal's last fault, until a part is stored again; or damage that a frame ran into, for as long as this process lives."""
        return self._fault or self._damage

    def find(self, source_id: str, frame_id: str) -> Entry | None:
        """Return what is known about a frame, or refuse the frame for now; NOT_READY for a damaged entry, so that other frames go first."""

        def known() -> Entry | None:
            try:
                return self._journal.find(source_id, frame_id)
            except JournalDamaged as error:
                if not self._damage:
                    log.error("the disk damaged what the journal says of a frame", source=source_id, frame=frame_id, reason=str(error))
                self._damage = str(error)
                self._tally.count(FAILURES)
                raise WireRefusal("NOT_READY", f"FRAME: the disk damaged what is known of it: {error}", frame_id) from error

        return self._ask(frame_id, known)

    def accept(self, accepted: Accepted) -> None:
        """Store that a verdict will follow, or refuse the frame for now."""
        self._ask(accepted.identity.frame_id, lambda: self._journal.accept(accepted))
        if self._fault:
            log.info("the journal works again")
        self._fault = ""

    def split_by_verdict(self, parts: Iterable[Accepted]) -> tuple[list[Judged], list[Accepted]]:
        """Return the verdicts of those parts that have one, and the parts that have none yet.

        Parts that the journal cannot look up are in neither list: fusion could store no verdict for them and would end.
        """
        verdicts, owed = list[Judged](), list[Accepted]()
        for accepted in parts:
            with suppress(WireRefusal):
                entry = self.find(accepted.identity.source_id, accepted.identity.frame_id)
                if entry is None or entry.sequence is None:
                    owed.append(accepted)
                else:
                    verdicts.append(entry.judged or unreadable_verdict(accepted, entry.sequence))
        return verdicts, owed

    def _ask(self, frame_id: str, question: Callable[[], Value]) -> Value:
        if self._clock() < self._again_s:
            raise WireRefusal("BUSY", f"FRAME: the part cannot be recorded now: {self._fault}", frame_id)
        try:
            return question()
        except JournalFailed as error:
            if not self._fault:
                log.error("the journal fails: no frame is accepted until it works again", reason=str(error))
            self._fault, self._again_s = str(error), self._clock() + PAUSE_S
            self._tally.count(FAILURES)
            raise WireRefusal("BUSY", f"FRAME: the part cannot be recorded now: {error}", frame_id) from error


def unreadable_verdict(accepted: Accepted, sequence: int) -> Judged:
    """Return a stand-in for a verdict that is in the journal but cannot be read."""
    reason = "its verdict in the journal cannot be read"
    return Judged(result_id=accepted.result_id, sequence=sequence, reason=reason, judged_ns=accepted.received_ns)
