"""What the station has open and is gone: asked for while it runs, of who is ready, and said before what a process lacks."""

from __future__ import annotations

from collections.abc import Collection

from daemon.child import Child
from daemon.notify import Notifier
from daemon.supervisor import Supervisor, SupervisorServices
from tests.fakes import FakeProcess, dies_once, lives
from tests.model_world import without_models
from tests.unit.daemon.test_supervisor import LIMITS, Line, spec


class LosingLine(Line):
    """A line that asks the test what is gone."""

    said_gone = ""

    def __init__(self, **histories: object) -> None:
        super().__init__(**histories)  # type: ignore[arg-type]
        self.asked: list[tuple[str, frozenset[str]]] = []
        clock = self.world.clock
        children = [Child(spec(name), self.world.start, LIMITS, clock) for name in self.names]
        notifier = Notifier(self.said.append, 6.0, clock)
        around = SupervisorServices(self, self.board, notifier, self.fusion, self.in_hand, without_models(), clock, self.gone)
        self.supervisor = Supervisor(children, LIMITS, around)

    def gone(self, ready: Collection[str]) -> str:
        """Note who is ready and how the station is, and return what is gone."""
        self.asked.append((self.board.report.state, frozenset(ready)))
        return self.said_gone


def test_it_is_asked_for_of_the_processes_that_are_ready_and_not_before_the_station_is_or_while_it_stops() -> None:
    line = LosingLine(rgb_0=dies_once())
    line.run(10)
    assert {ready for _, ready in line.asked} == {frozenset(line.names), frozenset(line.names) - {"rgb-0"}}
    assert {state for state, _ in line.asked[1:]} == {"running", "degraded"}


def test_it_is_named_before_a_process_of_the_line_that_is_away() -> None:
    def away(process: FakeProcess, age_s: float) -> None:
        lives(process, age_s)
        process.state = "starting" if 2 < age_s < 6 else "running"

    line = LosingLine(fusion=away)
    line.said_gone, seen = "socket gone", list[str]()
    line.at(4, lambda: seen.append(line.board.report.reason))
    line.run(10)
    assert seen == ["socket gone"]
