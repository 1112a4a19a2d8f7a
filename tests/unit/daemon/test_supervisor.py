"""The supervisor with fake processes and a fake clock: order of start and stop, and what it says meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable

import msgspec
import pytest

from daemon.child import Child
from daemon.model_swaps import ModelSwaps
from daemon.notify import Notifier
from daemon.process_table import ProcessSpec
from daemon.status import Board
from daemon.supervisor import STOP_GRACE_S, Supervisor, SupervisorServices
from mdss.errors import MdssError
from mdss.settings import SupervisorSettings
from mdss.wire.messages import Ended, Message
from tests.fakes import (
    FakeLink,
    FakeProcess,
    FakeWorld,
    History,
    dies_often,
    dies_once,
    falls_silent,
    ignores_term,
    lives,
    never_ready,
    refuses,
)
from tests.model_world import without_models

NAMES = ("alerts", "collect", "fusion", "rgb-0", "sdf-0", "prepare", "ingest")
LIMITS = SupervisorSettings(ready_timeout_s=30, stall_timeout_s=5, drain_timeout_s=10, restart_limit=5, restart_window_s=60)


def spec(name: str) -> ProcessSpec:
    """Return the row of one process; the line judges parts without `collect`."""
    return ProcessSpec(name, (), 1, is_vital=name != "collect")


class Line:
    """A supervisor in a fake world; `at` plans what happens when."""

    names: tuple[str, ...] = NAMES

    def __init__(self, models: ModelSwaps | None = None, /, **histories: History) -> None:
        self.world = FakeWorld({name.replace("_", "-"): history for name, history in histories.items()})
        self.said: list[str] = []
        self.fusion = FakeLink()
        self.board = Board("test", self.world.clock)
        self.hands: dict[str, str] = {}
        self._plan: list[tuple[float, Callable[[], None]]] = []
        children = [Child(spec(name), self.world.start, LIMITS, self.world.clock) for name in self.names]
        notifier = Notifier(self.said.append, 6.0, self.world.clock)
        around = SupervisorServices(self, self.board, notifier, self.fusion, self.in_hand, models or without_models(), self.world.clock)
        self.supervisor = Supervisor(children, LIMITS, around)

    def receive(self, timeout_ms: int) -> Message | None:
        """Carry out what is due, then receive from the world."""
        for due_s, action in [entry for entry in self._plan if entry[0] <= self.world.clock()]:
            self._plan.remove((due_s, action))
            action()
        return self.world.receive(timeout_ms)

    def in_hand(self, process: str) -> str:
        """Return what a process had in hand."""
        return self.hands.get(process, "")

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan an action for so many seconds after the start."""
        self._plan.append((self.world.clock() + seconds, action))

    def run(self, seconds: float) -> None:
        """Run and ask to stop after so many seconds."""
        self.at(seconds, self.supervisor.ask_to_stop)
        self.supervisor.run()

    def ended(self) -> bool:
        """Whether no process is left."""
        return all(process.code is not None for process in self.world.started)


def drains_for(seconds: float) -> History:
    """Return a history that ends so many seconds after SIGTERM."""
    asked: list[float] = []

    def history(process: FakeProcess, age_s: float) -> None:
        process.heeds_term = False
        lives(process, age_s)
        if process.terms:
            asked.append(age_s)
            if age_s - asked[0] >= seconds:
                process.code = 0

    return history


def silent_after(seconds: float) -> History:
    """Return a history that says nothing for twelve seconds after so many."""

    def history(process: FakeProcess, age_s: float) -> None:
        lives(process, age_s)
        process.state = None if seconds < age_s < seconds + 12 else "running"

    return history


def test_ingest_starts_only_when_all_others_are_ready() -> None:
    line = Line(sdf_0=lambda process, age_s: setattr(process, "state", "running" if age_s > 8 else None))
    line.run(12)
    (ingest,) = line.world.of("ingest")
    (sdf,) = line.world.of("sdf-0")
    assert ingest.started_s >= sdf.started_s + 8


