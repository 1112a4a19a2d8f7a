"""A clock that only tests move, processes with named histories, links that are lists, and disks that refuse."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NoReturn

import pytest
import zmq

from daemon.clock_watch import Clocks, ClockWatch
from daemon.process_table import ProcessSpec
from mdss.wire.messages import Heartbeat, Message, ProcessState


class FakeClock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.set_s = 0.0  # by how much the wall clock was set
        self.boot_id, self.booted_s = "first boot", 0.0

    def __call__(self) -> float:
        return self.now_s

    def ns(self) -> int:
        """The same time in ns."""
        return int(self.now_s * 1e9)

    def utc_ns(self) -> int:
        """The time of a wall clock: what it shows says nothing of the other."""
        return 10**18 + self.ns()

    def watch(self, note: Path) -> ClockWatch:
        """Return a watch on this clock, which keeps its note in a file."""
        return ClockWatch(note, Clocks(lambda: int((self.now_s + self.set_s) * 1e9), self.since_boot_ns, lambda: self.boot_id))

    def since_boot_ns(self) -> int:
        """The time since the machine was started, in ns."""
        return int((self.now_s - self.booted_s) * 1e9)

    def boot(self, boot_id: str) -> None:
        """Start the machine anew."""
        self.boot_id, self.booted_s = boot_id, self.now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def clock_of_waits(patch: pytest.MonkeyPatch, module: ModuleType) -> FakeClock:
    """Return what a module has as its clock now: it moves by what this thread waits for in vain at sockets, however busy the cores are."""
    clock, original, waiting = FakeClock(), zmq.Socket.poll, threading.current_thread()

    def poll(socket: zmq.Socket[bytes], timeout_ms: int, flags: int = zmq.POLLIN) -> int:
        if threading.current_thread() is not waiting:
            return original(socket, timeout_ms, flags)
        found = original(socket, 0, flags)
        clock.advance(0 if found else timeout_ms / 1000)
        return found

    patch.setattr(zmq.Socket, "poll", poll)
    patch.setattr(module, "time", SimpleNamespace(monotonic=clock))
    return clock


class Nobody:
    """Looks at what fusion judged, and sees nothing in it."""

    def see(self, *_: object) -> None:
        """Look at one part."""

    def reconfigure(self, _: object) -> None:
        """Keep to other settings."""


NOBODY = Nobody()

History = Callable[["FakeProcess", float], None]


class FakeProcess:
    """A process that plays a history: a function of its age that may set `code` or `state`."""

    def __init__(self, name: str, pid: int, clock: FakeClock, history: History, asked: list[str] | None = None) -> None:
        self.name, self.pid, self.started_s = name, pid, clock()
        self.code: int | None = None
        self.state: ProcessState | None = "running"
        self.reason = ""
        self.steps, self.waiting = 0, 0
        self.terms, self.kills, self.heeds_term, self.heeds_kill = 0, 0, True, True
        self.signals: list[int] = []
        self._clock, self._history = clock, history
        self._asked = [] if asked is None else asked
        history(self, 0.0)

    def poll(self) -> int | None:
        """Let the history go on, then return the exit code."""
        if self.code is None:
            self._history(self, self._clock() - self.started_s)
        return self.code

    def terminate(self) -> None:
        """Take SIGTERM."""
        self.terms += 1
        self._asked.append(self.name)
        if self.heeds_term:
            self.code = 0

    def send_signal(self, sig: int) -> None:
        """Take any other signal."""
        self.signals.append(sig)

    def kill(self) -> None:
        """Take SIGKILL."""
        self.kills += 1
        if self.code is None and self.heeds_kill:
            self.code = -9

    def heartbeat(self) -> Heartbeat | None:
        """Return what it would say now."""
        if self.code is not None or self.state is None:
            return None
        return Heartbeat(
            process=self.name,
            pid=self.pid,
            state=self.state,
            reason=self.reason,
            steps=self.steps,
            waiting=self.waiting,
            counters={"mdss_things_total": float(self.steps), "mdss_lives": 1.0},
            timings={},
        )


def lives(process: FakeProcess, age_s: float) -> None:
    """Work without end."""
    process.steps = int(age_s)


def dies_often(process: FakeProcess, age_s: float) -> None:
    """Be ready, then end after two seconds, every time."""
    lives(process, age_s)
    if age_s > 2:
        process.code = 1


def dies_once() -> History:
    """Return a history that ends its first process after two seconds and no other."""
    victims: list[int] = []

    def history(process: FakeProcess, age_s: float) -> None:
        victims.append(process.pid)
        if process.pid == victims[0]:
            dies_often(process, age_s)

    return history


def falls_silent(process: FakeProcess, age_s: float) -> None:
    """Stop saying anything after two seconds."""
    if age_s > 2:
        process.state = None


def hangs(process: FakeProcess, age_s: float) -> None:
    """Go on saying that it lives, while parts wait and nothing gets done."""
    process.steps, process.waiting = 7, 1


def outlives_sigkill(seconds: float) -> History:
    """Return a history that hangs in the kernel after two seconds, and ends only so many after SIGKILL."""
    killed: list[float] = []

    def history(process: FakeProcess, age_s: float) -> None:
        process.heeds_kill = bool(killed) and age_s - killed[0] >= seconds
        falls_silent(process, age_s)
        if process.kills:
            killed.append(age_s)
            if process.heeds_kill:
                process.code = -9

    return history


def never_ready(process: FakeProcess, age_s: float) -> None:
    """Start for ever."""
    process.state = None


def refuses(process: FakeProcess, age_s: float) -> None:
    """End at once, because the configuration is wrong."""
    process.code = 2


def ignores_term(process: FakeProcess, age_s: float) -> None:
    """Work without end and without an ear for SIGTERM."""
    process.heeds_term = False
    lives(process, age_s)


class FakeWorld:
    """Starts fake processes and carries their heartbeats; every receive that finds none lets its timeout pass."""

    def __init__(self, histories: dict[str, History]) -> None:
        self.clock, self.histories = FakeClock(), histories
        self.started: list[FakeProcess] = []
        self.asked_to_stop: list[str] = []
        self._said_s: dict[int, float] = {}

    def start(self, spec: ProcessSpec) -> FakeProcess:
        """Start a process that plays its name's history."""
        process = FakeProcess(spec.name, 100 + len(self.started), self.clock, self.histories.get(spec.name, lives), self.asked_to_stop)
        self.started.append(process)
        return process

    def receive(self, timeout_ms: int) -> Message | None:
        """Return the next heartbeat that is due, one second after the last of its process."""
        for process in self.started:
            beat = process.heartbeat()
            if beat is not None and self.clock() - self._said_s.get(process.pid, 0.0) >= 1.0:
                self._said_s[process.pid] = self.clock()
                return beat
        self.clock.advance(timeout_ms / 1000)
        return None

    def of(self, name: str) -> list[FakeProcess]:
        """Return all lives of one name."""
        return [process for process in self.started if process.name == name]


