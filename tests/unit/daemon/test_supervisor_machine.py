"""The supervisor against any order of deaths, stalls, silences, late heartbeats and signals, found by hypothesis."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daemon.child import FIRST_PAUSE_S, LONGEST_PAUSE_S, REFUSED, Child, Limits
from daemon.notify import Notifier
from daemon.process_table import ProcessSpec
from daemon.status import Board
from daemon.supervisor import STOP_GRACE_S, TURN_MS, Supervisor, Surroundings
from mdss.errors import MdssError
from mdss.wire.messages import Ended, Heartbeat, Message
from tests.fakes import FakeClock, FakeLink, FakeProcess
from tests.machines import histories

pytestmark = pytest.mark.usefixtures("quiet_log")
NAMES = ("alerts", "fusion", "rgb-0", "sdf-0", "prepare", "ingest")
LIMITS = Limits(ready_timeout_s=12, stall_timeout_s=5, drain_timeout_s=10, restart_limit=4, restart_window_s=20)
VICTIMS = st.sampled_from((*NAMES, "rgb-0", "rgb-0", "rgb-0"))  # one of them often, or none would reach the limit of restarts
TURN_S = TURN_MS / 1000
SLACK_S = 5 * TURN_S  # an end is seen in the turn after it, that of a code 1 or 2 one turn later
LONGEST_STOP_S = LIMITS.drain_timeout_s + (2 + 2 * len(NAMES)) * (STOP_GRACE_S + SLACK_S)


class Actor(FakeProcess):
    """A process that does what the machine says, and notes when."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name, 100 + len(world.actors), world.clock, lambda process, age_s: None)
        self.world, self.state = world, None
        self.heard_s = self.worked_s = self.started_s
        self.ready_s: float | None = None
        self.died_s: float | None = None
        self.is_silent = self.is_stopping = self.was_killed = False

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
        self.was_killed = True
        self.end(-9)

    def may_be_killed(self, slack_s: float = 0.0) -> bool:
        """Whether it has been unready, silent or idle while parts wait for longer than the limits allow."""
        now_s = self.world.clock()
        if self.ready_s is None:
            return now_s - self.started_s > LIMITS.ready_timeout_s + slack_s
        return max(now_s - self.heard_s, now_s - self.worked_s) > LIMITS.stall_timeout_s + slack_s

    def say(self) -> Heartbeat | None:
        """Return its heartbeat of this moment."""
        self.steps += not self.waiting
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
        around = Surroundings(self, board, notifier, self.fusion, self.hands.__getitem__, self.clock)
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
        """Return how often a name has ended within the window, which is made a little longer or shorter."""
        return sum(now_s - actor.died_s <= LIMITS.restart_window_s + slack_s for actor in self.of(name) if actor.died_s is not None)

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


