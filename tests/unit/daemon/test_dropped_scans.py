"""What the report says of scans that were dropped on their way to collect."""

from __future__ import annotations

from daemon.collection_queue import DROPPED
from daemon.dropped_scans import WITHIN_S, DroppedScans
from mdss.wire.messages import Heartbeat
from tests.fakes import FakeClock


def beat(dropped: float) -> Heartbeat:
    return Heartbeat(process="ingest", pid=1, state="running", reason="", steps=0, waiting=0, counters={DROPPED: dropped}, timings={})


def test_drops_are_added_up_over_an_hour_and_over_lives_of_ingest() -> None:
    clock = FakeClock()
    scans = DroppedScans(clock)
    scans.hear(beat(0.0), None)
    assert scans.reason == ""
    scans.hear(beat(3.0), beat(0.0))
    scans.hear(beat(3.0), beat(3.0))
    clock.advance(WITHIN_S / 2)
    scans.hear(beat(2.0), None)  # of its next life
    clock.advance(20)
    assert scans.reason == "scans dropped in the last hour: 5, the last 20 s ago; it was away, or slower than they came"
    clock.advance(WITHIN_S / 2)
    assert scans.reason.startswith("scans dropped in the last hour: 2, ")
    clock.advance(WITHIN_S)
    assert scans.reason == ""


def test_of_drops_that_nobody_asks_about_only_the_last_hour_is_kept() -> None:
    clock = FakeClock()
    scans = DroppedScans(clock)
    for number in range(1, 10_000):
        clock.advance(1)
        scans.hear(beat(number), beat(number - 1))
    assert len(scans._drops) <= WITHIN_S + 1
