"""How a station comes up while some of its processes keep dying."""

from __future__ import annotations

import signal
from collections.abc import Container

import pytest
from structlog.testing import capture_logs

from daemon.child import Child
from daemon.model_swaps import ModelReports
from daemon.notify import Notifier
from daemon.process_table import ProcessSpec
from daemon.supervisor import Supervisor, SupervisorServices
from mdss.errors import MdssError
from mdss.settings import ModelSettings
from mdss.wire.messages import Ended
from tests.fakes import FakeProcess, History, dies_often, dies_once, never_ready
from tests.model_world import NAMES as HOLDERS
from tests.model_world import ModelWorld, without_models
from tests.unit.daemon.test_supervisor import LIMITS, NAMES, Line, drains_for, spec


def ready_after(seconds: float) -> History:
    """Return a history of a process that loads for so long."""

    def history(process: FakeProcess, age_s: float) -> None:
        process.state = "running" if age_s >= seconds else None

    return history


def test_a_station_that_could_judge_no_recipe_starts_nothing() -> None:
    line = Line(ModelWorld(ModelSettings(recipes=("gland",))).swaps)
    with pytest.raises(MdssError, match="cannot start: recipe gland is judged by nothing: gland/champion: no such model"):
        line.run(60)
    assert line.world.started == []


def test_a_station_whose_only_model_is_refused_by_its_processes_lets_no_camera_in() -> None:
    models = ModelWorld(refusals={("rgb-0", "cap/0001"): "golden scan 3: found 2, expected 1"})
    line, tick = Line(models.swaps), models.swaps.tick
    models.swaps.tick = lambda _: tick(ModelReports({name: models.word(name) for name in HOLDERS}))  # type: ignore[assignment, method-assign]
    with pytest.raises(MdssError, match=r"cannot start: recipe cap is judged by nothing: .*golden scan 3"):
        line.run(60)
    assert line.world.of("rgb-0") and not line.world.of("ingest") and line.ended()


def test_while_it_starts_and_while_it_drains_the_station_says_so_whatever_a_process_still_lacks() -> None:
    line, seen = Line(rgb_0=ready_after(4), ingest=drains_for(4)), list[tuple[str, str]]()
    for seconds in (2, 6, 9):
        line.at(seconds, lambda: seen.append((line.board.report.state, line.board.report.reason)))
    line.run(8)
    assert seen == [("starting", "rgb-0: starting"), ("running", ""), ("draining", "")]


def test_a_heartbeat_that_cannot_be_read_is_said_and_keeps_no_station_from_coming_up() -> None:
    def spoil() -> None:
        raise MdssError("message header: found version b'\\x02'")

    line = Line()
    line.at(0.5, spoil)
    with capture_logs() as logs:
        line.run(10)
    assert "READY=1" in line.said
    assert [each["reason"] for each in logs if each["event"] == "message refused"] == ["message header: found version b'\\x02'"]


def test_a_process_that_died_again_while_others_loaded_does_not_hold_the_start_up() -> None:
    line = Line(rgb_0=dies_often, sdf_0=ready_after(8))  # rgb-0 is away from the 8th to the 10th second
    line.at(9, lambda: line.said.append("nine seconds"))
    line.run(12)
    assert line.said.index("READY=1") < line.said.index("nine seconds")


def test_a_process_that_is_given_up_while_others_load_ends_the_start_at_once_though_it_had_been_ready() -> None:
    line = Line(rgb_0=dies_often, sdf_0=ready_after(25))
    with pytest.raises(MdssError, match="cannot start: rgb-0: ended with code 1; ended 5 times"):
        line.run(60)
    assert line.world.clock() < 1000 + 25 and line.ended()
    late = Line(rgb_0=dies_often, ingest=ready_after(25))  # which is started when all others are ready
    with pytest.raises(MdssError, match="cannot start: rgb-0: ended with code 1; ended 5 times"):
        late.run(60)


class OnceTold(Line):
    """A line that says once what a process had in hand, as its file does."""

    def in_hand(self, process: str) -> str:
        return self.hands.pop(process, "")


def test_a_part_that_a_killed_station_left_in_a_hand_is_not_blamed_for_what_ends_in_its_next_life() -> None:
    line = OnceTold(rgb_0=dies_once())
    line.hands["rgb-0"] = "left"
    line.run(10)
    assert [(ended.process, ended.result_id) for ended in line.fusion.sent if isinstance(ended, Ended)] == [("rgb-0", "")]


def test_an_end_is_told_to_the_models_and_a_stage_that_is_gone_for_good_holds_no_change_of_model_up() -> None:
    models, ends, seen = without_models(), list[tuple[str, str]](), list[ModelReports]()
    models.ended = lambda process, why: ends.append((process, why))  # type: ignore[method-assign]
    models.tick = seen.append  # type: ignore[assignment, method-assign]
    line, awaited = Line(models, rgb_0=dies_often), list[ModelReports]()
    for seconds in (2.4, 69):  # at the first of which rgb-0 has ended and waits for its next life
        line.at(seconds, lambda: awaited.append(seen[-1]))
    line.run(70)
    assert ends == [("rgb-0", "ended with code 1")] * LIMITS.restart_limit
    assert any("rgb-0" in reports.holders for reports in seen)
    assert [name for name, report in awaited[0].holders.items() if report is None] == ["rgb-0"]
    assert awaited[1].holders.keys() == {"prepare", "sdf-0", "fusion"}


