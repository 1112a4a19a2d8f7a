"""Reads the four records of a chaos run: the cameras' logs, the journal, the subscriber's log, and Redis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.bench_log import read_lines
from bench.chaos_audit import AlertEntry, CameraEvent, Entry, Records, SubscriberEvent
from bench.station_journal import open_journal, verdicts_of
from daemon.alert_store import ALERT, STREAM
from daemon.redis_link import open_link
from mdss.settings import Settings

KEYS_AT_ONCE = 1000  # of Redis


def read_records(settings: Settings, cameras: Sequence[Path], subscriber: Path) -> Records:
    """Return all four records."""
    return Records(
        cameras=[line for log in cameras for line in read_lines(log, CameraEvent)],
        journal=list(read_journal(settings)),
        subscriber=read_lines(subscriber, SubscriberEvent),
        redis=list(read_alerts(settings)),
    )


def read_journal(settings: Settings) -> Iterator[Entry]:
    """Yield every accepted part: first those with a verdict, in order, then the others."""
    with closing(open_journal(settings)) as journal:
        for verdict in verdicts_of(journal):
            yield Entry(
                source_id=verdict.source_id,
                frame_id=verdict.frame_id,
                result_id=verdict.result_id,
                sequence=verdict.sequence,
                evaluation=verdict.evaluation,
                code=verdict.code or "",
                published_ns=verdict.times.published,
            )
        for accepted in journal.pending():
            identity = accepted.identity
            yield Entry(source_id=identity.source_id, frame_id=identity.frame_id, result_id=accepted.result_id, sequence=None)


def read_alerts(settings: Settings) -> Iterator[AlertEntry]:
    """Yield every entry of the station's stream and every hash of an alert."""
    link = open_link(settings.alerts)
    try:
        with link.asking() as client:
            entries: Any = client.xrange(f"{STREAM}{settings.station.name}")
            for entry, fields in entries:
                yield alert_entry("stream", entry, fields[b"result_id"], fields[b"evaluation"])
            for key in set(client.scan_iter(f"{ALERT}*", count=KEYS_AT_ONCE)):
                row: Any = client.hmget(key, ["entry", "evaluation"])
                yield alert_entry("hash", row[0], key.removeprefix(ALERT.encode()), row[1])
    finally:
        link.close()


def alert_entry(where: Any, entry: bytes | None, result_id: bytes, evaluation: bytes | None) -> AlertEntry:
    """Return one record of Redis; a missing field is empty, and so agrees with nothing."""
    return AlertEntry(where=where, entry=(entry or b"").decode(), result_id=result_id.decode(), evaluation=(evaluation or b"").decode())


def is_settled(settings: Settings, subscriber: Path) -> bool:
    """Return whether every accepted part is judged, every alert delivered, and every verdict seen."""
    with closing(open_journal(settings)) as journal:
        seen = read_lines(subscriber, SubscriberEvent)
        is_seen = (seen[-1].sequence if seen else 0) >= journal.last_sequence()
        return is_seen and not journal.pending() and not journal.undelivered(1)
