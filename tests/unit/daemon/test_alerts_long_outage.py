"""The delivery of alerts while Redis is away for a day: more failures than a number of seconds can be doubled."""

from __future__ import annotations

from daemon.alerts import LONGEST_PAUSE_S
from daemon.redis_link import StoreAway
from tests.alerts import verdict
from tests.delivery import Line

TURNS = 24 * 60 * 2


def test_after_a_day_without_redis_it_is_asked_as_often_as_in_the_first_hour_and_gets_what_waits() -> None:
    line = Line(verdict("a"))
    line.store.error = StoreAway("unreachable", "redis://host:6379", "Connection refused")
    for _ in range(TURNS):
        line.clock.advance(LONGEST_PAUSE_S)
        line.delivery.turn()
    assert line.store.asked == TURNS
    line.store.error = None
    line.clock.advance(LONGEST_PAUSE_S)
    line.delivery.turn()
    assert list(line.store.alerts) == ["a"]