class SupervisorMachine(RuleBasedStateMachine):
    """Everything that can happen to a station's processes, and what must hold after each of it."""

    @initialize(name=VICTIMS, birth=st.sampled_from([*["ready"] * 7, "never ready", "dies 1", "dies 2"]))
    def begin(self, name: str, birth: str) -> None:
        self.world = World()
        self.world.births[name] = birth
        self.pass_time(3)

    def alive(self, name: str) -> Actor | None:
        """Return the process of this name that lives."""
        return next((actor for actor in self.world.of(name) if actor.code is None), None)

    @rule(turns=st.sampled_from([1, 2, 3, 7, 30, 80, 110]))
    def pass_time(self, turns: int) -> None:
        for _ in range(turns):
            self.world.turn()

    @rule(name=VICTIMS, code=st.sampled_from([0, 1, 1, 2, -9, -11]))
    def die(self, name: str, code: int) -> None:
        if actor := self.alive(name):
            actor.end(code)

    @rule(name=VICTIMS)
    def fall_silent(self, name: str) -> None:
        if actor := self.alive(name):
            actor.is_silent = True

    @rule(name=VICTIMS)
    def hang(self, name: str) -> None:
        if actor := self.alive(name):
            actor.waiting = 1

    @rule(name=VICTIMS)
    def come_to_life(self, name: str) -> None:
        if actor := self.alive(name):
            actor.is_silent, actor.waiting, actor.state = False, 0, "running"

    @rule(name=VICTIMS)
    def stop_heeding_signals(self, name: str) -> None:
        if actor := self.alive(name):
            actor.heeds_term = False

    @rule(name=st.sampled_from(NAMES), birth=st.sampled_from(["ready", "ready", "never ready", "dies 1", "dies -9", "dies 2"]))
    def be_born_otherwise(self, name: str, birth: str) -> None:
        self.world.births[name] = birth

    @rule(name=VICTIMS, part=st.sampled_from(["", "a", "b"]))
    def take_a_part(self, name: str, part: str) -> None:
        self.world.hands[name] = part

    @rule(number=st.integers(0, 99), state=st.sampled_from(["running", "error", "stopped"]))
    def hear_a_dead_process(self, number: int, state: Any) -> None:
        dead = [actor for actor in self.world.actors if actor.code is not None and self.world.children[actor.name].pid != actor.pid]
        if dead:
            actor = dead[number % len(dead)]
            beat = Heartbeat(process=actor.name, pid=actor.pid, state=state, reason="late", steps=99, waiting=0, counters={}, timings={})
            self.world.late.append(beat)

    @precondition(lambda self: self.world.signals < 2)
    @rule(is_meant=st.sampled_from([*[False] * 9, True]))  # or most of the time there would be nothing left to happen
    def signal(self, is_meant: bool) -> None:
        if not is_meant:
            return
        self.world.signals += 1
        self.world.supervisor.ask_to_stop()

    @invariant()
    def a_run_ends_as_it_should(self) -> None:
        world = self.world
        assert world.broken == []
        assert world.error is None or (isinstance(world.error, MdssError) and "cannot start" in str(world.error))
        if world.is_over:
            assert all(actor.code is not None for actor in world.actors), "a process outlived its supervisor"
            assert world.signals or world.error is not None, "nobody asked it to end"

    @invariant()
    def a_name_has_one_process_and_no_word_of_another_counts(self) -> None:
        for name, child in self.world.children.items():
            lives = self.world.of(name)
            assert sum(actor.code is None for actor in lives) <= 1
            assert child.pid is None or child.pid == lives[-1].pid
            assert child.last is None or child.last.pid == lives[-1].pid
            assert child.reason != "late"

    @invariant()
    def what_is_dead_comes_back_or_is_given_up(self) -> None:
        world = self.world
        for name, child in world.children.items():
            lives = world.of(name)
            if world.signals or world.error or not lives or lives[-1].died_s is None:
                continue
            most = world.ends(name, lives[-1].died_s, SLACK_S)
            if child.state == "error":
                assert most >= LIMITS.restart_limit or lives[-1].code == REFUSED, f"{name} was given up too early"
            else:
                assert world.clock() - lives[-1].died_s <= pause_s(most) + SLACK_S, f"{name} was not started again"

    @invariant()
    def what_stalls_is_killed(self) -> None:
        for actor in self.world.actors if not self.world.signals else ():
            assert actor.code is not None or not actor.may_be_killed(SLACK_S), f"{actor.name} stalls and was not killed"

    @invariant()
    def fusion_hears_of_every_end_that_nobody_asked_for(self) -> None:
        endings = [message for message in self.world.fusion.sent if isinstance(message, Ended)]
        for part in ("a", "b"):
            deaths = [message.deaths for message in endings if message.result_id == part]
            assert [len(each) for each in deaths] == [*range(1, len(deaths) + 1)], f"a death over part {part} was forgotten"
        given_up = [message.process for message in endings if message.is_last]
        reminders = [name for place, name in enumerate(given_up) if name in given_up[:place]]  # to a fusion that began later
        told = [message.process for message in endings]
        for name in reminders:
            told.remove(name)
        for name, child in self.world.children.items():
            lives = self.world.of(name)
            unasked = sum(actor.code is not None and not actor.is_stopping for actor in lives)
            unseen = bool(lives) and lives[-1].code is not None and child.pid is not None
            assert unasked - unseen <= told.count(name) + (self.world.signals > 1) and told.count(name) <= unasked

    def teardown(self) -> None:
        """Ask it to stop, whatever the state: all must be dead in time, asked from the last to the first."""
        world = self.world
        self.signal(is_meant=True)
        for _ in range(int(LONGEST_STOP_S / TURN_S)):
            world.turn()
        assert world.is_over, "the station did not stop"
        self.a_run_ends_as_it_should()
        if world.signals == 1:
            order = [name for name in dict.fromkeys(world.asked) if name != "fusion"]  # which ends earlier where ingest takes too long
            assert order == [name for name in reversed(NAMES) if name in order], "they were not stopped in order"


SupervisorMachine.TestCase.settings = histories(500)
TestSupervisor = SupervisorMachine.TestCase