def test_no_model_is_changed_any_more_while_the_line_drains() -> None:
    models, ticks, drained = without_models(), list[ModelReports](), list[int]()
    models.tick = ticks.append  # type: ignore[assignment, method-assign]
    line, ready = Line(models, ingest=drains_for(4)), list[bool]()
    for seconds in (5.5, 8):
        line.at(seconds, lambda: drained.append(len(ticks)))
        line.at(seconds, lambda: ready.append(line.board.report.is_ready))
    line.run(5)
    assert drained[0] == drained[1] == len(ticks)
    assert ready == [False, False], "nothing is taken any more, though every process works on"


def test_a_process_that_waits_for_its_next_life_when_it_is_asked_to_stop_has_none() -> None:
    line = Line(rgb_0=dies_often, fusion=drains_for(3))
    line.run(8)  # rgb-0 has ended for the third time and would start again in two seconds
    assert len(line.world.of("rgb-0")) == 3 and line.ended()


def starving(line: Line, tries: list[str], starved: Container[int]) -> None:
    """Let some of the tries to start rgb-0 fail for want of memory."""

    def start(row: ProcessSpec) -> FakeProcess:
        tries.append(row.name)
        if row.name == "rgb-0" and tries.count("rgb-0") in starved:
            raise OSError(12, "Cannot allocate memory")
        return line.world.start(row)

    children = [Child(spec(name), start, LIMITS, line.world.clock) for name in line.names]
    notifier = Notifier(None, None, line.world.clock)
    around = SupervisorServices(line, line.board, notifier, line.fusion, line.in_hand, without_models(), line.world.clock)
    line.supervisor = Supervisor(children, LIMITS, around)


def test_a_process_that_the_machine_cannot_start_is_tried_again_and_nobody_else_suffers() -> None:
    line, tries = Line(), list[str]()
    starving(line, tries, (1, 2))
    line.run(5)
    assert tries.count("rgb-0") == 3 and tries.count("sdf-0") == 1


def test_a_stage_that_the_machine_can_no_longer_start_is_gone_for_good_in_the_end_and_fusion_hears_it_once() -> None:
    line, tries = Line(), list[str]()
    starving(line, tries, range(2, 100))
    line.at(5, lambda: setattr(line.world.of("rgb-0")[0], "code", -9))
    line.run(30)
    assert tries.count("rgb-0") == LIMITS.restart_limit
    first, last = [message for message in line.fusion.sent if isinstance(message, Ended)]
    assert (first.is_last, last.is_last, last.process) == (False, True, "rgb-0")
    assert last.reason.startswith("could not be started ([Errno 12] Cannot allocate memory); ended 5 times")


def test_a_fusion_that_begins_is_told_which_stages_are_gone_for_good() -> None:
    line = Line(rgb_0=dies_often)
    line.at(60, lambda: setattr(line.world.of("fusion")[-1], "code", -9))
    line.run(70)
    last = [message.process for message in line.fusion.sent if isinstance(message, Ended) and message.is_last]
    assert last == ["rgb-0", "rgb-0"]


class TwinLine(Line):
    """A line on which two processes look at colours."""

    names = (*NAMES[:3], "rgb-1", *NAMES[3:])

    def told(self) -> list[tuple[str, bool]]:
        """Return what fusion was told of both: who ended, and whether nobody of the stage is left."""
        return [(ended.process, ended.is_last) for ended in self.fusion.sent if isinstance(ended, Ended) and ended.process[:3] == "rgb"]


def test_a_stage_is_gone_for_good_with_its_last_twin_and_not_before_and_a_fusion_that_begins_hears_no_less() -> None:
    line = TwinLine(rgb_0=dies_often)

    def break_the_other() -> None:
        line.world.histories["rgb-1"] = dies_often
        line.world.of("rgb-1")[0].code = 1

    for seconds in (40, 100):
        line.at(seconds, lambda: setattr(line.world.of("fusion")[-1], "code", -9))
    line.at(50, break_the_other)
    line.run(110)
    alone, last = [("rgb-0", False)] * LIMITS.restart_limit, [*[("rgb-1", False)] * (LIMITS.restart_limit - 1), ("rgb-1", True)]
    assert line.told() == [*alone, *last, ("rgb-1", True), ("rgb-0", True)]


def test_a_twin_that_the_machine_can_no_longer_start_leaves_its_stage_to_the_other() -> None:
    line = TwinLine()
    starving(line, [], range(2, 100))
    line.at(5, lambda: setattr(line.world.of("rgb-0")[0], "code", -9))
    line.run(30)
    assert line.told() == [("rgb-0", False)]


def test_a_stage_that_was_ready_and_cannot_become_so_again_is_gone_for_good_in_the_end_and_fusion_hears_it_once() -> None:
    line = Line()

    def break_down() -> None:
        line.world.histories["rgb-0"] = never_ready
        line.world.of("rgb-0")[0].code = 1

    line.at(5, break_down)
    states: list[str] = []
    end_s = 5 + LIMITS.restart_limit * (LIMITS.ready_timeout_s + 10)
    line.at(end_s, lambda: states.append(line.board.report.state))
    line.run(end_s + 1)
    assert [message.is_last for message in line.fusion.sent if isinstance(message, Ended)] == [False] * LIMITS.restart_limit + [True]
    assert states == ["error"]


@pytest.mark.parametrize("histories", [{}, {"sdf_0": never_ready}])
def test_the_log_says_which_signal_stopped_the_station_also_while_it_started(histories: dict[str, History]) -> None:
    line = Line(**histories)
    line.at(8, lambda: line.supervisor.ask_to_stop(signal.SIGINT, None))
    with capture_logs() as logs:
        line.run(60)
    assert [entry["reason"] for entry in logs if entry["event"] == "the station stops"] == ["asked to by SIGINT"]
    assert any(entry["event"] == "the station is ready" for entry in logs) == (not histories)
