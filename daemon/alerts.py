"""Process `alerts`: delivers every verdict that is not OK from the journal to Redis, however long Redis was away.

It also carries reviews from Redis to the collected scans, and removes old entries and files (retention).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import click
import structlog

from daemon.alert_store import open_store
from daemon.clock_watch import ClockWatch
from daemon.retention import Retention
from daemon.reviews import Reviews
from mdss.collection import FOLDER, Collection
from mdss.errors import MdssError
from mdss.journal import JOURNAL, Journal, JournalFailed
from mdss.verb_options import config_option
from mdss.wire.heartbeat import StopFlag, Tally
from mdss.wire.messages import ProcessState
from mdss.wire.process import ProcessContext, main, open_process
from mdss.wire.verdict import Verdict

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
ASK_EVERY_S = 10.0  # how often Redis is checked while no alert waits
# seconds; after this a turn starts no further alert, because the station's start, its stop and a reload wait until the turn ends
TURN_S = 1.0
SLOW_S = 3.0  # Redis counts as away after keeping silent for this long
MOST_AT_ONCE = 1000  # alerts read from the journal in one turn; the backlog is counted up to this number
MARKED_AT_ONCE = 50  # alerts marked as delivered in one transaction of the journal
LOOK_EVERY_S = 0.1
UP, BACKLOG, DELIVERED = "mdss_store_up", "mdss_alert_backlog", "mdss_alerts_delivered_total"
UNREADABLE_ALERTS = "mdss_unreadable_alerts_total"  # alerts that wait in the journal for a release that can read them
log = structlog.get_logger()


class AlertJournal(Protocol):
    """What the delivery needs from the journal."""

    def undelivered(self, limit: int) -> list[Verdict]:
        """Return verdicts whose alerts are not delivered yet, oldest first."""

    def mark_delivered(self, result_ids: Iterable[str]) -> None:
        """Record that these alerts are delivered."""


class Store(Protocol):
    """What the delivery needs from Redis."""

    def ping(self) -> None:
        """Check that Redis answers."""

    def put(self, verdict: Verdict, picture: bytes | None) -> bool:
        """Store one alert; return False if it was stored before."""

    def close(self) -> None:
        """Close the connections."""


class Delivery:
    """Delivers alerts in turns; after a failure it pauses, longer each time, and states in one sentence what is wrong."""

    def __init__(self, journal: AlertJournal, store: Store, tally: Tally, clock: Callable[[], float] = time.monotonic) -> None:
        self._journal, self._store, self._tally, self._clock = journal, store, tally, clock
        self._failures, self._due_s, self._ask_due_s = 0, 0.0, 0.0
        self._began_s: float | None = None
        self._state: ProcessState = "starting"
        self._reason = ""
        tally.start(UP, BACKLOG, DELIVERED)

    def condition(self) -> tuple[ProcessState, str]:
        """Return the state and its reason; another thread may ask while a turn takes long."""
        began_s = self._began_s
        if began_s is not None and self._clock() - began_s > SLOW_S and self._state != "degraded":
            return "degraded", f"Redis has kept its answer back for more than {SLOW_S:g} s; alerts wait in the journal meanwhile"
        return self._state, self._reason

    @property
    def is_up(self) -> bool:
        """Whether Redis answered the last time it was asked."""
        return self._tally.counters[UP] == 1

    def deliver_to(self, store: Store) -> None:
        """Deliver to another store, without a pause, from the next turn on."""
        self._store.close()
        self._store, self._due_s, self._ask_due_s = store, 0.0, 0.0

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def turn(self) -> None:
        """Deliver what waits, unless the pause after a failure is still running."""
        if self._clock() < self._due_s:
            return
        try:
            self._deliver()
        except JournalFailed as error:
            self._failed(str(error), is_up=True)  # Redis was asked all the same
        except MdssError as error:
            self._failed(str(error))
        except Exception as error:  # whatever it is: an alert must never cost the line its verdicts
            log.exception("delivery broke")
            self._failed(f"alerts cannot be delivered: {type(error).__name__}: {error}")
        else:
            self._succeeded()

    def _deliver(self) -> None:
        try:
            waiting = self._journal.undelivered(MOST_AT_ONCE)
        except JournalFailed:
            self._ask()
            raise
        self._tally.counters[BACKLOG] = float(len(waiting))
        if not waiting:
            self._ask()
        end_s = self._clock() + TURN_S
        for first in range(0, len(waiting), MARKED_AT_ONCE):
            with self._marking() as arrived:
                self._put(waiting[first : first + MARKED_AT_ONCE], arrived, end_s)
            if self._clock() >= end_s:
                return

    def _put(self, waiting: Iterable[Verdict], arrived: list[str], end_s: float) -> None:
        """Store at least one alert, and more while there is time; add each one stored to `arrived`."""
        for verdict in waiting:
            picture = picture_of(verdict)
            with self._asking():
                self._tally.count(DELIVERED, float(self._store.put(verdict, picture)))
            arrived.append(verdict.result_id)
            if self._clock() >= end_s:
                return

    def _ask(self) -> None:
        if self._clock() >= self._ask_due_s:
            with self._asking():
                self._store.ping()
            self._ask_due_s = self._clock() + ASK_EVERY_S

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Note since when Redis is being waited for, so that a slow disk is not blamed on Redis."""
        self._began_s = self._clock()
        try:
            yield
        finally:
            self._began_s = None

    @contextmanager
    def _marking(self) -> Iterator[list[str]]:
        """Yield a list; the alerts in it are marked as delivered afterwards, even if the block failed."""
        arrived: list[str] = []
        try:
            yield arrived
        except Exception:
            # the first failure is the reason to report; an alert left unmarked is sent again, and Redis stores it only once
            with suppress(JournalFailed):
                self._mark(arrived)
            raise
        self._mark(arrived)

    def _mark(self, arrived: list[str]) -> None:
        if arrived:
            self._journal.mark_delivered(arrived)
            self._tally.count(BACKLOG, -float(len(arrived)))

    def _failed(self, reason: str, *, is_up: bool = False) -> None:
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        self._due_s, self._ask_due_s = self._clock() + pause_s, 0.0
        self._tally.counters[UP] = float(is_up)
        if reason != self._reason:
            log.warning("alerts wait in the journal", reason=reason, backlog=self._tally.counters[BACKLOG])
        self._state, self._reason = "degraded", reason

    def _succeeded(self) -> None:
        if self._failures:
            log.info("alerts are delivered again")
        self._failures, self._due_s = 0, 0.0
        self._tally.counters[UP] = 1.0
        self._state, self._reason = "running", ""