def test_ready_is_said_once_and_the_watchdog_is_pinged() -> None:
    line = Line()
    line.run(30)
    assert line.said.count("READY=1") == 1
    assert line.said.count("WATCHDOG=1") >= 14
    assert "STATUS=running" in line.said


def test_one_signal_stops_all_in_order() -> None:
    line = Line()
    line.run(5)
    assert line.ended()
    assert line.world.asked_to_stop == list(reversed(NAMES))
    assert all(process.kills == 0 for process in line.world.started)
    assert "STOPPING=1" in line.said


def test_the_others_work_on_while_ingest_drains() -> None:
    line = Line(ingest=drains_for(4))
    alive: list[bool] = []
    line.at(8, lambda: alive.append(all(process.code is None for process in line.world.started)))
    line.run(5)
    assert alive == [True]
    assert line.ended()


@pytest.mark.parametrize("longer_s", [2, STOP_GRACE_S + 2])
def test_when_draining_takes_too_long_fusion_ends_before_ingest_which_has_time_for_its_last_verdicts(longer_s: float) -> None:
    line = Line(ingest=drains_for(LIMITS.drain_timeout_s + longer_s))
    line.run(5)
    (ingest,), (fusion,) = line.world.of("ingest"), line.world.of("fusion")
    assert (fusion.terms, fusion.kills) == (1, 0)
    assert ingest.kills == 0
    assert line.ended()


def test_a_process_that_ignores_term_is_killed() -> None:
    line = Line(sdf_0=ignores_term)
    line.run(5)
    (sdf,) = line.world.of("sdf-0")
    assert (sdf.kills, line.ended()) == (1, True)
    assert line.world.clock() < 1000 + 5 + LIMITS.drain_timeout_s + 3 * STOP_GRACE_S


def test_a_second_signal_ends_all_at_once() -> None:
    line = Line(ingest=ignores_term)
    line.at(6, line.supervisor.ask_to_stop)
    line.run(5)
    assert line.ended()
    assert line.world.clock() < 1000 + 7


def test_a_worker_that_dies_once_is_replaced_and_the_line_is_degraded_meanwhile() -> None:
    line = Line(rgb_0=dies_once())
    states: list[tuple[str, bool]] = []
    line.at(3.2, lambda: states.append((line.board.report.state, line.board.report.is_ready)))
    line.at(9, lambda: states.append((line.board.report.state, line.board.report.is_ready)))
    line.run(10)
    assert states[-1] == ("running", True)
    assert any(text.startswith("STATUS=degraded: rgb-0: ended with code 1") for text in line.said)
    assert len(line.world.of("rgb-0")) == 2


def test_a_worker_that_dies_often_makes_the_station_an_error_and_starves_the_watchdog() -> None:
    line = Line(rgb_0=dies_often)
    pings: list[int] = []
    line.at(50, lambda: pings.append(line.said.count("WATCHDOG=1")))
    line.at(69, lambda: pings.append(line.said.count("WATCHDOG=1")))
    states: list[str] = []
    line.at(69, lambda: states.append(line.board.report.state))
    line.run(70)
    assert states == ["error"]
    assert pings[0] == pings[1]
    assert line.ended()


@pytest.mark.parametrize(("history", "sentence"), [(refuses, "rgb-0: refused to start"), (never_ready, "rgb-0: not ready")])
def test_a_station_that_cannot_start_says_which_process_and_leaves_none(history: History, sentence: str) -> None:
    line = Line(rgb_0=history)
    with pytest.raises(MdssError, match=sentence):
        line.supervisor.run()
    assert line.ended()
    assert line.world.of("ingest") == []
    assert "READY=1" not in line.said


def test_a_signal_during_the_start_stops_without_an_error() -> None:
    line = Line(rgb_0=never_ready)
    line.run(3)
    assert line.ended()
    assert "READY=1" not in line.said


def told(line: Line) -> list[tuple[str, str]]:
    """Return which endings fusion was told of."""
    return [(message.process, message.reason) for message in line.fusion.sent if isinstance(message, Ended)]


