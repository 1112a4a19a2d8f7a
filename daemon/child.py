"""One supervised process through all its restarts: start, heartbeats, stall detection, growing pauses, giving up, stop."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from daemon.process_table import ProcessSpec
from mdss.settings import SupervisorSettings
from mdss.wire.messages import Heartbeat, ProcessState
from mdss.wire.process import FAILED, HINDERED, REFUSED

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
ENDS_WITHIN_S = 10.0  # after SIGKILL; a process that is still there then hangs in the kernel, for example on a dying disk
log = structlog.get_logger()


class Process(Protocol):
    """What the supervisor needs of a running process; subprocess.Popen has it."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def terminate(self) -> None:
        """Ask it to stop."""

    def send_signal(self, sig: int) -> None:
        """Send it any signal."""

    def kill(self) -> None:
        """End it at once."""


Start = Callable[[ProcessSpec], Process]


class StartHindered(OSError):
    """A process was not started because of something outside of it that may pass: however often, it is tried again."""


@dataclass(frozen=True)
class Ending:
    """The end of a process, or a start of it that failed."""

    pid: int | None  # None if it could not even be started
    reason: str  # empty if it was asked to end


class Child:
    """Keeps one process running: `hear` takes its heartbeats, `tick` checks on it and restarts it."""

    def __init__(self, spec: ProcessSpec, start: Start, limits: SupervisorSettings, clock: Callable[[], float]) -> None:
        self.spec, self.reason, self.restarts = spec, "not started yet", 0
        self.state: ProcessState = "stopped"
        self.last: Heartbeat | None = None
        self._start, self._limits, self._clock = start, limits, clock
        self._process: Process | None = None
        self._ends = deque[tuple[float, bool]]()  # when it ended, and whether that counts towards the limit
        self._late_starts = 0  # starts that were too slow, since it was last ready
        self._was_ready = False  # in this life or an earlier one
        self._restart_at_s: float | None = None
        self._is_stopping, self._killed_because, self._has_said_last = False, "", False
        self._starts_because = ""  # why it was restarted; empty in its first life
        self._heard_s = self._progress_s = self._started_s = self._killed_s = 0.0

    @property
    def pid(self) -> int | None:
        """The process id, None while it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it runs, has reported that it can work, and was not killed since."""
        return self._process is not None and not self._killed_because and self.state in ("running", "degraded")

    @property
    def is_awaited(self) -> bool:
        """Whether the station has to wait for it: a vital process until it is ready, any other only while it starts."""
        return not self.is_ready and (self.spec.is_vital or self.state == "starting")

    @property
    def is_given_up(self) -> bool:
        """Whether it has ended and will not be started again."""
        return self.state == "error" and self._process is None

    @property
    def has_failed(self) -> bool:
        """Whether parts cannot be judged because this process was given up or hangs even after SIGKILL."""
        return self.state == "error" and self.spec.is_vital

    @property
    def silence_s(self) -> float:
        """Seconds since the last heartbeat."""
        return self._clock() - self._heard_s

    def start(self) -> None:
        """Start the process."""
        self.last, self._restart_at_s = None, None
        self._killed_because, self._has_said_last = "", False
        self.restart_time_limits()
        try:
            self._process = self._start(self.spec)
        except OSError as error:  # the machine has no memory or no process slot left: this may pass
            self._plan_restart(f"could not be started ({error})", counts=not isinstance(error, StartHindered))
        else:
            self._set_state("starting", self._starts_because)

    def restart_time_limits(self) -> None:
        """Restart all time limits from now."""
        self._heard_s = self._progress_s = self._started_s = self._killed_s = self._clock()

    def hear(self, heartbeat: Heartbeat) -> None:
        """Take a heartbeat of this process."""
        self._heard_s = self._clock()
        if self.last is None or heartbeat.steps != self.last.steps or not heartbeat.waiting or heartbeat.state != "running":
            self._progress_s = self._heard_s
        self.last = heartbeat
        if not self._killed_because:  # a heartbeat sent before the kill says nothing any more
            self._set_state(heartbeat.state, heartbeat.reason or (self._starts_because if heartbeat.state == "starting" else ""))
        if self.is_ready:
            self._late_starts, self._was_ready = 0, True

    def tick(self, heard_until_s: float) -> Ending | None:
        """Notice an end or a stall, and restart the process when its pause is over; return its end, None if it did not end.

        Time limits count up to `heard_until_s`: later heartbeats may be waiting unread, for instance while another process was being
        started.
        """
        if self._process is None:
            if self._restart_at_s is not None and self._clock() >= self._restart_at_s:
                self.restarts += 1
                self.start()
                return Ending(None, self.reason) if self._process is None else None
            return None
        code = self._process.poll()
        if code in (FAILED, REFUSED, HINDERED) and not self._has_said_last:
            self._has_said_last = True  # its last message may still be on its way; it is read before the next tick
        elif code is not None:
            pid, self._process = self._process.pid, None
            return Ending(pid, self._note_end(code))
        elif self._killed_because:
            self._check_killed(heard_until_s)
        elif not self._is_stopping:
            self._killed_because = self._stall(heard_until_s)
            if self._killed_because:
                self._late_starts += self.state == "starting"
                self._process.kill()
                self._killed_s = self._clock()
                self._set_state("degraded", f"{self._killed_because}; killed")
        return None

    def apply_limits(self, limits: SupervisorSettings) -> None:
        """Apply changed limits from now on and tell the process to read its settings again."""
        self._limits = limits
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def ask_to_stop(self) -> None:
        """Send SIGTERM; from now on an end of the process is expected."""
        self._is_stopping, self._restart_at_s = True, None
        if self._process is None:
            self._set_state("stopped", "")
        else:
            self._process.terminate()

    def stop_now(self) -> None:
        """Send SIGKILL."""
        self._is_stopping, self._restart_at_s = True, None
        if self._process is not None:
            self._process.kill()

    def _check_killed(self, now_s: float) -> None:
        """Report an error if the process survives even SIGKILL: no other can take its place."""
        if now_s - self._killed_s > ENDS_WITHIN_S:
            self._set_state("error", f"{self._killed_because}; killed {ENDS_WITHIN_S:g} s ago and not ended: it hangs in the kernel")

    def _stall(self, now_s: float) -> str:
        limits = self._limits
        if self.state == "starting":
            is_over = now_s - self._started_s > limits.ready_timeout_s
            return f"not ready after {limits.ready_timeout_s:g} s" if is_over else ""
        if now_s - self._heard_s > limits.stall_timeout_s:
            return f"silent for {limits.stall_timeout_s:g} s"
        if now_s - self._progress_s > limits.stall_timeout_s:
            return f"no progress for {limits.stall_timeout_s:g} s while parts wait"
        return ""

    def _note_end(self, code: int) -> str:
        """Take note of an end and return why it ended; empty if it was asked to."""
        if self._is_stopping:
            self._set_state("stopped", "" if code == 0 else f"ended with code {code}")
            return ""
        last_state = self.last.state if self.last else "starting"
        last_words = self.last.reason if self.last and last_state in ("error", "stopped") else ""
        why = self._killed_because or f"ended with code {code}{': ' if last_words else ''}{last_words}"
        may_pass = self._was_ready and last_state == "stopped"  # such as an address that somebody took since its last life
        if code == REFUSED and not self._killed_because and not may_pass:
            self._set_state("error", last_words or f"refused to start, see its message above (code {code})")
        else:
            self._plan_restart(why, counts=code != HINDERED or not self._was_ready)
        return why

    def _plan_restart(self, why: str, *, counts: bool = True) -> None:
        """Plan the next start after a pause, or give up if too many ends count towards the limit."""
        self._starts_because = f"starting again: {why}"
        self._ends.append((self._clock(), counts))
        while self._ends[0][0] < self._clock() - self._limits.restart_window_s:
            self._ends.popleft()
        # starts that each take longer than the window would never add up within it
        ends = max(sum(each for _, each in self._ends), self._late_starts)
        if counts and ends >= self._limits.restart_limit:
            how = "without being ready in time" if self._late_starts == ends else f"in {self._limits.restart_window_s:g} s"
            self._set_state("error", f"{why}; ended {ends} times {how}, not started again")
            return
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (max(len(self._ends), self._late_starts) - 1))
        self._restart_at_s = self._clock() + pause_s
        self._set_state("degraded", f"{why}; starts again in {pause_s:g} s")

    def _set_state(self, state: ProcessState, reason: str) -> None:
        if (state, reason) != (self.state, self.reason):
            is_said_with_its_end = state == "stopped" and bool(reason) and not self._is_stopping
            if not is_said_with_its_end:
                tell = {"error": log.error, "degraded": log.warning}.get(state, log.info)
                tell("process", name=self.spec.name, state=state, reason=reason)
        self.state, self.reason = state, reason
