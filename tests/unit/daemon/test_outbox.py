"""What waits for the next stages: who takes nothing is named, however much comes meanwhile."""

from __future__ import annotations

import pytest

from daemon.outbox import STUCK_AFTER_S, Outbox
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
