"""One process of the table at its end: what becomes of one that was asked to stop, and whose last words come late."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from mdss.wire.process import HINDERED
from tests.fakes import FakeWorld, lives
from tests.unit.daemon.test_child import LIMITS, go_on, last_words, play


@pytest.mark.parametrize(("code", "reason"), [(0, ""), (-11, "ended with code -11")])
def test_one_that_was_asked_to_stop_has_its_time_though_it_is_silent_and_how_it_ended_is_logged(code: int, reason: str) -> None:
    world = FakeWorld({"rgb-0": lives})
    child = play(world, 1)
    (process,) = world.started
    process.heeds_term = False
    child.ask_to_stop()
    process.state = None
    go_on(child, world, 3 * LIMITS.stall_timeout_s)
    assert (process.terms, process.kills) == (1, 0)
    process.code = code
    with capture_logs() as logs:
        go_on(child, world, 0.5)
    assert (child.state, child.reason, len(world.started)) == ("stopped", reason, 1)
    assert [(line["state"], line["reason"]) for line in logs] == [("stopped", reason)]


def test_one_that_something_outside_of_it_hinders_says_so_in_words_that_arrive_after_its_end() -> None:
    world = FakeWorld({"rgb-0": lives})
    child = play(world, 1)
    state, reason = last_words(child, world, ("stopped", "journal: disk full"), HINDERED)
    assert state == "degraded" and reason.startswith(f"ended with code {HINDERED}: journal: disk full; ")
