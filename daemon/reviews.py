"""Carries people's reviews of alerts from Redis to the collected scans: a false reject labels a part good, a confirmed alert a defect."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Protocol, get_args

import msgspec
import structlog

from daemon.alert_store import ReviewState, review_time
from mdss.collection import Collection, Label, Review
from mdss.errors import UNREADABLE, MdssError
from mdss.whole_files import write_whole
from mdss.wire.heartbeat import Tally

ASK_EVERY_S, AGAIN_AFTER_S = 1.0, 10.0  # the second after Redis or the disk refused
MOST_AT_ONCE = 100
PATIENCE_S = 5.0  # for a scan that is still being written when its part is reviewed
REVIEW_STATES: tuple[str, ...] = get_args(ReviewState)
LABELS: Mapping[str, Label] = {"false_reject": "good", "confirmed": "defect"}
RESULTS = ("labelled", "not_collected", "outdated", "unusable")  # possible outcomes of a review
FIRST_ENTRY = "0-0"
SHOWN = 80  # most characters shown of another console's text
log = structlog.get_logger()


class ReviewSource(Protocol):
    """What is needed from Redis."""

    def reviews_from(self, entry: str, limit: int) -> list[tuple[str, dict[str, str]]]:
        """Return the reviews from a stream entry on, oldest first."""


class Position(msgspec.Struct, frozen=True):
    """The last stream entry that was handled, as stored on disk."""

    entry: Annotated[str, msgspec.Meta(pattern=r"^\d{1,19}-\d{1,19}$")] = FIRST_ENTRY  # Redis would refuse anything else every time


class Reviews:
    """Labels collected parts, each review once; after a crash the last reviews are read again, which changes nothing."""

    def __init__(
        self, source: ReviewSource, collection: Collection, note: Path, tally: Tally, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._collection, self._note, self._tally, self._clock = collection, note, tally, clock
        self._entry, self._due_s, self.trouble = read_note(note), 0.0, ""
        # stream entry -> when it was first seen; the scan of an unhandled review may still be on its way
        self._seen_s: dict[str, float] = {}
        tally.start(*map(counter_of, RESULTS))

    def read_from(self, source: ReviewSource) -> None:
        """Read from another Redis from now on."""
        self._source, self._due_s = source, 0.0

    def turn(self) -> None:
        """Handle the reviews that have come since the last turn; called often. Failures are logged and tried again."""
        if self._clock() < self._due_s:
            return
        self._due_s = self._clock() + ASK_EVERY_S
        try:
            self._read()
        except (MdssError, OSError) as error:
            self._failed(str(error))
        except Exception as error:  # whatever it is: a failed review must not stop the alerts
            log.exception("reading reviews broke")
            self._failed(f"{type(error).__name__}: {error}")
        else:
            self.trouble = ""

    def _failed(self, reason: str) -> None:
        if not self.trouble:
            log.warning("reviews cannot be carried to the scans", reason=reason)
        self.trouble, self._due_s = f"reviews cannot be carried to the scans: {reason}", self._clock() + AGAIN_AFTER_S

    def _read(self) -> None:
        before = self._entry
        found = self._source.reviews_from(before, MOST_AT_ONCE)
        # a stream never drops its newest entry, so Redis lost its data and may reuse earlier entry ids
        if not found and before != FIRST_ENTRY:
            log.warning("the last review that was read is not in Redis any more: its stream is read anew", entry=before)
            self._entry = FIRST_ENTRY
        now_s = self._clock()
        self._seen_s = {entry: self._seen_s.get(entry, now_s) for entry, _ in found}
        for entry, fields in found:
            if entry != before and not self._handle(entry, fields):
                break
            self._entry = entry
        if self._entry != before:
            write_note(self._note, self._entry)

    def _handle(self, entry: str, fields: Mapping[str, str]) -> bool:
        """Handle one review; return False if it must wait. A review that cannot be used is skipped, or it would block all later ones."""
        state, result_id = fields.get("state", ""), fields.get("result_id", "")
        if state not in REVIEW_STATES or not result_id:
            self._tally.count(counter_of("unusable"))
            expected = f"expected one of {', '.join(REVIEW_STATES)}, and a result id"
            reason = f"found state {state[:SHOWN]!r} of result {result_id[:SHOWN]!r}, {expected}"
            log.warning("a review cannot be used", entry=entry, reason=reason)
            return True
        try:
            return self._take(entry, fields)
        except (MdssError, OSError):  # Redis or the disk: this passes
            raise
        except Exception:
            self._tally.count(counter_of("unusable"))
            log.exception("a review cannot be used", entry=entry)
            return True

    def _take(self, entry: str, fields: Mapping[str, str]) -> bool:
        """Apply one review to its scan; return False if the scan may still come."""
        label = LABELS.get(fields.get("state", ""))
        if label is None:
            return True
        result_id, review = fields.get("result_id", ""), review_of(label, entry, fields)
        found = self._collection.find(result_id)
        if found is None:
            return self._is_given_up(entry, result_id)
        if found.review is not None and found.review.entry:
            if place_of(entry) <= place_of(found.review.entry):  # read a second time
                return True
        elif found.review is not None and time_of(entry) < found.review.at_ns:
            self._tally.count(counter_of("outdated"))
            log.warning("a review is older than the label that was given at the station, which stays", result_id=result_id, by=review.by)
            return True
        if not self._collection.label(result_id, review):  # the scan was removed this moment
            return self._is_given_up(entry, result_id)
        self._tally.count(counter_of("labelled"))
        log.info("a collected part is labelled", result_id=result_id, label=label, by=review.by)
        return True

    def _is_given_up(self, entry: str, result_id: str) -> bool:
        if self._clock() - self._seen_s[entry] < PATIENCE_S:
            return False
        self._tally.count(counter_of("not_collected"))
        log.warning("a review of a part whose scan is not kept: no training learns from it", result_id=result_id)
        return True


def review_of(label: Label, entry: str, fields: Mapping[str, str]) -> Review:
    """Return a review as it is stored beside the scan; if it gives no time, the time of its stream entry is used."""
    said_ns = review_time(fields.get("at_ns", ""))
    at_ns = time_of(entry) if said_ns is None else said_ns
    return Review(label=label, by=fields.get("by", "") or "unknown", at_ns=at_ns, note=fields.get("note", ""), entry=entry)


def place_of(entry: str) -> tuple[int, ...]:
    """Return a sort key for stream entries."""
    return tuple(int(number) for number in entry.split("-"))


def time_of(entry: str) -> int:
    """Return when Redis received an entry (UTC ns): a single clock, independent of the consoles' clocks."""
    return place_of(entry)[0] * 10**6


def counter_of(result: str) -> str:
    """Return the counter for one outcome of a review."""
    return f'mdss_reviews_total{{result="{result}"}}'


def read_note(path: Path) -> str:
    """Return the last entry handled; without a note the whole stream is read again, which changes nothing already known."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Position).entry
    except (OSError, *UNREADABLE):
        return FIRST_ENTRY


def write_note(path: Path, entry: str) -> None:
    """Store the last entry handled."""
    write_whole(path, msgspec.json.encode(Position(entry)))
