"""How a process hears of signals, and when its supervisor hears of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from mdss.wire.heartbeat import BEAT_EVERY_S, HeartbeatSender, ReloadFlag, StopFlag
from mdss.wire.messages import Heartbeat, Message, ProcessState
from tests.fakes import FakeClock


@pytest.fixture
def flag() -> Iterator[ReloadFlag]:
    before = signal.getsignal(signal.SIGHUP)
    yield ReloadFlag().listen()
    signal.signal(signal.SIGHUP, before)


def test_a_hang_up_is_taken_once_however_often_it_came(flag: ReloadFlag) -> None:
    assert not flag.take()
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGHUP)
    assert (flag.take(), flag.take()) == (True, False)


def test_a_process_that_ends_hears_no_hang_up_any_more(flag: ReloadFlag) -> None:
    flag.end()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not flag.take()


def test_a_process_stops_when_its_supervisor_asks_and_not_at_the_ctrl_c_that_the_supervisor_hears_too() -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    heard = list[int]()
    signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        flag = StopFlag().listen()
        os.kill(os.getpid(), signal.SIGINT)
        assert (heard, flag.asked) == ([], False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert flag.asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Outlet:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []

    def send(self, message: Message) -> bool:
        assert isinstance(message, Heartbeat)
        self.states.append((message.state, message.reason))
        return True


def test_a_state_or_a_reason_that_changes_is_told_at_once_and_the_same_ones_once_a_second() -> None:
    clock, outlet = FakeClock(), Outlet()
    heartbeats = HeartbeatSender("rgb-0", outlet, clock)
    told: list[tuple[ProcessState, str]] = [("running", ""), ("degraded", "no model"), ("degraded", "no memory")]
    for state, reason in told:
        for _ in range(2):
            heartbeats.report_state(state, reason)
    assert outlet.states == told
    clock.advance(BEAT_EVERY_S)
    heartbeats.send_if_due(0)
    assert outlet.states == [*told, told[-1]]
