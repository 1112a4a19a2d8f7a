"""A supervisor among processes that do what a state machine says, in a thread that runs only while the machine waits for it."""

from __future__ import annotations

import threading

from daemon.child import FIRST_PAUSE_S, LONGEST_PAUSE_S, Child
from daemon.notify import Notifier
from daemon.process_table import ProcessSpec
from daemon.status import Board
from daemon.supervisor import STANDSTILL, TURN_MS, Supervisor, SupervisorServices
from mdss.settings import SupervisorSettings
from mdss.wire.messages import Heartbeat, Message
from mdss.wire.process import REFUSED
from tests.fakes import FakeClock, FakeLink, FakeProcess
from tests.model_world import without_models

NAMES = ("alerts", "fusion", "rgb-0", "sdf-0", "prepare", "ingest")
LIMITS = SupervisorSettings(ready_timeout_s=12, stall_timeout_s=5, drain_timeout_s=10, restart_limit=4, restart_window_s=20)
TURN_S = TURN_MS / 1000
SLACK_S = 5 * TURN_S  # an end is seen in the turn after it, that of a code 1 or 2 one turn later


class Actor(FakeProcess):
    """A process that does what the machine says, and notes when."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name, 100 + len(world.actors), world.clock, lambda process, age_s: None)
        self.world, self.state = world, None
        self.heard_s = self.worked_s = self.started_s
        self.ready_s: float | None = None
        self.died_s: float | None = None
        self.is_silent = self.is_stopping = self.was_killed = self.was_late = False

    def end(self, code: int) -> None:
        """Be dead from now on."""
        if self.code is None:
            self.code, self.died_s = code, self.world.clock()

    def terminate(self) -> None:
        self.terms, self.is_stopping = self.terms + 1, True
        self.world.asked.append(self.name)
        if self.heeds_term:
            self.end(0)

    def kill(self) -> None:
        self.world.check(self.is_stopping or self.world.signals > 1 or self.may_be_killed(), f"{self.name} was killed for nothing")
        self.was_killed, self.was_late = True, self.ready_s is None
        self.end(-9)

    def may_be_killed(self, slack_s: float = 0.0) -> bool:
        """Whether it has been unready, silent or idle while parts wait for longer than the limits allow."""
        now_s = self.world.clock()
        if self.ready_s is None:
            return now_s - self.started_s > LIMITS.ready_timeout_s + slack_s
        return max(now_s - self.heard_s, now_s - self.worked_s) > LIMITS.stall_timeout_s + slack_s

    def say(self) -> Heartbeat | None:
        """Return its heartbeat of this moment."""
        self.steps += not (self.waiting or self.is_silent)
        beat = None if self.is_silent else self.heartbeat()
        if beat is not None:
            self.heard_s = self.world.clock()
            self.ready_s = self.heard_s if self.ready_s is None else self.ready_s
            self.worked_s = self.worked_s if self.waiting else self.heard_s
        return beat


class World:
    """Processes, the link of heartbeats, and the supervisor's thread, which runs only while the machine waits for it."""

    def __init__(self) -> None:
        self.clock, self.fusion, self.actors = FakeClock(), FakeLink(), list[Actor]()
        self.asked, self.late, self.signals = list[str](), list[Heartbeat](), 0
        self.births = dict.fromkeys(NAMES, "ready")
        self.error: BaseException | None = None
        self.is_over, self.broken = False, list[str]()
        self.children = {name: Child(ProcessSpec(name, (), 1), self.start, LIMITS, self.clock) for name in NAMES}
        self.hands = dict.fromkeys(NAMES, "")
        board, notifier = Board("test", self.clock), Notifier(None, None, self.clock)
        around = SupervisorServices(self, board, notifier, self.fusion, self.hands.__getitem__, without_models(), self.clock)
        self.supervisor = Supervisor([*self.children.values()], LIMITS, around)
        self._parked, self._go = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._parked.acquire()

    def start(self, spec: ProcessSpec) -> Actor:
        """Start a process of this name, unless that breaks a promise."""
        lives = self.of(spec.name)
        self.check(all(actor.code is not None for actor in lives), f"{spec.name} has two processes")
        if lives:
            self._check_restart(lives)
        actor = Actor(self, spec.name)
        self.actors.append(actor)
        birth = self.births[spec.name]
        actor.state = "running" if birth == "ready" else None
        if birth.startswith("dies"):
            actor.end(int(birth.removeprefix("dies ")))
        return actor

    def _check_restart(self, lives: list[Actor]) -> None:
        name, last = lives[-1].name, lives[-1]
        died_s = self.clock() if last.died_s is None else last.died_s
        fewest = self.ends(name, died_s, -SLACK_S)
        self.check(name not in self.asked, f"{name} was started again though it had been asked to stop")
        self.check(last.code != REFUSED or last.was_killed, f"{name} was started again though it refuses to start")
        self.check(fewest < LIMITS.restart_limit, f"{name} was started again beyond the limit")
        self.check(self.clock() >= died_s + pause_s(fewest), f"{name} was started again too soon")  # a difference may round to less

    def check(self, is_kept: bool, promise: str) -> None:
        """Note a broken promise: raised here it would end the supervisor, and be looked for in the wrong place."""
        if not is_kept:
            self.broken.append(promise)

    def ends(self, name: str, now_s: float, slack_s: float) -> int:
        """Return how often a name has ended within the window, a little longer or shorter, or since it was ready last, killed for that."""
        late = 0
        for actor in self.of(name):
            late = late + actor.was_late if actor.ready_s is None else 0
        lately = sum(now_s - actor.died_s <= LIMITS.restart_window_s + slack_s for actor in self.of(name) if actor.died_s is not None)
        return max(lately, late)

    def of(self, name: str) -> list[Actor]:
        """Return all lives of a name."""
        return [actor for actor in self.actors if actor.name == name]

    def receive(self, timeout_ms: int) -> Message | None:
        """Return a heartbeat that is due; let the machine act where there is none."""
        if self.late:
            return self.late.pop()
        for actor in self.actors:
            if self.clock() - actor.heard_s >= 1.0 or (actor.ready_s is None and not actor.is_silent):
                beat = actor.say()
                if beat is not None:
                    return beat
        if timeout_ms:
            self._parked.release()
            self._go.acquire()
            self.clock.advance(timeout_ms / 1000)
        return None

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which nobody does anything: limits begin anew where it was long, and an end that nobody saw is one of now."""
        self.clock.advance(seconds)
        for actor in self.actors:
            if actor.code is None and seconds > STANDSTILL * LIMITS.stall_timeout_s:
                actor.heard_s = actor.worked_s = actor.started_s = self.clock()
            if actor.code is not None and self.children[actor.name].pid == actor.pid:
                actor.died_s = self.clock()

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except BaseException as error:  # noqa: BLE001 - the machine's thread judges it
            self.error = error
        self.is_over = True
        self._parked.release()

    def turn(self) -> None:
        """Let the supervisor have one turn."""
        if not self.is_over:
            self._go.release()
            self._parked.acquire()


def pause_s(ends: int) -> float:
    """Return how long a process waits that has ended so often."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (max(1, ends) - 1))
