"""What systemd hears, and how often."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.notify import Notifier
from tests.fakes import FakeClock


def test_the_datagram_arrives_at_the_named_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify")}, FakeClock())
        notifier.say("READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_as_systemd_says_it_in_the_environment_the_watchdog_is_fed_at_an_abstract_address_three_times_per_limit() -> None:
    name, clock = f"mdss-{uuid.uuid4().hex}", FakeClock()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        systemd.setblocking(False)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "30000000"}, clock)
        for second in range(30):
            notifier.ping()
            if second % 10 == 0:
                assert systemd.recv(100) == b"WATCHDOG=1"
            clock.advance(1)
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


@pytest.mark.timeout(20)
def test_a_systemd_that_reads_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify")}, FakeClock())
        with capture_logs() as logs:
            while not logs:
                notifier.say("WATCHDOG=1")
    assert logs[0]["event"] == "systemd does not listen"


def test_the_watchdog_is_pinged_three_times_per_limit() -> None:
    said: list[str] = []
    clock = FakeClock()
    notifier = Notifier(said.append, watchdog_s=30, clock=clock)
    for _ in range(60):
        notifier.ping()
        clock.advance(1)
    assert said == ["WATCHDOG=1"] * 6


def test_a_state_is_told_once() -> None:
    said: list[str] = []
    notifier = Notifier(said.append, None, FakeClock())
    for text in ("running", "running", "degraded: rgb-0: ended"):
        notifier.status(text)
    assert said == ["STATUS=running", "STATUS=degraded: rgb-0: ended"]


def test_without_systemd_nothing_is_sent() -> None:
    notifier = Notifier.from_environment({}, FakeClock())
    notifier.say("READY=1")
    notifier.ping()
