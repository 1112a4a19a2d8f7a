"""The process `alerts` as the supervisor starts it: heard whatever Redis does, and finished before it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
import zmq

from daemon.alert_store import open_store
from daemon.private_redis import PrivateRedis
from daemon.process_table import process_table, processes
from daemon.retention import DAY_NS
from daemon.spawn import start_process
from mdss.journal import Journal
from mdss.settings import load_settings
from mdss.wire.messages import Heartbeat
from mdss.wire.process import HINDERED
from mdss.wire.sockets import Receiver
from mdss.wire.verdict import Times
from tests.alerts import PATIENCE_S, verdict

pytestmark = pytest.mark.timeout(120)
AS_IT_IS = ("-m", "daemon.alerts")
IMPATIENT = ("-c", "import daemon.alerts as alerts; alerts.SLOW_S = 0.2; alerts.main(alerts.command)")


class Running:
    """The process with its configuration, its journal, and the supervisor's ear."""

    def __init__(self, folder: Path, url: str, timeout_s: float, program: tuple[str, str] = AS_IT_IS) -> None:
        self.config = folder / "station.yaml"
        self.write(url, timeout_s)
        self.settings = load_settings(self.config)
        self.journal = Journal(Path(self.settings.station.state_directory) / "journal.sqlite")
        self.context: zmq.Context[Any] = zmq.Context()
        self.health = Receiver(self.context, "health", self.settings)
        spec = processes(process_table(self.settings), self.config)[0]
        assert spec.arguments[:2] == AS_IT_IS
        process = start_process(replace(spec, arguments=(*program, *spec.arguments[2:])))
        assert isinstance(process, subprocess.Popen)
        self.process = process

    def write(self, url: str, timeout_s: float, **sections: object) -> None:
        """Write the settings."""
        tree = {"station": {"name": "line-1"}, "alerts": {"redis_url": url, "timeout_s": timeout_s}} | sections
        self.config.write_text(yaml.safe_dump(tree))

    def hear(self, condition: Callable[[Heartbeat], bool]) -> Heartbeat:
        """Return the first heartbeat that fulfils a condition; the test's own time-out ends what never comes."""
        while True:
            heartbeat = self.health.receive(1000)
            if isinstance(heartbeat, Heartbeat) and condition(heartbeat):
                return heartbeat
            assert self.process.poll() is None, "the process has ended"

    def end(self) -> int:
        """Ask it to stop and return its exit code."""
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        """End everything."""
        self.process.kill()
        self.process.wait()
        self.health.close()
        self.context.term()
        self.journal.close()


@pytest.fixture
def alerts(tmp_path: Path, server: PrivateRedis) -> Iterator[Running]:
    running = Running(tmp_path, server.url, PATIENCE_S)
    yield running
    running.close()


def test_alerts_arrive_and_the_heartbeat_counts_them(alerts: Running) -> None:
    alerts.journal.judge(verdict("a"))
    heartbeat = alerts.hear(lambda heard: heard.state == "running" and heard.counters["mdss_alerts_delivered_total"] == 1)
    assert (heartbeat.process, heartbeat.counters["mdss_store_up"]) == ("alerts", 1)
    store = open_store(alerts.settings)
    assert [alert.result_id for alert in store.newest(10)] == ["a"]
    store.close()


def test_a_redis_that_is_away_and_back_is_seen_in_the_heartbeat(alerts: Running, server: PrivateRedis) -> None:
    alerts.hear(lambda heard: heard.state == "running")
    server.stop()
    alerts.journal.judge(verdict("a"))
    assert alerts.hear(lambda heard: "does not answer" in heard.reason).state == "degraded"
    server.start()
    alerts.hear(lambda heard: heard.state == "running" and heard.counters["mdss_alert_backlog"] == 0)


