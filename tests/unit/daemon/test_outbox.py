"""What waits for the next stages: who takes nothing is named, however much comes meanwhile."""

from __future__ import annotations

from typing import Any

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


class OneAtATime(FakeLink):
    """A link that has room for one message, until somebody makes room again."""

    def send(self, message: Message) -> bool:
        is_taken, self.room = super().send(message), False
        return is_taken


def test_a_prepare_that_takes_a_frame_now_and_then_is_not_named_and_one_that_stops_is() -> None:
    clock, prepare = FakeClock(), OneAtATime()
    cloud = SensorCloud(given=np.zeros((8, 8, 3), np.float32), unit="mm")
    outbox, scan = Outbox(clock), dict[str, Any](rgb=np.zeros((8, 8, 3), np.uint8), xyz=cloud)
    for name in ("r1", "r2", "r3", "r4"):
        outbox.put(accepted(name, 10), Frame(result_id=name, recipe_id="cap", model_version="0001", **scan))
    for _ in range(3):
        prepare.room = True
        outbox.flush(FakeLink(), prepare)
        assert outbox.trouble == ""
        clock.advance(STUCK_AFTER_S / 2)
    assert outbox.trouble == ""
    clock.advance(STUCK_AFTER_S / 2)
    assert outbox.trouble == "prepare takes nothing, 1 frames wait"
