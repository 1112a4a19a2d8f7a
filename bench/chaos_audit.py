"""The audit after a chaos run: four records of the same parts, which must agree part by part. Nothing else is believed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import msgspec

Event = Literal["sent", "ack", "done", "refused"]
Kind = Literal["lost", "doubled", "disagrees"]
Name = tuple[str, str]  # a frame: source_id, frame_id


class CameraEvent(msgspec.Struct, frozen=True):
    """One line of a camera's log: it sends a frame, or the station has answered."""

    event: Event
    source_id: str
    frame_id: str
    at_ns: int
    result_id: str = ""
    sequence: int = 0
    code: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the journal; `sequence` is None if it was accepted and has no verdict."""

    source_id: str
    frame_id: str
    result_id: str
    sequence: int | None
    evaluation: str = ""
    code: str = ""
    published_ns: int = 0


class SubscriberEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the subscriber's log."""

    sequence: int
    result_id: str
    evaluation: str
    at_ns: int


class AlertEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the stream or one hash in Redis; `entry` is the id of the stream entry."""

    where: Literal["stream", "hash"]
    entry: str
    result_id: str
    evaluation: str


@dataclass(frozen=True)
class Records:
    """The four records of the same parts: cameras, journal, subscriber, Redis."""

    cameras: Sequence[CameraEvent]
    journal: Sequence[Entry]
    subscriber: Sequence[SubscriberEvent]
    redis: Sequence[AlertEntry]


class Finding(msgspec.Struct, frozen=True):
    """One thing that must not be: a part missing somewhere, a part twice, or two records that differ."""

    kind: Kind
    sentence: str


def audit(records: Records) -> list[Finding]:
    """Return all findings: the records must name each accepted part once, with one result and one sequence."""
    return [
        *_cameras_and_journal(records.cameras, records.journal),
        *_sequences(records.journal),
        *_subscriber(records.subscriber, records.journal),
        *_alerts(records.redis, records.journal),
    ]


def _cameras_and_journal(events_of_all: Sequence[CameraEvent], journal: Sequence[Entry]) -> Iterator[Finding]:
    entries: dict[Name, list[Entry]] = defaultdict(list)
    for entry in journal:
        entries[entry.source_id, entry.frame_id].append(entry)
    lines: dict[Name, list[CameraEvent]] = defaultdict(list)
    for line in events_of_all:
        lines[line.source_id, line.frame_id].append(line)
    for name in entries.keys() - lines.keys():
        yield Finding("disagrees", f"frame {_named(name)} stands in the journal, and no camera sent it")
    for name, events in lines.items():
        yield from _frame(name, events, entries.get(name, []))


def _frame(name: Name, events: Sequence[CameraEvent], entries: Sequence[Entry]) -> Iterator[Finding]:
    """Compare one frame's lines with its entry in the journal."""
    frame, counts = f"frame {_named(name)}", Counter(line.event for line in events)
    answers = [line for line in events if line.event in ("ack", "done")]
    for event in (event for event, count in counts.items() if count > 1):
        results = " and ".join(sorted({line.result_id or "none" for line in events if line.event == event}))
        yield Finding("doubled", f"{frame} was logged as {event} {counts[event]} times, with result {results}")
    if not counts["sent"]:
        yield Finding("disagrees", f"{frame} was answered and never sent")
    if counts["refused"] and (entries or answers):
        yield Finding("disagrees", f"{frame} was refused and accepted")
    if counts["refused"]:
        return
    yield from (Finding("lost", f"{frame} was sent and has no {event.upper()}") for event in ("ack", "done") if not counts[event])
    if counts["ack"] and not entries:
        yield Finding("lost", f"{frame} has an ACK and does not stand in the journal")
    if len(entries) > 1:
        yield Finding("doubled", f"{frame} stands in the journal {len(entries)} times")
    yield from (finding for line in answers for entry in entries[:1] if (finding := _answer(frame, line, entry)))


