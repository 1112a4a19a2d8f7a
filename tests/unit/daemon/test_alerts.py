"""The delivery of alerts: named failures, growing pauses, nothing lost and nothing doubled, all on a clock that only tests move."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from daemon.alerts import DELIVERED, LONGEST_PAUSE_S, MARKED_AT_ONCE, MOST_AT_ONCE, SLOW_S, TURN_S, UP, deliver_until_stopped, read_reviews
from daemon.redis_link import StoreAway
from daemon.retention import Retention
from mdss.wire.heartbeat import StopFlag
from tests.alerts import undefined, verdict
from tests.delivery import FakeStore, Line
from tests.fakes import FakeRecord

AWAY = StoreAway("unreachable", "redis://host:6379", "Connection refused")


def test_what_waits_is_delivered_once_and_marked() -> None:
    line = Line(verdict("a"), undefined("b"))
    line.turns(1)
    assert list(line.store.alerts) == ["a", "b"]
    assert line.journal.waiting == []
    assert line.figures() == (1, 0, 2)
    assert line.delivery.condition() == ("running", "")


def test_before_its_first_answer_it_is_starting_and_the_store_not_up() -> None:
    line = Line()
    assert line.delivery.condition() == ("starting", "")
    assert line.figures() == (0, 0, 0)


def test_while_redis_is_away_everything_waits_with_the_reason() -> None:
    line = Line(verdict("a"), verdict("b"))
    line.store.error = AWAY
    line.delivery.turn()
    assert line.delivery.condition() == ("degraded", str(AWAY))
    assert [each.result_id for each in line.journal.waiting] == ["a", "b"]
    assert line.figures() == (0, 2, 0)


def test_the_pauses_double_up_to_the_longest() -> None:
    line, tries_s = Line(verdict("a")), list[float]()
    line.store.error = AWAY
    line.store.before_put = lambda: tries_s.append(line.clock())
    for _ in range(400):
        line.delivery.turn()
        line.clock.advance(0.25)
    pauses_s = [later - earlier for earlier, later in itertools.pairwise(tries_s)]
    assert pauses_s == [0.5, 1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


def test_after_the_return_everything_is_delivered_and_the_next_failure_pauses_briefly_again() -> None:
    line = Line(verdict("a"), verdict("b"))
    line.store.error = AWAY
    line.turns(200)
    line.store.error = None
    line.turns(LONGEST_PAUSE_S + 1)
    assert (list(line.store.alerts), line.delivery.condition()) == (["a", "b"], ("running", ""))
    line.store.error, asked = AWAY, line.store.asked
    line.journal.waiting = [verdict("c")]
    line.turns(1)
    assert line.store.asked == asked + 2


def test_what_arrived_before_a_failure_is_not_delivered_again() -> None:
    line = Line(verdict("a"), verdict("b"), verdict("c"))

    def fail_at_c() -> None:
        if "b" in line.store.alerts:
            line.store.error = AWAY

    line.store.before_put = fail_at_c
    line.delivery.turn()
    assert [each.result_id for each in line.journal.waiting] == ["c"]
    assert line.figures() == (0, 1, 2)


def test_a_journal_that_cannot_note_the_delivery_is_a_reason_and_doubles_nothing() -> None:
    line = Line(verdict("a"))
    line.journal.is_broken = True
    line.delivery.turn()
    assert line.delivery.condition() == ("degraded", "journal j.sqlite: database or disk is full")
    line.journal.is_broken = False
    line.turns(2)
    assert (line.journal.waiting, line.tally.counters[DELIVERED]) == ([], 1)


def test_where_redis_and_the_journal_fail_in_one_turn_the_store_is_not_up() -> None:
    line = Line(verdict("a"), verdict("b"))
    line.store.before_put = lambda: setattr(line.store, "error", AWAY if line.store.alerts else None)
    line.journal.is_broken = True
    line.delivery.turn()
    assert (line.tally.counters[UP], line.delivery.condition()) == (0, ("degraded", str(AWAY)))
    line.store.before_put, line.journal.is_broken = lambda: setattr(line.store, "error", None), False
    line.turns(LONGEST_PAUSE_S)
    assert (line.journal.waiting, line.figures()) == ([], (1, 0, 2))


def test_a_journal_that_cannot_be_read_is_no_fault_of_redis_which_is_asked_all_the_same() -> None:
    line = Line(verdict("a"))
    line.journal.is_damaged = True
    line.turns(1)
    assert line.delivery.condition() == ("degraded", "journal j.sqlite: database disk image is malformed")
    assert (line.tally.counters[UP], line.store.asked) == (1, 2)
    line.store.error = AWAY
    line.turns(LONGEST_PAUSE_S)
    assert (line.tally.counters[UP], line.delivery.condition()) == (0, ("degraded", str(AWAY)))
    line.store.error, line.journal.is_damaged = None, False
    line.turns(LONGEST_PAUSE_S)
    assert list(line.store.alerts) == ["a"]


def test_while_the_journal_fails_reviews_are_read_all_the_same_and_while_redis_is_away_they_are_not() -> None:
    line, turns = Line(verdict("a")), list[float]()
    reviews: Any = SimpleNamespace(turn=lambda: turns.append(line.clock()))
    line.journal.is_damaged = True
    line.turns(1)
    read_reviews(reviews, line.delivery)
    assert len(turns) == 1
    line.store.error = AWAY
    line.turns(LONGEST_PAUSE_S)
    read_reviews(reviews, line.delivery)
    assert len(turns) == 1


def test_whatever_breaks_is_said_and_never_raised() -> None:
    line = Line(verdict("a"))
    line.store.error = RuntimeError("broken library")
    with capture_logs() as logs:
        line.delivery.turn()
    assert line.delivery.condition() == ("degraded", "alerts cannot be delivered: RuntimeError: broken library")
    assert logs[0]["log_level"] == "error"
    line.store.error = None
    line.turns(2)
    assert list(line.store.alerts) == ["a"]


def test_a_failure_that_lasts_is_logged_once() -> None:
    line = Line(verdict("a"))
    line.store.error = AWAY
    with capture_logs() as logs:
        line.turns(100)
        line.store.error = None
        line.turns(60)
    assert [each["event"] for each in logs] == ["alerts wait in the journal", "alerts are delivered again"]


def test_without_alerts_redis_is_asked_now_and_then() -> None:
    line = Line()
    line.turns(35)
    assert line.store.asked == 4
    line.store.error = AWAY
    line.turns(10)
    assert line.delivery.condition()[0] == "degraded"
    assert line.figures() == (0, 0, 0)
    line.store.error = None
    line.turns(LONGEST_PAUSE_S)
    assert line.figures() == (1, 0, 0)


def test_an_answer_that_does_not_come_is_said_while_it_is_waited_for() -> None:
    line = Line(verdict("a"))
    seen = []

    def be_slow() -> None:
        seen.append(line.delivery.condition())
        line.clock.advance(SLOW_S + 0.1)
        seen.append(line.delivery.condition())

    line.store.before_put = be_slow
    line.delivery.turn()
    assert seen[0] == ("starting", "")
    assert seen[1][0] == "degraded" and "kept its answer back" in seen[1][1]
    assert line.delivery.condition() == ("running", "")


def test_a_redis_that_is_away_stays_what_is_wrong_while_it_is_asked_once_more() -> None:
    line = Line(verdict("a"))
    line.store.error = AWAY
    line.delivery.turn()
    line.clock.advance(LONGEST_PAUSE_S)
    seen = []

    def be_slow() -> None:
        line.clock.advance(SLOW_S + 0.1)
        seen.append(line.delivery.condition())

    line.store.before_put = be_slow
    line.delivery.turn()
    assert seen == [("degraded", str(AWAY))]


def test_a_disk_that_is_slow_is_not_taken_for_a_slow_answer() -> None:
    line = Line(verdict("a"))
    line.delivery.turn()
    line.journal.waiting = [verdict("b")]
    states = []

    def be_slow() -> None:
        line.clock.advance(SLOW_S + 0.1)
        states.append(line.delivery.condition())

    line.journal.before_mark = be_slow
    line.delivery.turn()
    assert states == [("running", "")]


def test_a_long_backlog_is_not_taken_for_a_slow_answer() -> None:
    line = Line(*(verdict(f"r{number}") for number in range(5 * MARKED_AT_ONCE)))
    states = set()

    def take_a_second() -> None:
        line.clock.advance(1)
        states.add(line.delivery.condition()[0])

    line.store.before_put = take_a_second
    while line.journal.waiting:
        line.delivery.turn()
    assert states == {"starting", "running"}


def test_a_backlog_beyond_one_turn_takes_several() -> None:
    line = Line(*(verdict(f"r{number}") for number in range(MOST_AT_ONCE + 5)))
    line.delivery.turn()
    assert len(line.journal.waiting) == 5
    line.delivery.turn()
    assert len(line.store.alerts) == MOST_AT_ONCE + 5


class Stopping(StopFlag):
    """Is asked to stop from the first moment."""

    def __init__(self) -> None:
        self.asked = True


def test_what_was_judged_while_the_line_drained_leaves_before_the_end(tmp_path: Path) -> None:
    line = Line(verdict("last"))
    deliver_until_stopped(line.delivery, Retention(FakeRecord(), tmp_path, 1, line.clock.watch(tmp_path / "clock.json")), Stopping())
    assert list(line.store.alerts) == ["last"]


def test_another_store_gets_what_waits_at_once_and_the_first_one_is_closed() -> None:
    line = Line(verdict("a"))
    line.store.error = AWAY
    line.turns(20)
    other = FakeStore()
    line.delivery.deliver_to(other)
    line.delivery.turn()
    assert (list(line.store.alerts), list(other.alerts)) == ([], ["a"])
    assert (line.store.is_closed, other.is_closed) == (True, False)
    assert line.delivery.condition() == ("running", "")
    line.delivery.close()
    assert other.is_closed


def test_another_store_is_asked_at_once_though_no_alert_waits() -> None:
    line, other = Line(), FakeStore()
    line.turns(1)
    line.delivery.deliver_to(other)
    line.delivery.turn()
    assert (line.store.asked, other.asked) == (1, 1)


def test_a_redis_that_takes_its_time_over_each_alert_holds_up_neither_start_nor_stop() -> None:
    line = Line(*(verdict(f"r{number}") for number in range(100)))
    line.store.before_put = lambda: line.clock.advance(0.4)
    began_s = line.clock()
    line.delivery.turn()
    assert line.delivery.condition() == ("running", "")
    assert line.clock() - began_s <= TURN_S + 0.4
    assert line.figures() == (1, 97, 3)
    line.turns(20)
    assert list(line.store.alerts) == [f"r{number}" for number in range(100)]
    assert line.journal.waiting == []
