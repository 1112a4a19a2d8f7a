"""Everything stands still and goes on, as in a frozen container or a stopped machine: nobody is taken for hanging because of that."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from daemon.child import ENDS_WITHIN_S
from mdss.wire.messages import Ended, Message
from tests.fakes import FakeProcess, History, dies_once, falls_silent, hangs, lives, outlives_sigkill
from tests.unit.daemon.test_supervisor import LIMITS, Line

STILL_S = 21.0


class StillLine(Line):
    """A line on which time passes, once, in which nobody does anything."""

    def __init__(self, after_s: float, still_s: float, **histories: History) -> None:
        super().__init__(**histories)
        self._still_at_s, self._still_s = self.world.clock() + after_s, still_s

    def receive(self, timeout_ms: int) -> Message | None:
        """Stand still while waiting for a message; nobody has said one when that is over."""
        if timeout_ms and self.world.clock() >= self._still_at_s:
            self._still_at_s = float("inf")
            self.world.clock.advance(self._still_s)
            return None
        return super().receive(timeout_ms)

    def ends(self) -> list[Ended]:
        """Return the endings that fusion was told of."""
        return [message for message in self.fusion.sent if isinstance(message, Ended)]


def test_nobody_is_killed_for_it_and_it_is_said_once() -> None:
    line = StillLine(5, STILL_S)
    line.hands = dict.fromkeys(("rgb-0", "sdf-0"), "a part that both have in hand")
    with capture_logs() as logs:
        line.run(STILL_S + 20)
    assert (line.ends(), [process.kills for process in line.world.started]) == ([], [0] * len(line.world.started))
    (said,) = [entry for entry in logs if "stood still" in entry["event"]]
    assert said["still_for_s"] == pytest.approx(STILL_S, abs=0.2)


def test_nobody_is_killed_though_it_was_shorter_than_the_time_that_a_process_may_be_silent() -> None:
    line = StillLine(5, LIMITS.stall_timeout_s - 0.5)
    line.run(20)
    assert [process.kills for process in line.world.started] == [0] * len(line.world.started)


@pytest.mark.parametrize("name", ["alerts", "prepare"])
def test_nobody_is_killed_where_it_takes_long_to_start_another(name: str) -> None:
    once, born = dies_once(), list[int]()

    def history(process: FakeProcess, age_s: float) -> None:
        if process.pid not in born:
            line.world.clock.advance(STILL_S if born else 0.0)
            born.append(process.pid)
        once(process, age_s)

    line = Line(**{name: history})
    line.run(STILL_S + 20)
    assert len(born) == 2
    assert [process.kills for process in line.world.started] == [0] * len(line.world.started)


@pytest.mark.parametrize("still_s", [0.0, 2.0, STILL_S])
@pytest.mark.parametrize(("history", "why"), [(falls_silent, "silent for 5 s"), (hangs, "no progress for 5 s while parts wait")])
def test_one_that_really_hangs_is_found_within_its_limit_afterwards(still_s: float, history: History, why: str) -> None:
    line = StillLine(4.5, still_s, rgb_0=history)
    line.run(4.5 + still_s + LIMITS.stall_timeout_s + 1)
    assert {(ended.process, ended.reason) for ended in line.ends()} == {("rgb-0", why)}


def test_a_supervisor_that_is_merely_slow_still_finds_one_that_hangs() -> None:
    line = Line(sdf_0=falls_silent)
    line.supervisor.run(lambda: line.world.clock.advance(1) if line.world.clock() < 1020 else line.supervisor.ask_to_stop())
    assert {ended.process for ended in line.fusion.sent if isinstance(ended, Ended)} == {"sdf-0"}


def test_a_station_that_stands_still_while_it_loads_comes_up_all_the_same() -> None:
    def loads(process: FakeProcess, age_s: float) -> None:
        lives(process, age_s)
        process.state = "running" if age_s > 8 + LIMITS.ready_timeout_s else None

    line = StillLine(4, LIMITS.ready_timeout_s, sdf_0=loads)
    line.run(LIMITS.ready_timeout_s + 20)
    assert "READY=1" in line.said and line.ends() == []


def test_one_that_was_killed_just_before_has_its_time_to_end() -> None:
    killed_s = 2 + LIMITS.stall_timeout_s
    line = StillLine(killed_s + 2, ENDS_WITHIN_S + 5, rgb_0=outlives_sigkill(ENDS_WITHIN_S + 10))
    line.run(killed_s + ENDS_WITHIN_S + 20)
    assert not any(text.startswith("STATUS=error") for text in line.said)
    assert len(line.ends()) == 1
