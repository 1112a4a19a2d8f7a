"""The supervisor against any order of deaths, stalls, silences, standstills, late heartbeats and signals, found by hypothesis."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daemon.supervisor import STOP_GRACE_S
from mdss.errors import MdssError
from mdss.wire.messages import Ended, Heartbeat
from mdss.wire.process import REFUSED
from tests.machines import histories
from tests.supervised import LIMITS, NAMES, SLACK_S, TURN_S, Actor, World, pause_s

pytestmark = pytest.mark.usefixtures("quiet_log")
VICTIMS = st.sampled_from((*NAMES, "rgb-0", "rgb-0", "rgb-0"))  # one of them often, or none would reach the limit of restarts
LONGEST_STOP_S = LIMITS.drain_timeout_s + (2 + 2 * len(NAMES)) * (STOP_GRACE_S + SLACK_S)


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

    @rule(seconds=st.sampled_from([1.0, 6.0, 40.0]))
    def stand_still(self, seconds: float) -> None:
        self.world.stand_still(seconds)
        self.pass_time(3)

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

    @rule(name=VICTIMS, is_meant=st.sampled_from([*[False] * 9, True]))  # it takes long
    def never_become_ready_again(self, name: str, is_meant: bool) -> None:
        if is_meant:
            self.world.births[name] = "never ready"
            self.die(name, 1)
            self.pass_time(int(LIMITS.restart_limit * (LIMITS.ready_timeout_s + 2) / TURN_S))

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


SupervisorMachine.TestCase.settings = histories(250)
TestSupervisor = SupervisorMachine.TestCase
