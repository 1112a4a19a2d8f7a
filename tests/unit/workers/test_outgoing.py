"""What leaves a worker: a stage that is away keeps nothing from another, one that is behind is waited for."""

from __future__ import annotations

import numpy as np

from mdss.wire.heartbeat import Tally
from mdss.wire.messages import ColourTask, Message, Resend, ShapeTask
from tests.fakes import FakeClock, FakeLink
from workers.outgoing import MOST_WAITING, Outgoing


class Line:
    """Links to both branches, and what leaves by them; the one to shape has no room."""

    def __init__(self) -> None:
        self.rgb, self.sdf, self.clock, self.tally = FakeLink(), FakeLink(room=False), FakeClock(), Tally()
        self.outgoing = Outgoing({ColourTask: self.rgb, ShapeTask: self.sdf}, self.tally, self.clock.ns)

    def put(self, number: int, version: str = "0001", lasts_s: float = 60.0) -> None:
        """Put both tasks of a part whose deadline is so far off."""
        cloud, image, mask = np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), bool)
        same = {"recipe_id": "cap", "model_version": version, "height": 4, "width": 4}
        due_ns = self.clock.ns() + int(lasts_s * 1e9)
        shape = ShapeTask(result_id=f"r{number}", deadline_ns=due_ns, xyz=cloud, **same)  # type: ignore[arg-type]
        colour = ColourTask(result_id=f"r{number}", deadline_ns=due_ns, rgb=image, mask=mask, **same)  # type: ignore[arg-type]
        self.outgoing.put([shape, colour])


def sent(link: FakeLink) -> list[tuple[str, str]]:
    return [told_of(message) for message in link.sent]


def told_of(message: Message) -> tuple[str, str]:
    assert isinstance(message, ColourTask | ShapeTask)
    return message.result_id, message.model_version


def test_what_one_stage_does_not_take_is_not_kept_from_the_other() -> None:
    line = Line()
    line.put(1)
    line.put(2)
    assert sent(line.rgb) == [("r1", "0001"), ("r2", "0001")]
    line.sdf.room = True
    line.outgoing.flush()
    assert sent(line.sdf) == [("r1", "0001"), ("r2", "0001")]
    assert not line.outgoing


def test_a_stage_that_is_behind_is_waited_for_and_one_that_is_away_is_not_until_much_waits() -> None:
    line = Line()
    line.put(1)
    had_room = [line.outgoing.has_room]
    line.clock.advance(1.1)
    had_room.append(line.outgoing.has_room)
    for number in range(2, MOST_WAITING + 1):
        line.put(number)
    had_room.append(line.outgoing.has_room)
    assert had_room == [False, True, False]


class NarrowLink(FakeLink):
    """A link that takes one message, and then has no room."""

    def send(self, message: Message) -> bool:
        is_taken = super().send(message)
        self.room = False
        return is_taken


def test_a_stage_is_away_once_it_has_taken_nothing_for_a_second_whatever_else_comes_for_it_and_whatever_others_take() -> None:
    line = Line()
    line.sdf = NarrowLink(room=False)
    line.outgoing = Outgoing({ColourTask: line.rgb, ShapeTask: line.sdf}, line.tally, line.clock.ns)
    stuck = list[bool]()
    for wait_s, has_room in ((0.0, False), (0.9, False), (0.2, False), (0.2, True), (0.9, False), (0.2, False)):
        line.clock.advance(wait_s)
        line.sdf.room = has_room
        line.put(len(stuck))
        line.outgoing.flush()
        stuck.append(line.outgoing.is_stuck)
    assert stuck == [False, False, True, False, False, True]


def test_room_is_waited_for_at_the_stage_that_lacks_it() -> None:
    line = Line()
    assert not line.outgoing
    line.put(1)
    assert line.outgoing and not line.outgoing.wait(0)
    line.sdf.room = True
    line.put(2)
    assert line.outgoing.wait(0) and not line.outgoing
    assert sent(line.sdf) == [("r1", "0001"), ("r2", "0001")], "none overtakes another that waits"


def test_a_task_whose_part_is_late_is_forgotten_and_counted() -> None:
    line = Line()
    line.put(1, lasts_s=2.0)
    line.put(2)
    line.clock.advance(3.0)
    line.outgoing.flush()
    line.sdf.room = True
    line.outgoing.flush()
    assert sent(line.sdf) == [("r2", "0001")]
    assert line.tally.counters == {'mdss_tasks_skipped_total{stage="sdf"}': 1.0}


def test_a_second_attempt_takes_the_place_of_the_first_that_still_waits() -> None:
    line = Line()
    line.put(1)
    line.put(2)
    line.put(1, "0002")
    line.sdf.room = True
    line.outgoing.flush()
    assert sent(line.sdf) == [("r2", "0001"), ("r1", "0002")]


def test_what_is_no_task_is_sent_however_often_it_names_the_same_part() -> None:
    link = FakeLink(room=False)
    outgoing, asked = Outgoing({Resend: link}, Tally()), [Resend("r1", 2, ("rgb",)), Resend("r1", 3, ("sdf",))]
    outgoing.put(asked)
    link.room = True
    outgoing.flush()
    assert link.sent == asked