def test_fusion_is_told_once_of_a_process_that_ended_unasked_before_the_next_life_begins() -> None:
    line = Line(rgb_0=dies_once())
    heard: list[float] = []
    line.fusion.send = lambda message: heard.append(line.world.clock()) or True  # type: ignore[func-returns-value, method-assign]
    line.run(10)
    second = line.world.of("rgb-0")[1]
    assert len(heard) == 1
    assert heard[0] < second.started_s


def test_fusion_is_told_of_a_process_that_was_killed_because_it_was_silent() -> None:
    line = Line(sdf_0=falls_silent)
    line.run(9)
    assert told(line) == [("sdf-0", "silent for 5 s")]


def test_fusion_is_told_of_a_process_that_is_not_started_again() -> None:
    line = Line(rgb_0=dies_often)
    line.run(70)
    assert told(line) == [("rgb-0", "ended with code 1")] * LIMITS.restart_limit
    assert [message.is_last for message in line.fusion.sent if isinstance(message, Ended)] == [False] * 4 + [True]


def test_fusion_is_told_of_nobody_who_was_asked_to_end() -> None:
    line = Line(sdf_0=ignores_term)
    line.run(5)
    assert line.ended()
    assert told(line) == []


def test_a_fusion_without_room_holds_nobody_up_and_hears_of_the_ending_later() -> None:
    line = Line(sdf_0=dies_once())
    line.fusion.room = False
    waits: list[float] = []
    line.fusion.on_empty = lambda: waits.append(line.world.clock())
    said: list[list[tuple[str, str]]] = []
    line.at(8, lambda: said.append(told(line)))
    line.at(8.5, lambda: setattr(line.fusion, "room", True))
    line.run(10)
    assert (len(line.world.of("sdf-0")), waits, said) == (2, [], [[]])
    assert told(line) == [("sdf-0", "ended with code 1")]


def test_fusion_is_told_which_part_every_process_had_in_hand_that_ended_with_it() -> None:
    line = Line(rgb_0=dies_once(), prepare=dies_often)
    line.hands = {"rgb-0": "r1", "prepare": "r1"}
    line.run(6)
    ended = [message for message in line.fusion.sent if isinstance(message, Ended)]
    assert [(message.process, message.result_id) for message in ended] == [("rgb-0", "r1"), ("prepare", "r1"), ("prepare", "r1")]
    assert [message.deaths for message in ended[:2]] == [
        ("rgb-0 ended with code 1",),
        ("rgb-0 ended with code 1", "prepare ended with code 1"),
    ]


def test_other_limits_hold_from_now_on_and_every_process_is_told_to_read_its_settings_again() -> None:
    line = Line(sdf_0=silent_after(4), ingest=drains_for(4))
    line.at(3, lambda: line.supervisor.apply_limits(msgspec.structs.replace(LIMITS, stall_timeout_s=20, drain_timeout_s=2)))
    line.run(15)
    assert {process.name: process.signals for process in line.world.started} == {name: [signal.SIGHUP] for name in NAMES}
    (fusion,) = line.world.of("fusion")
    assert line.world.asked_to_stop.index("fusion") == 1  # ingest took longer than the new limit
    assert fusion.kills == 0


def test_a_process_that_waits_for_its_next_start_reads_the_settings_then() -> None:
    line = Line(rgb_0=dies_once())
    line.at(2.4, lambda: line.supervisor.apply_limits(LIMITS))
    line.run(10)
    first, second = line.world.of("rgb-0")
    assert (first.signals, second.signals) == ([], [])
    assert line.world.of("fusion")[0].signals == [signal.SIGHUP]


def test_nothing_comes_between_while_the_line_starts_and_while_it_drains() -> None:
    line = Line(rgb_0=lambda process, age_s: setattr(process, "state", "running" if age_s > 4 else None), ingest=drains_for(4))
    phases: list[str] = []
    line.at(8, line.supervisor.ask_to_stop)
    line.supervisor.run(lambda: phases.append(line.board.report.state))
    assert len(phases) > 10
    assert set(phases) == {"running"}
