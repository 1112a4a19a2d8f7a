"""Everything that knows Redis keys: per station a stream of alerts and one of reviews, per alert a hash and, for a while, a picture."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple

import msgspec
from redis.exceptions import ResponseError

from daemon.redis_link import RedisLink, open_link
from mdss.errors import UNREADABLE, MdssError
from mdss.settings import Settings
from mdss.wire.verdict import Verdict

STREAM, ALERT, EVIDENCE, REVIEWS = "mdss:alerts:", "mdss:alert:", "mdss:evidence:", "mdss:reviews:"
SCRIPT: Final = (files("daemon") / "alert.lua").read_text()
REVIEW_SCRIPT: Final = (files("daemon") / "review.lua").read_text()
EXPECTED = "expected an alert of this release"
PAGE_LENGTH = 100
WRONG_TYPE: Final = "WRONGTYPE"  # start of Redis's error for a key under which another program keeps something that is no hash
NEEDED, REVIEWED = ("state", "entry", "stored_ns", "verdict"), ("by", "at_ns", "note")  # fields of an alert's hash
AlertState = Literal["new", "acknowledged", "confirmed", "false_reject"]
ReviewState = Literal["acknowledged", "confirmed", "false_reject"]  # what a person may say about an alert
AlertRow = tuple[str, list[Any] | ResponseError, bool]  # result id, the hash's fields or the error instead, whether there is a picture
Outcome = Literal["done", "same", "refused", "missing"]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One part that is not OK, and its state so far; `entry` is its place in the stream.

    `by`, `at_ns` (UTC) and `note` come from whoever set the state; they are empty while the alert is new.
    """

    result_id: str
    state: AlertState
    entry: str
    stored_ns: int  # UTC
    has_picture: bool
    verdict: Verdict
    by: str = ""
    at_ns: int = 0
    note: str = ""


class AlertReview(NamedTuple):
    """What a person says about one alert."""

    result_id: str
    state: ReviewState
    by: str
    note: str = ""


class AlertStore:
    """The alerts of one station; every refusal by Redis is raised as StoreAway."""

    def __init__(self, link: RedisLink, settings: Settings) -> None:
        self._link, self._limits = link, settings.alerts
        self._stream = f"{STREAM}{settings.station.name}"
        self._reviews = f"{REVIEWS}{settings.station.name}"
        self._script = link.client.register_script(SCRIPT)
        self._review_script = link.client.register_script(REVIEW_SCRIPT)

    def ping(self) -> None:
        """Check that Redis answers."""
        with self._link.asking() as client:
            client.ping()

    def put(self, verdict: Verdict, picture: bytes | None) -> bool:
        """Store one alert; return False, and change nothing, if it was stored before."""
        entry, fields = flattened(entry_of(verdict)), flattened(fields_of(verdict, time.time_ns()))
        limits = (self._limits.stream_max_length, self._limits.evidence_ttl_s)
        keys = [self._stream, f"{ALERT}{verdict.result_id}", f"{EVIDENCE}{verdict.result_id}"]
        with self._link.asking():
            return bool(self._script(keys, [*limits, picture or b"", len(entry), *entry, *fields]))

    def review(self, review: AlertReview) -> tuple[Outcome, str]:
        """Set an alert's state and add the change to the stream of reviews; return the outcome and the state before."""
        keys = [f"{ALERT}{review.result_id}", self._reviews]
        with self._link.asking():
            said = (review.result_id, review.state, review.by, time.time_ns(), review.note)
            outcome, before = self._review_script(keys, [self._limits.stream_max_length, *said])
        return outcome.decode(), before.decode()

    def reviews_from(self, entry: str, limit: int) -> list[tuple[str, dict[str, str]]]:
        """Return the reviews from a stream entry on, oldest first, each with its entry and its fields as written."""
        with self._link.asking() as client:
            rows: Any = client.xrange(self._reviews, entry, "+", count=limit)
        return [(name.decode(), {as_text(key): as_text(value) for key, value in fields.items()}) for name, fields in rows]

    def newest(self, limit: int, states: Collection[AlertState] | None = None, before: str | None = None) -> list[Alert]:
        """Return the newest alerts in these states (all if None); with `before`, only alerts older than that stream entry."""
        found: list[Alert] = []
        while len(found) < limit:
            entries = self._entries(before)
            found += [alert for alert in readable_alerts(self._rows(entries)) if states is None or alert.state in states]
            if len(entries) < PAGE_LENGTH:
                break
            before = entries[-1][0]
        return found[:limit]

    def find(self, result_id: str) -> Alert | None:
        """Return one alert, None if there is none with this id; MdssError if it cannot be read."""
        return next((decoded(*row) for row in self._rows([("", result_id)])), None)

    def picture(self, result_id: str) -> bytes | None:
        """Return the PNG of an alert, None if it has none or the picture has expired."""
        with self._link.asking() as client:
            found: Any = client.get(f"{EVIDENCE}{result_id}")
        return None if found is None else bytes(found)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    def _entries(self, before: str | None) -> list[tuple[str, str]]:
        """Return one page of stream entries, newest first, each with its result id."""
        with self._link.asking() as client:
            rows: Any = client.xrevrange(self._stream, f"({before}" if before else "+", "-", count=PAGE_LENGTH)
        return [(entry.decode(), as_text(fields.get(b"result_id", b""))) for entry, fields in rows]  # other consoles may write there, too

    def _rows(self, entries: list[tuple[str, str]]) -> Iterator[AlertRow]:
        """Yield Redis's answers for the alerts of these entries; alerts whose hash was evicted are left out."""
        with self._link.asking() as client:
            pipeline = client.pipeline(transaction=False)
            for _, result_id in entries:
                pipeline.hmget(f"{ALERT}{result_id}", [*NEEDED, *REVIEWED])
                pipeline.exists(f"{EVIDENCE}{result_id}")
            answers = pipeline.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, ResponseError) and not str(answer).startswith(WRONG_TYPE):
                    raise answer
        for (_, result_id), row, has_picture in zip(entries, answers[::2], answers[1::2], strict=True):
            if isinstance(row, ResponseError) or None not in row[: len(NEEDED)]:
                yield result_id, row, bool(has_picture)


