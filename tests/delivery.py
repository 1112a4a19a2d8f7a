"""A delivery of alerts between a journal and a store in memory, on a clock that only tests move."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from daemon.alerts import BACKLOG, DELIVERED, UP, Delivery
from mdss.journal import JournalFailed
from mdss.wire.heartbeat import Tally
from mdss.wire.verdict import Verdict
from tests.fakes import FakeClock


class FakeJournal:
    """Alerts that wait, in a list; writes fail while `is_broken`, and `before_mark` happens at each."""

    def __init__(self, *verdicts: Verdict) -> None:
        self.waiting, self.is_broken, self.asked = list(verdicts), False, 0
        self.is_damaged = False
        self.before_mark: Callable[[], None] = lambda: None

    def undelivered(self, limit: int) -> list[Verdict]:
        self.asked += 1
        if self.is_damaged:
            raise JournalFailed("journal j.sqlite: database disk image is malformed")
        return self.waiting[:limit]

    def mark_delivered(self, result_ids: Iterable[str]) -> None:
        self.before_mark()
        if self.is_broken:
            raise JournalFailed("journal j.sqlite: database or disk is full")
        gone = set(result_ids)
        self.waiting = [each for each in self.waiting if each.result_id not in gone]


class FakeStore:
    """A store that is up, or raises `error`; `before_put` happens at each alert."""

    def __init__(self) -> None:
        self.alerts: dict[str, bytes | None] = {}
        self.error: Exception | None = None
        self.asked, self.is_closed = 0, False
        self.before_put: Callable[[], None] = lambda: None

    def ping(self) -> None:
        self._answer()

    def put(self, verdict: Verdict, picture: bytes | None) -> bool:
        self.before_put()
        self._answer()
        is_new = verdict.result_id not in self.alerts
        self.alerts.setdefault(verdict.result_id, picture)
        return is_new

    def close(self) -> None:
        self.is_closed = True

    def _answer(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


class Line:
    """A delivery with everything around it."""

    def __init__(self, *verdicts: Verdict) -> None:
        self.clock, self.tally = FakeClock(), Tally()
        self.journal, self.store = FakeJournal(*verdicts), FakeStore()
        self.delivery = Delivery(self.journal, self.store, self.tally, self.clock)

    def turns(self, seconds: float) -> None:
        """Take turns ten times a second."""
        for _ in range(round(seconds * 10)):
            self.delivery.turn()
            self.clock.advance(0.1)

    def figures(self) -> tuple[float, float, float]:
        """Return store up, backlog and alerts delivered."""
        return self.tally.counters[UP], self.tally.counters[BACKLOG], self.tally.counters[DELIVERED]
