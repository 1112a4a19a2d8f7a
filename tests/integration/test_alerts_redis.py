"""Alerts from a real journal into a real Redis, through everything that happens to a Redis in a factory."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from daemon.alert_store import ALERT, EVIDENCE, STREAM, AlertStore, open_store
from daemon.alerts import BACKLOG, DELIVERED, LONGEST_PAUSE_S, UP, Delivery
from daemon.private_redis import PrivateRedis
from daemon.redis_link import StoreAway, StoreState
from mdss.journal import Journal
from mdss.settings import Settings
from mdss.wire.messages import Verdict
from mdss.wire.pulse import Tally
from tests.alerts import PNG, settings, undefined, verdict
from tests.fakes import FakeClock

pytestmark = pytest.mark.timeout(120)
RIGHT = "right"


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


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrivateRedis]:
    """A Redis of this test alone."""
    with PrivateRedis(tmp_path / "redis") as running:
        yield running


@pytest.fixture
def line(server: PrivateRedis, tmp_path: Path) -> Iterator[Line]:
    """A line whose alerts go to that Redis."""
    opened = Line.of(settings(server.url), tmp_path)
    yield opened
    opened.close()


def stored(client: Redis, station: str = "line-1") -> list[str]:
    """Return the result ids in the stream, oldest first; each must have its hash."""
    rows: Any = client.xrange(f"{STREAM}{station}")
    names = [fields[b"result_id"].decode() for _, fields in rows]
    assert all(client.exists(f"{ALERT}{name}") for name in names)
    return names


def client_of(server: PrivateRedis, **options: Any) -> Redis:
    """Return a client that looks at the server with no code of the station."""
    return Redis.from_url(server.url, **options)


def test_an_alert_is_a_stream_entry_a_hash_and_a_picture_for_a_while(server: PrivateRedis, line: Line, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    line.judge(verdict("a", evidence=tmp_path / "a.png"))
    assert line.turn() == ("running", "")
    with client_of(server) as client:
        ((entry, fields),) = client.xrange(f"{STREAM}line-1")
        assert (fields[b"part_id"], fields[b"evaluation"], fields[b"score"], fields[b"threshold"]) == (
            b"part of a",
            b"NotOK",
            b"7.5",
            b"3.0",
        )
        found: Any = client.hgetall(f"{ALERT}a")
        assert (found[b"state"], found[b"entry"], found[b"sequence"], found[b"recipe_id"]) == (b"new", entry, b"1", b"cap")
        assert b'"centroid_mm":[1.0,-2.5,300.0]' in found[b"regions"]
        assert b"score 7.5 is above" in found[b"reasons"]
        assert client.get(f"{EVIDENCE}a") == PNG
        assert 0 < client.ttl(f"{EVIDENCE}a") <= 604_800
        assert client.ttl(f"{ALERT}a") == -1


def test_ok_parts_are_no_alerts_and_undefined_ones_are(server: PrivateRedis, line: Line) -> None:
    line.judge(verdict("good", evaluation="OK", reasons=()), undefined("late"), verdict("unsure", evaluation="NotDecidable"))
    line.turn()
    with client_of(server) as client:
        assert stored(client) == ["late", "unsure"]
        assert client.hmget(f"{ALERT}late", ["code", "score", "threshold"]) == [b"LATE", b"", b""]
        assert client.exists(f"{EVIDENCE}late") == 0


def test_an_outage_and_its_end_lose_nothing_and_double_nothing(server: PrivateRedis, line: Line) -> None:
    line.judge(verdict("before"))
    line.turn()
    server.stop()
    line.judge(verdict("during-1"), verdict("during-2"))
    for _ in range(3):
        state, reason = line.turn()
        assert (state, line.waiting()) == ("degraded", ["during-1", "during-2"])
    assert f"Redis at {server.url} does not answer" in reason
    assert (line.tally.counters[UP], line.tally.counters[BACKLOG]) == (0, 2)
    server.start()
    line.judge(verdict("after"))
    assert line.turn() == ("running", "")
    assert (line.waiting(), line.tally.counters[DELIVERED], line.tally.counters[BACKLOG]) == ([], 4, 0)
    with client_of(server) as client:
        assert stored(client) == ["during-1", "during-2", "after"]  # this Redis had kept nothing of `before`


def test_what_arrived_without_being_noted_is_replayed_and_doubles_nothing(server: PrivateRedis, line: Line, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    line.judge(verdict("a", evidence=tmp_path / "a.png"), verdict("b"))
    assert line.store.put(line.journal.undelivered(1)[0], PNG)
    with client_of(server) as client:
        client.hset(f"{ALERT}a", "state", "acknowledged")
        before = client.hgetall(f"{ALERT}a")
        line.turn()
        assert stored(client) == ["a", "b"]
        assert client.hgetall(f"{ALERT}a") == before
    assert (line.waiting(), line.tally.counters[DELIVERED]) == ([], 1)


def test_a_redis_killed_in_the_middle_of_an_outage_begins_anew_with_what_waits(server: PrivateRedis, line: Line) -> None:
    line.judge(verdict("a"))
    line.turn()
    server.kill()
    line.judge(verdict("b"))
    assert line.turn()[0] == "degraded"
    server.start()  # empty, and it does not know the script either
    assert line.turn() == ("running", "")
    with client_of(server) as client:
        assert stored(client) == ["b"]
    assert line.waiting() == []


def test_a_redis_that_hangs_is_given_up_after_the_timeout_and_nothing_doubles(server: PrivateRedis, line: Line) -> None:
    line.judge(verdict("a"))
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    state, reason = line.turn()
    os.kill(server.pid, signal.SIGCONT)
    assert state == "degraded"
    assert "does not answer (Timeout" in reason
    assert line.turn() == ("running", "")
    with client_of(server) as client:
        assert stored(client) == ["a"]


@pytest.mark.parametrize(
    ("options", "state", "sentence"),
    [
        (("--requirepass", "secret"), "wrong_password", "refused the password (Authentication required); correct the file"),
        (("--replicaof", "127.0.0.1", "1"), "read_only", "is a replica that takes no alerts"),
        (("--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "no"), "read_only", "point alerts.redis_url at the primary"),
        (("--maxmemory", "1"), "full", "has no memory left"),
        (("--min-replicas-to-write", "1"), "refused", "Not enough good replicas to write"),
    ],
)
def test_each_refusal_has_its_name_and_says_what_to_do(tmp_path: Path, options: tuple[str, ...], state: StoreState, sentence: str) -> None:
    with PrivateRedis(tmp_path, *options) as server:
        store = open_store(settings(server.url))
        with pytest.raises(StoreAway) as refused:
            store.put(verdict("a"), None)
        store.close()
    assert refused.value.state == state
    assert sentence in str(refused.value)


def test_a_corrected_password_file_helps_without_a_restart(tmp_path: Path) -> None:
    password = tmp_path / "password"
    with PrivateRedis(tmp_path / "redis", "--requirepass", RIGHT) as server:
        line = Line.of(settings(server.url, password_file=str(password)), tmp_path)
        line.judge(verdict("a"))
        assert "password cannot be read" in line.turn()[1]
        password.write_text("wrong\n")
        state, reason = line.turn()
        assert state == "degraded"
        assert "refused the password" in reason
        assert "wrong" not in reason
        password.write_text(f"{RIGHT}\n")
        assert line.turn() == ("running", "")
        line.close()
        with client_of(server, password=RIGHT) as client:
            assert stored(client) == ["a"]


def test_a_user_of_its_own_needs_only_the_rights_that_the_sentence_names(server: PrivateRedis, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pw")
    own = settings(server.url.replace("unix://", "unix://mdss@"), password_file=str(tmp_path / "password"))
    line = Line.of(own, tmp_path)
    line.judge(verdict("a"))
    with client_of(server) as client:
        client.execute_command("ACL", "SETUSER", "mdss", "on", ">pw", "~other:*", "+@connection")
        reason = line.turn()[1]
        assert "does not permit its user to do this" in reason
        rights = reason.partition("allow it ")[2].split()
        assert rights == ["~mdss:*", "+@read", "+@write", "+@scripting", "+@connection"]
        client.execute_command("ACL", "SETUSER", "mdss", *rights)
        assert line.turn() == ("running", "")
        assert stored(client) == ["a"]
    assert [alert.result_id for alert in line.store.newest(5)] == ["a"]
    line.close()


def test_a_redis_that_cannot_save_takes_nothing_and_says_so(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path / "redis", "--save", "3600", "1") as server, client_of(server) as client:
        (tmp_path / "gone").mkdir()
        client.config_set("dir", str(tmp_path / "gone"))
        (tmp_path / "gone").rmdir()
        client.bgsave()
        while client.info("persistence")["rdb_bgsave_in_progress"]:
            pass
        store = open_store(settings(server.url))
        with pytest.raises(StoreAway, match="cannot write its own disk") as refused:
            store.put(verdict("a"), None)
        store.close()
        client.config_set("save", "")  # else it would not end either
    assert refused.value.state == "disk"


def test_a_replica_that_becomes_the_primary_gets_what_waited(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path / "redis", "--replicaof", "127.0.0.1", "1") as server:
        line = Line.of(settings(server.url), tmp_path)
        line.judge(verdict("a"))
        assert line.turn()[0] == "degraded"
        with client_of(server) as client:
            client.replicaof("NO", "ONE")
            assert line.turn() == ("running", "")
            assert stored(client) == ["a"]
        line.close()


def test_full_memory_takes_no_half_alert_and_everything_once_there_is_room(server: PrivateRedis, line: Line, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(os.urandom(2_000_000))
    line.judge(*(verdict(f"r{number}", evidence=tmp_path / "a.png") for number in range(5)))
    with client_of(server) as client:
        used: Any = client.info("memory")
        client.config_set("maxmemory", used["used_memory"] + 5_000_000)
        state, reason = line.turn()
        assert (state, line.tally.counters[UP]) == ("degraded", 0)
        assert "has no memory left (command not allowed when used memory > 'maxmemory'); raise its maxmemory" in reason
        assert 0 < len(stored(client)) < 5
        assert len(client.keys(f"{ALERT}*")) == len(client.keys(f"{EVIDENCE}*")) == len(stored(client))
        client.config_set("maxmemory", 0)
        assert line.turn() == ("running", "")
        assert stored(client) == [f"r{number}" for number in range(5)]


def test_a_redis_that_reads_its_data_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    with PrivateRedis(folder) as server, client_of(server) as client:
        for number in range(15):
            client.set(f"large {number}", os.urandom(2_500_000))  # while it reads, Redis answers every two megabytes
        client.save()
    with PrivateRedis(folder, "--key-load-delay", "200000") as server, client_of(server) as client:
        line = Line.of(settings(server.url), tmp_path)
        line.judge(verdict("a"))
        assert line.turn() == ("degraded", f"Redis at {server.url} is still reading its data; nothing to do but wait")
        while line.turn()[0] == "degraded":
            pass
        assert stored(client) == ["a"]
        line.close()


def test_the_stream_keeps_about_as_many_as_asked_and_an_alert_goes_with_its_entry(server: PrivateRedis) -> None:
    store = open_store(settings(server.url, stream_max_length=20))
    for number in range(330):
        store.put(verdict(f"r{number}"), PNG)
    store.close()
    with client_of(server) as client:
        kept = stored(client)
        assert 20 <= len(kept) < 120
        assert kept == [f"r{number}" for number in range(330 - len(kept), 330)]
        assert len(client.keys(f"{ALERT}*")) == len(client.keys(f"{EVIDENCE}*")) == len(kept)


def test_two_stations_share_a_redis_and_not_a_stream(redis_server: PrivateRedis) -> None:
    left, right = (open_store(settings(redis_server.url, station=name)) for name in ("left", "right"))
    with closing(left), closing(right):
        left.put(verdict("of left"), None)
        right.put(verdict("of right"), None)
        assert [[alert.result_id for alert in store.newest(10)] for store in (left, right)] == [["of left"], ["of right"]]
