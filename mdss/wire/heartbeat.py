"""A process's heartbeat to the supervisor, its counters, and its flags for stop and reload signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mdss.wire.messages import Heartbeat, ProcessState
from mdss.wire.model_plan import ModelReport
from mdss.wire.sockets import Outlet

BEAT_EVERY_S = 1.0


@dataclass
class Tally:
    """A process's counters and timings, under Prometheus names with their labels."""

    counters: dict[str, float] = field(default_factory=dict)
    timings: dict[str, list[float]] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        """Create counters at 0; otherwise Prometheus would not see the first count of each as an increase."""
        self.counters.update(dict.fromkeys(names, 0.0))

    def count(self, name: str, amount: float = 1.0) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0.0) + amount

    def observe(self, name: str, value: float) -> None:
        """Record one observation for a histogram."""
        self.timings.setdefault(name, []).append(value)

    def take_timings(self) -> dict[str, list[float]]:
        """Return the observations since the last call."""
        taken, self.timings = self.timings, {}
        return taken


class HeartbeatSender:
    """Tells the supervisor once a second that this process is alive, and what it got done."""

    def __init__(self, process: str, outlet: Outlet, clock: Callable[[], float] = time.monotonic) -> None:
        self.process, self.tally, self.steps = process, Tally(), 0
        self._outlet, self._clock, self._due_s = outlet, clock, float("-inf")
        self._state: ProcessState = "starting"
        self._reason = ""
        self._models = ModelReport()

    def report_models(self, models: ModelReport) -> None:
        """Set the report on models; a change is sent at once, new counts of frames with the next heartbeat."""
        was, self._models = self._models, models
        if (models.revision, models.held, models.wanted) != (was.revision, was.held, was.wanted):
            self._due_s = float("-inf")

    def report_state(self, state: ProcessState, reason: str = "", waiting: int = 0) -> None:
        """Set the state; a change is sent at once, an unchanged state when a heartbeat is due."""
        if (state, reason) != (self._state, self._reason):
            self._state, self._reason, self._due_s = state, reason, float("-inf")
        self.send_if_due(waiting)

    def send_if_due(self, waiting: int) -> None:
        """Send a heartbeat if the last one is a second old."""
        now_s = self._clock()
        if now_s < self._due_s:
            return
        self._due_s = now_s + BEAT_EVERY_S
        self._outlet.send(
            Heartbeat(
                process=self.process,
                pid=os.getpid(),
                state=self._state,
                reason=self._reason,
                steps=self.steps,
                waiting=waiting,
                counters=dict(self.tally.counters),
                timings=self.tally.take_timings(),
                models=self._models,
            )
        )


class StopFlag:
    """Set by SIGTERM. SIGINT is ignored: the supervisor handles Ctrl-C, so that it drains the line as well."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> StopFlag:
        """Install the handlers for both signals."""
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return self

    def _ask(self, *_: object) -> None:
        self.asked = True


class ReloadFlag:
    """Set by SIGHUP when the settings have changed; read between two messages."""

    def __init__(self) -> None:
        self._is_set = False

    def listen(self) -> ReloadFlag:
        """Install the handler; before the settings are read, so that no change is missed."""
        signal.signal(signal.SIGHUP, self._set)
        return self

    def end(self) -> None:
        """Ignore SIGHUP from now on: Python restores its default, which would kill the process, while it shuts down."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def take(self) -> bool:
        """Return whether the signal came since the last call."""
        was_set, self._is_set = self._is_set, False
        return was_set

    def _set(self, *_: object) -> None:
        self._is_set = True
