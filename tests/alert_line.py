"""One station's journal and its delivery into a real Redis, on a clock that only tests move."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from daemon.alert_store import ALERT, STREAM, AlertStore, open_store
from daemon.alerts import LONGEST_PAUSE_S, Delivery
from daemon.private_redis import PrivateRedis
from mdss.journal import Journal
from mdss.settings import Settings
from mdss.wire.heartbeat import Tally
from mdss.wire.verdict import Verdict
from tests.fakes import FakeClock

Redis = redis.Redis


@dataclass
class Line:
    """One station's journal and delivery, on a clock that only tests move."""

    journal: Journal
    store: AlertStore
    tally: Tally
    clock: FakeClock
    delivery: Delivery

    @classmethod
    def of(cls, made: Settings, folder: Path) -> Line:
        """Open the journal in a folder and a store of these settings."""
        journal, store, tally, clock = Journal(folder / "journal.sqlite"), open_store(made), Tally(), FakeClock()
        return cls(journal, store, tally, clock, Delivery(journal, store, tally, clock))

    def judge(self, *verdicts: Verdict) -> None:
        """Journal verdicts, as fusion does."""
        for each in verdicts:
            self.journal.judge(each)

    def turn(self) -> tuple[str, str]:
        """Let the longest pause pass, take a turn, and return the state and its reason."""
        self.clock.advance(LONGEST_PAUSE_S)
        self.delivery.turn()
        return self.delivery.condition()

    def waiting(self) -> list[str]:
        """Return what is not delivered yet."""
        return [each.result_id for each in self.journal.undelivered(100)]

    def close(self) -> None:
        """Close both."""
        self.store.close()
        self.journal.close()


def stored(client: Redis, station: str = "line-1") -> list[str]:
    """Return the result ids in the stream, oldest first; each must have its hash."""
    rows: Any = client.xrange(f"{STREAM}{station}")
    names = [fields[b"result_id"].decode() for _, fields in rows]
    assert all(client.exists(f"{ALERT}{name}") for name in names)
    return names


def client_of(server: PrivateRedis, **options: Any) -> Redis:
    """Return a client that looks at the server with no code of the station."""
    return Redis.from_url(server.url, **options)