def readable_alerts(rows: Iterable[AlertRow]) -> Iterator[Alert]:
    """Yield the alerts that can be read; one that another console has damaged is reported on stderr and skipped."""
    for row in rows:
        try:
            yield decoded(*row)
        except MdssError as error:
            sys.stderr.write(f"mdss: left out: {error}\n")


def open_store(settings: Settings) -> AlertStore:
    """Return the store for these settings; it connects when it is first used."""
    return AlertStore(open_link(settings.alerts), settings)


def entry_of(verdict: Verdict) -> dict[str, str]:
    """Return the fields of a stream entry; the trimming script expects the result id in the first field."""
    return {
        "result_id": verdict.result_id,
        "part_id": verdict.part_id,
        "source_id": verdict.source_id,
        "recipe_id": verdict.recipe_id,
        "evaluation": verdict.evaluation,
        "code": verdict.code or "",
        "score": number(verdict.score),
        "threshold": number(verdict.threshold.value if verdict.threshold else None),
        "published_ns": str(verdict.times.published),
    }


def fields_of(verdict: Verdict, stored_ns: int) -> dict[str, str]:
    """Return the fields of an alert's hash; an empty text stands for a value that the part does not have."""
    more = {
        "state": "new",
        "stored_ns": str(stored_ns),
        "station": verdict.station,
        "sequence": str(verdict.sequence),
        "frame_id": verdict.frame_id,
        "job_id": verdict.job_id,
        "captured_ns": str(verdict.times.captured),
        "received_ns": str(verdict.times.received),
        "reasons": as_json(verdict.reasons),
        "regions": as_json(verdict.regions),
        "evidence_sha256": verdict.evidence.sha256 if verdict.evidence else "",
        "verdict": as_json(verdict),
    }
    return entry_of(verdict) | more


def decoded(result_id: str, row: list[Any] | ResponseError, has_picture: bool) -> Alert:
    """Return the alert from one hash."""
    if isinstance(row, ResponseError):
        raise MdssError(f"Redis key {ALERT}{result_id}: {row}; {EXPECTED}")
    state, entry, stored_ns, verdict, *reviewed = row
    by, at_ns, note = ("" if each is None else as_text(each) for each in reviewed)
    try:
        values = {
            "result_id": result_id,
            "state": state.decode(),
            "entry": entry.decode(),
            "stored_ns": review_time(as_text(stored_ns)),
            "has_picture": has_picture,
            "verdict": msgspec.json.decode(verdict, type=Verdict),
        }
        return msgspec.convert(values | {"by": by, "at_ns": review_time(at_ns) or 0, "note": note}, Alert)
    except (*UNREADABLE, ValueError) as error:
        raise MdssError(f"Redis key {ALERT}{result_id}: {error}; {EXPECTED}") from error


def review_time(text: str) -> int | None:
    """Return a time (UTC ns) written by a console, None if the text is no such time."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def as_text(raw: bytes) -> str:
    """Return a console's text, with unreadable bytes replaced."""
    return raw.decode(errors="replace")


def flattened(fields: Mapping[str, str]) -> list[str]:
    """Return names and values alternately, as Redis expects them."""
    return [word for pair in fields.items() for word in pair]


def number(value: float | None) -> str:
    """Return a number as text that reads back exactly; an empty text for None."""
    return "" if value is None else repr(value)


def as_json(value: object) -> str:
    """Return any value of a message as JSON text."""
    return msgspec.json.encode(value).decode()