class FakeLink:
    """Both ends of a link: messages that were sent lie in a list, messages to receive come from one."""

    def __init__(self, messages: Iterable[Message] = (), room: bool = True) -> None:
        self.to_come, self.sent = list(messages), list[Message]()
        self.room = room
        self.socket = self
        self.on_empty: Callable[[], None] = lambda: None

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self.to_come)

    def receive(self, timeout_ms: int) -> Message | None:
        """Return the next message."""
        if self.to_come:
            return self.to_come.pop(0)
        self.on_empty()
        return None

    def poll(self, timeout_ms: int, flags: int) -> int:
        """Say whether a message would be taken."""
        if not self.room and timeout_ms:
            self.on_empty()
        return flags if self.room else 0

    def send(self, message: Message) -> bool:
        """Keep a message, if there is room."""
        if self.room:
            self.sent.append(message)
        return self.room


class FakeRecord:
    """Counts how often it was pruned, and has `parts` to forget each time until there are none."""

    def __init__(self, *parts: int) -> None:
        self.parts, self.limits_ns = list(parts), list[int]()

    def prune(self, older_than_ns: int) -> int:
        self.limits_ns.append(older_than_ns)
        return self.parts.pop(0) if self.parts else 0

    def redate(self, first_ns: int, last_ns: int, by_ns: int) -> int:
        """Have nothing to date anew."""
        return 0


def refuses_with(code: int) -> Callable[..., NoReturn]:
    """Return a system call of a disk that answers everything with one error."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return refuse
