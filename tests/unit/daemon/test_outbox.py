"""What waits for the next stages: who takes nothing is named, however much comes meanwhile."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from daemon.outbox import STUCK_AFTER_S, Outbox
from mdss.wire.cloud import SensorCloud
from mdss.wire.messages import Frame, Message
from tests.fakes import FakeClock, FakeLink
from tests.parts import accepted


@pytest.mark.parametrize("has_room", [False, True])
def test_a_fusion_that_takes_nothing_is_named_though_more_comes_for_it_meanwhile(has_room: bool) -> None:
    clock, fusion = FakeClock(), FakeLink(room=has_room)
    outbox = Outbox(clock)
    for number in range(3):
        outbox.tell([accepted(f"r{number}", 10)])
        outbox.flush(fusion, FakeLink())
        clock.advance(STUCK_AFTER_S / 2)
    assert outbox.trouble == ("" if has_room else "fusion takes nothing, 0 frames wait")
    fusion.room = True
    outbox.flush(fusion, FakeLink())
    assert (outbox.trouble, len(fusion.sent)) == ("", 3)


def frame(name: str) -> Frame:
    """Return a part's frame for both branches."""
    cloud = SensorCloud(given=np.zeros((8, 8, 3), np.float32), unit="mm")
    return Frame(result_id=name, recipe_id="cap", model_version="0001", rgb=np.zeros((8, 8, 3), np.uint8), xyz=cloud)


class OneAtATime(FakeLink):
    """A link that has room for one message, until somebody makes room again."""

    def send(self, message: Message) -> bool:
        is_taken, self.room = super().send(message), False
        return is_taken


def test_a_prepare_that_takes_a_frame_now_and_then_is_not_named_and_one_that_stops_is() -> None:
    clock, prepare = FakeClock(), OneAtATime()
    outbox = Outbox(clock)
    for name in ("r1", "r2", "r3", "r4"):
        outbox.put(accepted(name, 10), frame(name))
    for _ in range(3):
        prepare.room = True
        outbox.flush(FakeLink(), prepare)
        assert outbox.trouble == ""
        clock.advance(STUCK_AFTER_S / 2)
    assert outbox.trouble == ""
    clock.advance(STUCK_AFTER_S / 2)
    assert outbox.trouble == "prepare takes nothing, 1 frames wait"
    assert [each.result_id for each in prepare.sent if isinstance(each, Frame)] == ["r1", "r2", "r3"]


def test_a_fusion_that_takes_a_message_now_and_then_is_not_named_and_one_that_stops_is() -> None:
    clock, fusion = FakeClock(), OneAtATime()
    outbox = Outbox(clock)
    outbox.tell([accepted(name, 10) for name in ("r1", "r2", "r3", "r4")])
    for _ in range(3):
        fusion.room = True
        outbox.flush(fusion, FakeLink())
        clock.advance(STUCK_AFTER_S / 2)
        assert outbox.trouble == ""
    clock.advance(STUCK_AFTER_S / 2)
    assert outbox.trouble == "fusion takes nothing, 0 frames wait"


def test_a_prepare_that_takes_nothing_is_named_though_fusion_takes_all_that_comes_meanwhile() -> None:
    clock = FakeClock()
    outbox = Outbox(clock)
    for number in range(3):
        outbox.put(accepted(f"r{number}", 10), frame(f"r{number}"))
        outbox.flush(FakeLink(), FakeLink(room=False))
        assert outbox.trouble == ""
        clock.advance(STUCK_AFTER_S / 3)
    assert outbox.trouble == "prepare takes nothing, 3 frames wait"


def test_prepare_is_not_named_for_the_time_in_which_fusion_took_nothing() -> None:
    clock, full = FakeClock(), FakeLink(room=False)
    outbox = Outbox(clock)
    outbox.put(accepted("r1", 10), frame("r1"))
    for _ in range(4):
        outbox.flush(full, full)
        clock.advance(STUCK_AFTER_S / 2)
    outbox.flush(FakeLink(), full)
    clock.advance(STUCK_AFTER_S / 3)
    assert outbox.trouble == ""
    clock.advance(STUCK_AFTER_S)
    assert outbox.trouble == "prepare takes nothing, 1 frames wait"


def test_what_comes_after_a_rest_has_its_time_and_then_fusion_is_named_for_which_its_frame_waits_as_well() -> None:
    clock = FakeClock()
    outbox = Outbox(clock)
    clock.advance(60)
    outbox.put(accepted("r1", 10), frame("r1"))
    assert outbox.trouble == ""
    clock.advance(STUCK_AFTER_S)
    assert outbox.trouble == "fusion takes nothing, 1 frames wait"


def test_a_waiting_frame_for_one_branch_does_not_stand_for_both() -> None:
    outbox, prepare = Outbox(FakeClock()), FakeLink()
    for attempt, wanted in ((2, ("rgb",)), (3, ("rgb", "sdf"))):
        outbox.put(accepted("r1", 10, attempt), msgspec.structs.replace(frame("r1"), wanted=wanted))
    outbox.flush(FakeLink(), prepare)
    assert [each.wanted for each in prepare.sent if isinstance(each, Frame)] == [("rgb",), ("rgb", "sdf")]


def test_the_frame_with_the_earliest_deadline_leaves_first_and_of_those_with_one_deadline_the_one_that_came_first() -> None:
    outbox, prepare = Outbox(FakeClock()), FakeLink()
    for name, deadline_ns in (("late", 30), ("soon", 10), ("between", 20), ("as soon", 10), ("latest", 40)):
        outbox.put(accepted(name, 10), msgspec.structs.replace(frame(name), deadline_ns=deadline_ns))
    outbox.flush(FakeLink(), prepare)
    assert [each.result_id for each in prepare.sent if isinstance(each, Frame)] == ["soon", "as soon", "between", "late", "latest"]


def test_a_frame_that_waits_for_all_that_is_wanted_waits_once_and_every_acceptance_is_told() -> None:
    outbox, fusion, prepare = Outbox(FakeClock()), FakeLink(), FakeLink(room=False)
    outbox.put(accepted("r1", 10), frame("r1"))
    outbox.put(accepted("r1", 10, 2), msgspec.structs.replace(frame("r1"), wanted=("sdf",)))
    outbox.put(accepted("r2", 10), frame("r2"))
    outbox.flush(fusion, prepare)
    assert (len(outbox), len(fusion.sent)) == (2, 3)
    outbox.drop("r1")
    prepare.room = True
    outbox.flush(fusion, prepare)
    assert [each.result_id for each in prepare.sent if isinstance(each, Frame)] == ["r2"]


def test_prepare_is_offered_no_frame_before_fusion_has_taken_all_that_waits_for_it() -> None:
    outbox, fusion, prepare = Outbox(FakeClock()), OneAtATime(), FakeLink()
    for name in ("r1", "r2"):
        outbox.put(accepted(name, 10), frame(name))
    outbox.flush(fusion, prepare)
    assert (len(fusion.sent), len(prepare.sent)) == (1, 0)
    fusion.room = True
    outbox.flush(fusion, prepare)
    assert (len(fusion.sent), len(prepare.sent)) == (2, 2)


def test_fusion_is_reminded_only_while_nothing_else_waits_for_it() -> None:
    outbox, fusion = Outbox(FakeClock()), FakeLink(room=False)
    for _ in range(3):
        outbox.remind([accepted("overdue", 10)])
        outbox.flush(fusion, FakeLink())
    fusion.room = True
    outbox.flush(fusion, FakeLink())
    assert len(fusion.sent) == 1
