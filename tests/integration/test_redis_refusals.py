"""Each way in which a real Redis refuses alerts: named, told what to do, and everything delivered once it is over."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from daemon.alert_store import ALERT, EVIDENCE, open_store
from daemon.alerts import UP
from daemon.private_redis import PrivateRedis
from daemon.redis_link import StoreAway, StoreState
from mdss.settings import AlertSettings, Settings
from tests.alert_line import Line, client_of, stored
from tests.alerts import settings, verdict

pytestmark = pytest.mark.timeout(120)
RIGHT = "right"


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


def test_a_database_that_there_is_not_is_a_matter_of_the_address(server: PrivateRedis) -> None:
    sentence = r"refused \(DB index is out of range\); correct alerts\.redis_url, or see the log of Redis"
    with pytest.raises(StoreAway, match=sentence) as refused:
        open_store(settings(f"{server.url}?db=99")).ping()
    assert refused.value.state == "refused"


def test_a_host_that_can_be_none_is_a_redis_that_does_not_answer() -> None:
    with pytest.raises(
        StoreAway, match=r"Redis at redis://10\.0\.0\.\.5:6379/0 does not answer .*; start it, or correct alerts\.redis_url"
    ):
        open_store(Settings(alerts=AlertSettings(redis_url="redis://10.0.0..5:6379/0"))).ping()


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


@pytest.mark.parametrize(("content", "why"), [(None, "No such file or directory"), (b"\xff", "it holds bytes that are no text")])
def test_a_password_file_that_cannot_be_read_is_named_and_redis_not_blamed(tmp_path: Path, content: bytes | None, why: str) -> None:
    password = tmp_path / "password"
    if content is not None:
        password.write_bytes(content)
    with PrivateRedis(tmp_path / "redis", "--requirepass", RIGHT) as server:
        line = Line.of(settings(server.url, password_file=str(password)), tmp_path)
        line.judge(verdict("a"))
        state, reason = line.turn()
        advice = "write the password, alone, into that file, for the station's user to read"
        assert reason == f"Redis at {server.url} was not asked: alerts.password_file {password} cannot be read ({why}); {advice}"
        assert state == "degraded"
        line.close()


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


def test_alerts_that_a_user_may_not_read_are_refused_and_not_left_out(server: PrivateRedis, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pw")
    own = settings(server.url.replace("unix://", "unix://mdss@"), password_file=str(tmp_path / "password"))
    with client_of(server) as client, closing(open_store(settings(server.url))) as writing, closing(open_store(own)) as store:
        writing.put(verdict("a"), None)
        client.execute_command("ACL", "SETUSER", "mdss", "on", ">pw", "~mdss:alerts:*", "+@read", "+@connection")
        with pytest.raises(StoreAway) as refused:
            store.newest(5)
    assert refused.value.state == "not_permitted"


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
    server = PrivateRedis(folder, "--key-load-delay", "200000")
    line = Line.of(settings(server.url), tmp_path)
    line.judge(verdict("a"))  # before the three seconds in which it reads: a journal on a busy disk may take as long
    with server, client_of(server) as client:
        assert line.turn() == ("degraded", f"Redis at {server.url} is still reading its data; nothing to do but wait")
        while line.turn()[0] == "degraded":
            pass
        assert stored(client) == ["a"]
        line.close()
