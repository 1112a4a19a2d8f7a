"""How a station comes up while some of its processes keep dying."""

from __future__ import annotations

from tests.fakes import FakeProcess, History, dies_often
from tests.unit.daemon.test_supervisor import Line


def ready_after(seconds: float) -> History:
    """Return a history of a process that loads for so long."""

    def history(process: FakeProcess, age_s: float) -> None:
        process.state = "running" if age_s >= seconds else None

    return history


def test_a_process_that_died_again_while_others_loaded_does_not_hold_the_start_up() -> None:
    line = Line(rgb_0=dies_often, sdf_0=ready_after(8))  # rgb-0 is away from the 8th to the 10th second
    line.at(9, lambda: line.said.append("nine seconds"))
    line.run(12)
    assert line.said.index("READY=1") < line.said.index("nine seconds")
