"""The supervisor's loop: it starts the station's processes, watches them, restarts those that die or stall, and stops them in order."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol

import structlog

from daemon.child import Child, Ending
from daemon.dropped_scans import DroppedScans
from daemon.endings import Endings
from daemon.model_swaps import ModelReports, ModelSwaps
from daemon.notify import Notifier
from daemon.status import Board, ProcessReport, StationReport
from mdss.errors import MdssError
from mdss.settings import SupervisorSettings
from mdss.wire.messages import Heartbeat, Message, ProcessState, stage_of
from mdss.wire.sockets import Outlet

TURN_MS = 100
STANDSTILL = 0.5  # share of supervisor.stall_timeout_s; a shorter standstill between two turns cannot make a healthy process look stalled
STOP_GRACE_S = 5.0
MODEL_HOLDERS = ("prepare", "rgb", "sdf", "fusion")  # stages that load a part's model
LINE_STAGES = ("ingest", *MODEL_HOLDERS)  # stages that every part needs
# Ranks among the values of `badness`: of what the processes have open and is gone, and of "a recipe is not judged by its champion".
GONE_RANK, MODELS_RANK = (1, -1), (2, 1)
log = structlog.get_logger()


class Health(Protocol):
    """Where heartbeats arrive."""

    def receive(self, timeout_ms: int) -> Message | None:
        """Return the next heartbeat, or None when none arrived in time."""


@dataclass(frozen=True)
class SupervisorServices:
    """What the supervisor listens to and whom it informs."""

    health: Health
    board: Board
    notifier: Notifier
    fusion: Outlet
    in_hand: Callable[[str], str]  # process -> result id of the part that it had in hand when it ended
    models: ModelSwaps
    clock: Callable[[], float] = time.monotonic
    # names of the processes that are ready -> what they have open that is not there any more; empty if nothing is
    gone: Callable[[Collection[str]], str] = lambda _: ""


class Supervisor:
    """Starts the processes in order, keeps them running, and stops them in order."""

    def __init__(self, children: Sequence[Child], limits: SupervisorSettings, services: SupervisorServices) -> None:
        self._children, self._limits, self._clock = tuple(children), limits, services.clock
        self._health, self._board, self._notifier = services.health, services.board, services.notifier
        self._endings, self._models, self._gone = Endings(services.fusion, services.in_hand), services.models, services.gone
        self._dropped = DroppedScans(self._clock)
        self._signals: list[str] = []
        self._began_s = self._turned_s = self._clock()
        self._phase: ProcessState = "starting"

    def ask_to_stop(self, number: int = signal.SIGTERM, *_: object) -> None:
        """Note a stop signal: the first one drains the line, the second one ends every process at once."""
        self._signals.append(signal.Signals(number).name)

    def run(self, between: Callable[[], None] = lambda: None) -> None:
        """Run the station until a stop signal and call `between` after every turn; raise MdssError if the station cannot start."""
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

    def apply_limits(self, limits: SupervisorSettings) -> None:
        """Apply changed limits from now on and tell every process to read its settings again."""
        self._limits = limits
        for child in self._children:
            child.apply_limits(limits)

    def turn(self) -> None:
        """One pass of the loop: take all waiting heartbeats, check every process, publish the state."""
        message = self._next_message(TURN_MS)
        while message is not None:
            if isinstance(message, Heartbeat):
                self._hear(message)
            message = self._next_message(0)
        self._notice_standstill()
        for child in self._children:
            if ending := child.tick(self._turned_s):
                self._note_end(child, ending)
        self._endings.flush()
        if self._phase != "draining":
            self._models.tick(model_reports_of(self._children))
        self._show()

    def _next_message(self, timeout_ms: int) -> Message | None:
        """Return the next message; an unreadable one is logged and dropped, because it must not end the station."""
        try:
            return self._health.receive(timeout_ms)
        except MdssError as error:
            log.error("message refused", reason=str(error))
            return None

    def _notice_standstill(self) -> None:
        """Restart all time limits if this loop itself was away for long, as in a frozen container: then nobody could report."""
        now_s = self._clock()
        away_s, self._turned_s = now_s - self._turned_s, now_s
        if away_s > STANDSTILL * self._limits.stall_timeout_s:
            log.warning("the station stood still: every process is given its time anew", still_for_s=round(away_s, 1))
            self._began_s = now_s
            for child in self._children:
                child.restart_time_limits()

    def _note_end(self, child: Child, ending: Ending) -> None:
        """Tell fusion and the models of an end that nobody asked for."""
        name, is_last = child.spec.name, self._is_last(child)
        if ending.pid is None:  # it could not even be started, so no model is to blame
            if is_last:
                self._endings.note(name, ending.reason, is_last=True)
            return
        self._board.close(ending.pid)
        if ending.reason:
            self._endings.note(name, ending.reason, is_last=is_last)
            self._models.ended(name, ending.reason)

    def _is_last(self, child: Child) -> bool:
        """Return whether no process of this child's stage is left: neither it nor its twins are started again."""
        stage = stage_of(child.spec.name)
        return all(each.is_given_up for each in self._children if stage_of(each.spec.name) == stage)

    def _hear(self, heartbeat: Heartbeat) -> None:
        child = next((child for child in self._children if child.pid == heartbeat.pid), None)
        if child is None:  # a last message from a process that was already replaced
            return
        if child.spec.name == "fusion" and child.last is None:
            self._tell_who_is_gone()
        self._dropped.hear(heartbeat, child.last)
        child.hear(heartbeat)
        self._board.hear(heartbeat)

    def _tell_who_is_gone(self) -> None:
        """Tell a fusion that has just started which stages will not come back, so that it does not wait for them."""
        for child in self._children:
            if self._is_last(child):
                self._endings.note(child.spec.name, child.reason, is_last=True)

    def _check_models(self) -> None:
        """Raise MdssError if no recipe can ever be judged."""
        if self._models.is_hopeless:
            raise MdssError(f"the station cannot start: {self._models.trouble}")

    def _bring_up(self, children: Sequence[Child]) -> bool:
        """Start some processes and wait until each has been ready once, though not all at the same moment.

        Return False if a stop signal came first; raise MdssError if a vital process fails or is not ready in time.
        """
        self._began_s = self._turned_s = self._clock()
        missing = list(children)
        for child in children:
            child.start()
        while missing := [child for child in missing if child.is_awaited]:
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
            processes=tuple(process_report(child, self._dropped) for child in self._children),
            models=self._models.reports(),
            reload=self._board.last_reload,
        )

    def _condition(self) -> tuple[ProcessState, str]:
        """Return the station's state and its reason: those of the worst process, or of what is gone or of the models if that is worse."""
        bad = [child for child in self._children if not child.is_ready or child.state == "degraded"]
        found = [(badness(child), f"{child.spec.name}: {child.reason or child.state}") for child in bad]
        found.append((MODELS_RANK, self._models.trouble))
        if self._phase == "running":
            found.append((GONE_RANK, self._gone([child.spec.name for child in self._children if child.is_ready])))
        (how, _), reason = min((each for each in found if each[1]), key=itemgetter(0), default=(MODELS_RANK, ""))
        if self._phase != "running" or not reason:
            return self._phase, reason
        return "error" if how == 0 else "degraded", reason

    def _stop(self) -> None:
        """Stop in order: ingest drains first, fusion closes what is left if that takes too long, then the others end."""
        self._phase = "draining"
        self._notifier.say("STOPPING=1")
        if self._signals:
            log.info("the station stops", reason=f"asked to by {self._signals[0]}")
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
        """Wait until a process has ended; a second stop signal kills all of them at once."""
        end_s = self._clock() + limit_s
        while child.pid is not None and self._clock() < end_s:
            if len(self._signals) > 1:
                for each in self._children:
                    each.stop_now()
            self.turn()
        return child.pid is None