def picture_of(verdict: Verdict) -> bytes | None:
    """Return the PNG named by the verdict; if it cannot be read, or is another than was drawn, the alert goes without its picture."""
    if verdict.evidence is None:
        return None
    try:
        png = verdict.evidence.path.read_bytes()
    except OSError as error:
        reason = str(error)
    else:
        if hashlib.sha256(png).hexdigest() == verdict.evidence.sha256:
            return png
        reason = f"{verdict.evidence.path}: found {len(png)} bytes that are not the picture that was drawn"  # as after a power cut
    log.warning("alert without its picture", result_id=verdict.result_id, reason=reason)
    return None


def deliver_until_stopped(delivery: Delivery, retention: Retention, stop: StopFlag, between: Callable[[], None] = lambda: None) -> None:
    """Take turns until asked to stop, then one more, which delivers what fusion judged while the line drained."""
    while not stop.asked:
        between()
        delivery.turn()
        retention.turn()
        time.sleep(LOOK_EVERY_S)
    delivery.turn()


def read_reviews(reviews: Reviews, delivery: Delivery) -> None:
    """Read reviews if Redis answers, so that an absent Redis is not waited for twice; a failing journal does not prevent it."""
    if delivery.is_up:
        reviews.turn()


def work(process: ProcessContext) -> None:
    """Deliver in a separate thread, so that heartbeats go out however long Redis takes to answer."""
    settings = process.settings
    thread = process.closing.enter_context(ThreadPoolExecutor(1))
    state = Path(settings.station.state_directory)
    process.tally.start(UNREADABLE_ALERTS)
    opening = partial(Journal, state / JOURNAL, on_unreadable=partial(process.tally.count, UNREADABLE_ALERTS))
    journal = thread.submit(opening).result()  # SQLite connections belong to the thread that opened them
    store = open_store(settings)
    delivery = Delivery(journal, store, process.tally)
    process.closing.callback(delivery.close)
    reviews = Reviews(store, Collection(state / FOLDER), state / "reviews.json", process.tally)
    retention = Retention(journal, state, settings.journal.keep_days, ClockWatch(state / "clock.json"))

    def between() -> None:
        changed = process.changed_settings()
        if changed is not None:
            delivery.deliver_to(other := open_store(changed))
            reviews.read_from(other)
            retention.keep(changed.journal.keep_days)
        read_reviews(reviews, delivery)

    carrying = thread.submit(deliver_until_stopped, delivery, retention, process.stop, between)
    while not carrying.done():
        condition = delivery.condition()
        process.heartbeats.report_state(*(("degraded", reviews.trouble) if condition[0] == "running" and reviews.trouble else condition))
        time.sleep(LOOK_EVERY_S)
    carrying.result()
    process.heartbeats.report_state("stopped")


@click.command("alerts")
@config_option
def command(config: Path) -> None:
    """Run the process that carries alerts to Redis."""
    with open_process("alerts", config) as process:
        work(process)


if __name__ == "__main__":
    main(command)