def _answer(frame: str, line: CameraEvent, entry: Entry) -> Finding | None:
    """Compare one answer to a camera with the journal."""
    if line.result_id != entry.result_id:
        return Finding("doubled", f"{frame} got {line.event.upper()} with result {line.result_id}, the journal has {entry.result_id}")
    if line.event == "done" and line.sequence != entry.sequence:
        return Finding("disagrees", f"{frame} got DONE with sequence {line.sequence}, the journal has {entry.sequence}")
    return None


def _sequences(journal: Sequence[Entry]) -> Iterator[Finding]:
    """Check the journal by itself: every part judged, sequences from 1 without gaps, results unique."""
    for entry in journal:
        if entry.sequence is None:
            yield Finding("lost", f"frame {_named((entry.source_id, entry.frame_id))} was accepted and has no verdict")
    sequences = [entry.sequence for entry in journal if entry.sequence is not None]
    yield from _each_once(sequences, range(1, max(sequences, default=0) + 1), "sequence {} in the journal")
    for result_id in _repeated(entry.result_id for entry in journal):
        yield Finding("doubled", f"result {result_id} stands in the journal more than once")


def _subscriber(events: Sequence[SubscriberEvent], journal: Sequence[Entry]) -> Iterator[Finding]:
    expected = {entry.sequence: entry for entry in journal if entry.sequence is not None}
    yield from _each_once([line.sequence for line in events], expected, "sequence {} at the subscriber")
    for before, after in pairwise(events):
        if after.sequence < before.sequence:
            yield Finding("disagrees", f"the subscriber saw sequence {after.sequence} after {before.sequence}")
    for line in events:
        entry = expected.get(line.sequence)
        if entry is not None and (line.result_id, line.evaluation) != (entry.result_id, entry.evaluation):
            found, stored = f"{line.evaluation} of {line.result_id}", f"{entry.evaluation} of {entry.result_id}"
            yield Finding("disagrees", f"the subscriber saw {found} under sequence {line.sequence}, the journal has {stored}")


def _alerts(alerts: Sequence[AlertEntry], journal: Sequence[Entry]) -> Iterator[Finding]:
    expected = {entry.result_id: entry for entry in journal if entry.sequence is not None and entry.evaluation != "OK"}
    stream = [alert for alert in alerts if alert.where == "stream"]
    hashes = [alert for alert in alerts if alert.where == "hash"]
    for place, found in (("stream", stream), ("hashes", hashes)):
        yield from _each_once([alert.result_id for alert in found], expected, f"the alert of result {{}} in the {place} of Redis")
    for alert in alerts:
        entry = expected.get(alert.result_id)
        if entry is not None and alert.evaluation != entry.evaluation:
            yield Finding("disagrees", f"Redis calls result {alert.result_id} {alert.evaluation}, the journal {entry.evaluation}")
    place_of = {alert.result_id: alert.entry for alert in stream}
    for alert in hashes:
        if place_of.get(alert.result_id, alert.entry) != alert.entry:
            yield Finding("disagrees", f"the hash of result {alert.result_id} names stream entry {alert.entry}, which is another's")


def _each_once(found: Sequence[object], expected: Iterable[object], what: str) -> Iterator[Finding]:
    """Yield a finding for each value that is missing, that is there more than once, or that should not be there."""
    wanted, have = set(expected), set(found)
    for value in sorted(wanted - have, key=str):
        yield Finding("lost", f"{what.format(value)} is missing")
    for value in sorted(have - wanted, key=str):
        yield Finding("disagrees", f"{what.format(value)} has nothing in the journal that it belongs to")
    for value in _repeated(found):
        yield Finding("doubled", f"{what.format(value)} is there more than once")


def _repeated(values: Iterable[object]) -> list[object]:
    """Return the values that occur more than once, each once."""
    return [value for value, count in Counter(values).items() if count > 1]


def _named(name: Name) -> str:
    return "/".join(name)
