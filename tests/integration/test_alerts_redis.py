"""Alerts from a real journal into a real Redis, through everything that happens to a Redis in a factory."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.alert_store import ALERT, EVIDENCE, STREAM, open_store
from daemon.alerts import BACKLOG, DELIVERED, UP
from daemon.private_redis import PrivateRedis
from mdss.wire.verdict import Region, Verdict
from tests.alert_line import Line, client_of, stored
from tests.alerts import PNG, settings, undefined, verdict

pytestmark = pytest.mark.timeout(120)


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
        assert 600_000 < client.ttl(f"{EVIDENCE}a") <= 604_800
        assert client.ttl(f"{ALERT}a") == -1


def test_each_field_in_redis_says_what_the_verdict_says(server: PrivateRedis, line: Line, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    line.judge(verdict("a", evidence=tmp_path / "a.png"))
    before_ns = time.time_ns()
    line.turn()
    entry = {
        "result_id": "a", "part_id": "part of a", "source_id": "camera-1", "recipe_id": "cap", "evaluation": "NotOK", "code": "",
        "score": "7.5", "threshold": "3.0", "published_ns": "6",
    }  # fmt: skip
    more = {
        "state": "new", "station": "line-1", "sequence": "1", "frame_id": "frame of a", "job_id": "none", "captured_ns": "1",
        "received_ns": "2", "reasons": '["score 7.5 is above the threshold 3"]', "evidence_sha256": hashlib.sha256(PNG).hexdigest(),
    }  # fmt: skip
    with client_of(server, decode_responses=True) as client:
        ((name, fields),) = client.xrange(f"{STREAM}line-1")
        found: Any = client.hgetall(f"{ALERT}a")
    assert (fields, found.pop("entry")) == (entry, name)
    assert before_ns <= int(found.pop("stored_ns")) <= time.time_ns()
    judged = line.journal.since(0, 1)[0]
    assert msgspec.json.decode(found.pop("verdict"), type=Verdict) == judged
    assert msgspec.json.decode(found.pop("regions"), type=tuple[Region, ...]) == judged.regions
    assert found == entry | more


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


def test_a_redis_that_hangs_is_given_up_after_the_timeout_and_nothing_doubles(server: PrivateRedis, tmp_path: Path) -> None:
    line = Line.of(settings(server.url, timeout_s=1), tmp_path)
    line.judge(verdict("a"))
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    state, reason = line.turn()
    os.kill(server.pid, signal.SIGCONT)
    assert state == "degraded"
    assert "does not answer (Timeout" in reason
    assert "look at what keeps it busy" in reason and "raise alerts.timeout_s" in reason  # for it may as well be slow
    while line.turn() != ("running", ""):  # a Redis on busy cores may need more than that second even now
        pass
    line.close()
    with client_of(server) as client:
        assert stored(client) == ["a"]


def test_the_stream_keeps_about_as_many_as_asked_and_an_alert_goes_with_its_entry(server: PrivateRedis) -> None:
    store, lengths = open_store(settings(server.url, stream_max_length=20)), []
    with client_of(server) as client:
        for number in range(330):
            store.put(verdict(f"r{number}"), PNG)
            lengths.append(client.xlen(f"{STREAM}line-1"))
        store.close()
        assert (min(lengths[20:]), max(lengths)) == (20, 119)  # a hundred more, and it is as short as was asked
        kept = stored(client)
        assert 20 <= len(kept) < 120
        assert kept == [f"r{number}" for number in range(330 - len(kept), 330)]
        assert len(client.keys(f"{ALERT}*")) == len(client.keys(f"{EVIDENCE}*")) == len(kept)


def test_an_entry_of_somebody_else_in_the_stream_hides_no_alert(server: PrivateRedis, line: Line) -> None:
    line.judge(verdict("a"))
    line.turn()
    with client_of(server) as client:
        client.xadd(f"{STREAM}line-1", {"note": "of another console"})
        client.xadd(f"{STREAM}line-1", {"result_id": b"\xff"})
    with closing(open_store(settings(server.url))) as store:
        assert [alert.result_id for alert in store.newest(10)] == ["a"]


def test_with_an_entry_of_somebody_else_no_alert_goes_that_it_names(server: PrivateRedis) -> None:
    with client_of(server) as client, closing(open_store(settings(server.url, stream_max_length=20))) as store:
        client.set(f"{ALERT}spoiled", "no hash")
        for name in ("r116", "spoiled", "of another station"):
            client.xadd(f"{STREAM}line-1", {"looked_at": name})
        client.hset(f"{ALERT}of another station", "entry", "1-0")
        for number in range(117):
            store.put(verdict(f"r{number}"), PNG)
        kept = [f"r{number}" for number in range(97, 117)]
        assert stored(client) == kept
        names = [*kept, "spoiled", "of another station"]
        assert sorted(client.keys(f"{ALERT}*")) == sorted(f"{ALERT}{name}".encode() for name in names)
        assert len(client.keys(f"{EVIDENCE}*")) == len(kept)


def test_what_another_console_said_before_the_alert_came_costs_no_alert_and_stays(server: PrivateRedis, line: Line) -> None:
    with client_of(server) as client, closing(open_store(settings(server.url))) as store:
        client.hset(f"{ALERT}a", mapping={"state": "confirmed", "by": "mes", "at_ns": "7"})
        client.set(f"{ALERT}spoiled", "no hash")
        line.judge(verdict("a"), verdict("spoiled"), verdict("b"))
        assert line.turn() == ("running", "") and not line.waiting()
        assert store.put(verdict("a"), None) is False
        assert [(alert.result_id, alert.state, alert.by) for alert in store.newest(10)] == [("b", "new", ""), ("a", "confirmed", "mes")]


def test_two_stations_share_a_redis_and_not_a_stream(redis_server: PrivateRedis) -> None:
    left, right = (open_store(settings(redis_server.url, station=name)) for name in ("left", "right"))
    with closing(left), closing(right):
        left.put(verdict("of left"), None)
        right.put(verdict("of right"), None)
        assert [[alert.result_id for alert in store.newest(10)] for store in (left, right)] == [["of left"], ["of right"]]
