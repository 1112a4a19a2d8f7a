"""Starts the processes of the table, watches them, replaces what dies or stalls, and stops them in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from daemon.child import Child
from daemon.endings import Endings
from daemon.model_swaps import ModelSwaps, Words
from daemon.notify import Notifier
from daemon.outbox import Outlet
from daemon.status import Board, ProcessReport, StationReport
from mdss.errors import MdssError
from mdss.settings import SupervisorSettings
from mdss.wire.messages import Heartbeat, Message, ProcessState, stage_of

TURN_MS = 100
STANDSTILL = 0.5  # of supervisor.stall_timeout_s, between two turns: a shorter one makes nobody who is well too late
STOP_GRACE_S = 5.0
HOLDERS = ("prepare", "rgb", "sdf", "fusion")  # stages that need a part's model
LINE = ("ingest", *HOLDERS)  # without which no part is judged
MODELS = (2, 1)  # how bad it is, beside `badness`, that a recipe is not judged by its champion
log = structlog.get_logger()


class Health(Protocol):
    """Where heartbeats arrive."""

    def receive(self, timeout_ms: int) -> Message | None:
        """Return the next heartbeat, or None when none came in time."""


@dataclass(frozen=True)
class Surroundings:
    """Whom the supervisor hears and whom it tells."""

    health: Health
    board: Board
    notifier: Notifier
    fusion: Outlet
    in_hand: Callable[[str], str]  # process -> the part that it had in hand when it ended
    models: ModelSwaps
    clock: Callable[[], float] = time.monotonic


class Supervisor:
    """Brings the children up in order, keeps them up, and takes them down in order."""

    def __init__(self, children: Sequence[Child], limits: SupervisorSettings, around: Surroundings) -> None:
        self._children, self._limits, self._clock = tuple(children), limits, around.clock
        self._health, self._board, self._notifier = around.health, around.board, around.notifier
        self._endings, self._models = Endings(around.fusion, around.in_hand), around.models
        self._signals = 0
        self._began_s = self._turned_s = self._clock()
        self._phase: ProcessState = "starting"

    def ask_to_stop(self, *_: object) -> None:
        """Note a signal: the first drains, the second stops at once."""
        self._signals += 1

    def run(self, between: Callable[[], None] = lambda: None) -> None:
        """Run the station until a signal, calling `between` after every turn; raise MdssError when it cannot be brought up."""
        try:
            self._check_models()
            for child in self._children:
                self._endings.forget(child.spec.name)
            is_up = self._bring_up(self._children[:-1])
            if is_up:
                self._check_models()
                is_up = self._bring_up(self._children[-1:])
            if is_up:
                self._phase = "running"
                self._notifier.say("READY=1")
                log.info("the station is ready", processes=len(self._children))
            while is_up and not self._signals:
                self.turn()
                between()
        finally:
            self._stop()

    def take_over(self, limits: SupervisorSettings) -> None:
        """Keep to other limits from now on, and let every process read its settings again."""
        self._limits = limits
        for child in self._children:
            child.take_over(limits)

    def turn(self) -> None:
        """Hear what came, look after every child, and show the result."""
        message = self._heard(TURN_MS)
        while message is not None:
            if isinstance(message, Heartbeat):
                self._hear(message)
            message = self._heard(0)
        self._notice_standstill()
        for child in self._children:
            pid, was_given_up, why = child.pid, child.is_given_up, child.tick(self._turned_s)
            if pid is not None and child.pid != pid:
                self._board.close(pid)
            if why:
                self._endings.note(child.spec.name, why, is_last=self._is_last(child))
                self._models.ended(child.spec.name, why)
            elif child.is_given_up and not was_given_up and self._is_last(child):  # it could not be started: no model is to blame
                self._endings.note(child.spec.name, child.reason, is_last=True)
        self._endings.flush()
        if self._phase != "draining":
            self._models.tick(words_of(self._children))
        self._show()

    def _heard(self, timeout_ms: int) -> Message | None:
        """Return the next message; one that is none is as good as none: it must not end the station."""
        try:
            return self._health.receive(timeout_ms)
        except MdssError as error:
            log.error("message refused", reason=str(error))
            return None

    def _notice_standstill(self) -> None:
        """Give everybody time anew where this loop was away for long: in a frozen container nobody could have said anything."""
        now_s = self._clock()
        away_s, self._turned_s = now_s - self._turned_s, now_s
        if away_s > STANDSTILL * self._limits.stall_timeout_s:
            log.warning("the station stood still: every process is given its time anew", still_for_s=round(away_s, 1))
            self._began_s = now_s
            for child in self._children:
                child.give_time()

    def _is_last(self, child: Child) -> bool:
        """Whether nothing is left of a child's stage: it is not started again, nor are its twins."""
        stage = stage_of(child.spec.name)
        return all(each.is_given_up for each in self._children if stage_of(each.spec.name) == stage)

    def _hear(self, heartbeat: Heartbeat) -> None:
        child = next((child for child in self._children if child.pid == heartbeat.pid), None)
        if child is None:  # a last word of a process that was replaced is dropped
            return
        if child.spec.name == "fusion" and child.last is None:
            self._tell_who_is_gone()
        child.hear(heartbeat)
        self._board.hear(heartbeat)

    def _tell_who_is_gone(self) -> None:
        """A fusion that begins does not know which stages it would wait for in vain."""
        for child in self._children:
            if self._is_last(child):
                self._endings.note(child.spec.name, child.reason, is_last=True)

    def _check_models(self) -> None:
        """Raise MdssError where there is no recipe that could ever be judged."""
        if self._models.is_hopeless:
            raise MdssError(f"the station cannot start: {self._models.trouble}")

    def _bring_up(self, children: Sequence[Child]) -> bool:
        """Start some children and wait until each has been ready, be it not at one moment; False when a signal came first."""
        self._began_s = self._turned_s = self._clock()
        missing = list(children)
        for child in children:
            child.start()
        while missing := [child for child in missing if child.is_missed]:
            if self._signals:
                return False
            failed = [child for child in self._children if child.has_failed]
            is_over = self._turned_s - self._began_s > self._limits.ready_timeout_s
            late = [child for child in missing if child.spec.is_vital and is_over]
            if failed or late:
                first = (failed or late)[0]
                raise MdssError(f"the station cannot start: {first.spec.name}: {first.reason or 'not ready in time'}")
            self.turn()
        return True

    def _show(self) -> None:
        report = self._report()
        self._board.show(report)
        self._notifier.status(f"{report.state}{': ' if report.reason else ''}{report.reason}")
        if report.state != "error":
            self._notifier.ping()

    def _report(self) -> StationReport:
        state, reason = self._condition()
        return StationReport(
            station=self._board.report.station,
            state=state,
            reason=reason,
            is_ready=self._phase == "running" and all(child.is_ready or not child.spec.is_vital for child in self._children),
            uptime_s=round(self._clock() - self._board.started_s, 1),
            processes=tuple(process_report(child) for child in self._children),
            models=self._models.reports(),
            reload=self._board.last_reload,
        )

    def _condition(self) -> tuple[ProcessState, str]:
        """Return the state and its reason: that of the worst process, or of the models where no process is worse."""
        bad = [child for child in self._children if not child.is_ready or child.state == "degraded"]
        worst = min(bad, key=badness, default=None)
        trouble = self._models.trouble
        reason = trouble if worst is None or (trouble and badness(worst) > MODELS) else f"{worst.spec.name}: {worst.reason or worst.state}"
        if self._phase != "running" or not reason:
            return self._phase, reason
        return "error" if worst is not None and worst.has_failed else "degraded", reason

    def _stop(self) -> None:
        """Ingest drains first; when that takes too long, fusion gives what is left its verdict; then the rest in order."""
        self._phase = "draining"
        self._notifier.say("STOPPING=1")
        ingest, *others = reversed(self._children)
        if not self._stop_one(ingest, self._limits.drain_timeout_s):
            for fusion in (child for child in others if child.spec.name == "fusion"):
                self._stop_one(fusion, STOP_GRACE_S)
            self._wait(ingest, STOP_GRACE_S)
        for child in (ingest, *others):
            if not self._stop_one(child, STOP_GRACE_S):
                log.warning("killed: it did not stop in time", process=child.spec.name)
                child.stop_now()
                self._wait(child, STOP_GRACE_S)

    def _stop_one(self, child: Child, limit_s: float) -> bool:
        if child.pid is not None or child.state != "stopped":
            child.ask_to_stop()
        return self._wait(child, limit_s)

    def _wait(self, child: Child, limit_s: float) -> bool:
        """Wait until a child has ended; a second signal ends all of them at once."""
        end_s = self._clock() + limit_s
        while child.pid is not None and self._clock() < end_s:
            if self._signals > 1:
                for each in self._children:
                    each.stop_now()
            self.turn()
        return child.pid is None


def badness(child: Child) -> tuple[int, int]:
    """Return how bad it is that a process is not well, the worst first: failed, missed, in trouble; each of the line before beside it."""
    how = 0 if child.has_failed else 1 if child.spec.is_vital and not child.is_ready else 2
    return how, 0 if stage_of(child.spec.name) in LINE else 2


def process_report(child: Child) -> ProcessReport:
    """Return what /status shows of a child."""
    last = child.last
    return ProcessReport(
        name=child.spec.name,
        state=child.state,
        reason=child.reason,
        is_ready=child.is_ready,
        pid=child.pid,
        steps=last.steps if last else 0,
        waiting=last.waiting if last else 0,
        restarts=child.restarts,
        silence_s=round(child.silence_s, 1) if child.pid else 0.0,
    )


def words_of(children: Sequence[Child]) -> Words:
    """Return what the processes say of models; one that is not started again is not waited for."""
    said = {
        child.spec.name: child.last.models if child.pid is not None and child.last is not None else None
        for child in children
        if child.state != "error"
    }
    return Words({name: word for name, word in said.items() if stage_of(name) in HOLDERS}, said.get("ingest"))