def test_a_reload_takes_alerts_and_reviews_to_another_redis_and_forgets_sooner(alerts: Running, tmp_path: Path) -> None:
    alerts.hear(lambda heard: heard.state == "running")
    two_days_ago = Times(captured=1, received=2, rgb=3, sdf=4, fusion=5, published=time.time_ns() - 2 * DAY_NS)
    alerts.journal.judge(verdict("old", evaluation="OK", times=two_days_ago))
    with PrivateRedis(tmp_path / "other") as other, redis.Redis.from_url(other.url) as client:
        client.xadd("mdss:reviews:line-1", {"state": "of no use", "result_id": "a"})
        alerts.write(other.url, PATIENCE_S, journal={"keep_days": 1})
        alerts.process.send_signal(signal.SIGHUP)
        alerts.hear(lambda heard: heard.counters['mdss_reviews_total{result="unusable"}'] == 1)
        while alerts.journal.since(0, 10):
            alerts.hear(lambda _: True)
        alerts.journal.judge(verdict("new"))
        alerts.hear(lambda heard: heard.counters["mdss_alerts_delivered_total"] == 1)
        assert client.xlen("mdss:alerts:line-1") == 1
        assert alerts.end() == 0


def test_heartbeats_go_on_while_redis_keeps_an_answer_back(tmp_path: Path, server: PrivateRedis) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    alerts = Running(tmp_path, server.url, timeout_s=60, program=IMPATIENT)
    try:
        assert "kept its answer back" in alerts.hear(lambda heard: heard.state == "degraded").reason
        assert [alerts.hear(lambda heard: True).state for _ in range(3)] == ["degraded"] * 3
        os.kill(server.pid, signal.SIGCONT)
        alerts.hear(lambda heard: heard.state == "running")
    finally:
        os.kill(server.pid, signal.SIGCONT)
        alerts.close()


def test_an_alert_of_a_later_release_is_counted_and_keeps_back_none(alerts: Running, server: PrivateRedis) -> None:
    assert alerts.hear(lambda heard: heard.state == "running").counters["mdss_unreadable_alerts_total"] == 0
    server.stop()
    alerts.journal.judge(verdict("later", attempt="A_WORD_OF_LATER"))  # at once as it is: the process may read it in the same moment
    alerts.journal.judge(verdict("next"))
    server.start()
    alerts.hear(lambda heard: heard.counters["mdss_unreadable_alerts_total"] == heard.counters["mdss_alerts_delivered_total"] == 1)


def test_reviews_that_cannot_be_read_are_said_while_alerts_arrive(alerts: Running, server: PrivateRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("mdss:reviews:line-1", "of another program")
        heartbeat = alerts.hear(lambda heard: heard.reason.startswith("reviews cannot be carried to the scans: "))
        assert heartbeat.state == "degraded"
        alerts.journal.judge(verdict("a"))
        alerts.hear(lambda heard: heard.state == "degraded" and heard.counters["mdss_alerts_delivered_total"] == 1)


def test_when_asked_to_stop_it_delivers_what_is_judged_and_ends(alerts: Running, server: PrivateRedis) -> None:
    alerts.hear(lambda heard: heard.state == "running")
    alerts.journal.judge(verdict("last"))
    assert alerts.end() == 0
    with redis.Redis.from_url(server.url) as client:
        assert client.xlen("mdss:alerts:line-1") == 1
    assert alerts.journal.undelivered(10) == []


def test_wrong_settings_end_it_for_good(tmp_path: Path) -> None:
    (tmp_path / "station.yaml").write_text("alerts: {timeout_s: -1}\n")
    done = subprocess.run(
        [sys.executable, "-m", "daemon.alerts", "--config", str(tmp_path / "station.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("alerts: ") and "alerts.timeout_s: found -1" in done.stderr


def test_a_journal_that_cannot_be_opened_may_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "station.yaml").write_text("station: {name: line-1}\n")
    (tmp_path / "station" / "state" / "journal.sqlite").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "daemon.alerts", "--config", str(tmp_path / "station.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == HINDERED
    assert done.stderr.startswith("alerts: journal ")