def badness(child: Child) -> tuple[int, int]:
    """Rank how badly a process is doing, lowest first: failed, missing, in trouble; processes of the line rank before the others."""
    how = 0 if child.has_failed else 1 if child.spec.is_vital and not child.is_ready else 2
    return how, 0 if stage_of(child.spec.name) in LINE_STAGES else 2


def process_report(child: Child, dropped: DroppedScans) -> ProcessReport:
    """Return the entry for one process in /status."""
    last = child.last
    reason = child.reason or (dropped.reason if child.spec.name == "collect" else "")
    return ProcessReport(
        name=child.spec.name,
        state=child.state,
        reason=reason,
        is_ready=child.is_ready,
        pid=child.pid,
        steps=last.steps if last else 0,
        waiting=last.waiting if last else 0,
        restarts=child.restarts,
        silence_s=round(child.silence_s, 1) if child.pid else 0.0,
    )


def model_reports_of(children: Sequence[Child]) -> ModelReports:
    """Collect what the processes report about models; a process that was given up is left out, so nobody waits for it."""
    reports = {
        child.spec.name: child.last.models if child.pid is not None and child.last is not None else None
        for child in children
        if child.state != "error"
    }
    return ModelReports({name: report for name, report in reports.items() if stage_of(name) in MODEL_HOLDERS}, reports.get("ingest"))
