"""One process of the table plays its named histories."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from structlog.testing import capture_logs

from daemon.child import ENDS_WITHIN_S, Child
from daemon.process_table import ProcessSpec
from mdss.settings import SupervisorSettings
from mdss.wire.messages import Heartbeat, ProcessState
from mdss.wire.process import FAILED, HINDERED, REFUSED
from tests.fakes import FakeProcess, FakeWorld, dies_often, dies_once, falls_silent, hangs, lives, never_ready, outlives_sigkill, refuses

LIMITS = SupervisorSettings(ready_timeout_s=30, stall_timeout_s=5, drain_timeout_s=10, restart_limit=5, restart_window_s=60)
SPEC = ProcessSpec("rgb-0", ("-m", "workers.rgb"), threads=1)


def said(state: ProcessState, reason: str = "") -> Heartbeat:
    """Return what a process says of itself."""
    return Heartbeat(process="rgb-0", pid=1, state=state, reason=reason, steps=0, waiting=0, counters={}, timings={})


def play(world: FakeWorld, seconds: float) -> Child:
    """Run one child for some seconds of the fake clock."""
    child = Child(SPEC, world.start, LIMITS, world.clock)
    child.start()
    go_on(child, world, seconds)
    return child


def go_on(child: Child, world: FakeWorld, seconds: float) -> None:
    """Let time pass, with heartbeats and ticks."""
    end_s = world.clock() + seconds
    while world.clock() < end_s:
        beat = world.receive(100)
        if beat is not None and beat.pid == child.pid:  # type: ignore[attr-defined]
            child.hear(beat)  # type: ignore[arg-type]
        child.tick(world.clock())


def test_a_process_is_ready_only_after_it_said_so() -> None:
    world = FakeWorld({})
    child = Child(SPEC, world.start, LIMITS, world.clock)
    child.start()
    assert (child.state, child.is_ready) == ("starting", False)
    go_on(child, world, 1)
    assert (child.state, child.is_ready) == ("running", True)


def test_dies_once_is_started_again_and_runs() -> None:
    world = FakeWorld({"rgb-0": dies_once()})
    child = play(world, 20)
    assert (len(world.started), child.restarts, child.state) == (2, 1, "running")


def test_until_it_is_ready_again_it_says_why_it_was_not() -> None:
    world = FakeWorld({"rgb-0": falls_silent})
    child = play(world, 1)
    assert (child.state, child.reason) == ("running", "")
    while len(world.started) == 1:
        go_on(child, world, 0.1)
    why = "starting again: silent for 5 s"
    assert (child.state, child.reason) == ("starting", why)
    child.hear(said("starting"))
    assert child.reason == why
    go_on(child, world, 1)
    assert (child.state, child.reason) == ("running", "")


def test_why_a_process_ends_is_logged_once_with_its_end() -> None:
    world = FakeWorld({"rgb-0": lives})
    child = play(world, 1)
    with capture_logs() as logs:
        child.hear(said("stopped", "the disk is full"))
        world.started[0].code = FAILED
        child.tick(world.clock())
        child.tick(world.clock())
    told = [line["reason"] for line in logs if line["log_level"] != "debug"]
    assert told == ["ended with code 1: the disk is full; starts again in 0.5 s"]


def test_dies_often_is_started_with_growing_pauses_and_given_up() -> None:
    world = FakeWorld({"rgb-0": dies_often})
    child = play(world, 60)
    starts = [process.started_s for process in world.started]
    pauses = [round(later - earlier - 2, 0) for earlier, later in pairwise(starts)]
    assert len(starts) == LIMITS.restart_limit
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 3
    assert child.state == "error"
    assert "5 times in 60 s" in child.reason


def test_however_often_it_ends_the_pauses_grow_no_longer_than_half_a_minute() -> None:
    world, limits = FakeWorld({"rgb-0": dies_often}), msgspec.structs.replace(LIMITS, restart_limit=100, restart_window_s=10_000)
    child = Child(SPEC, world.start, limits, world.clock)
    child.start()
    go_on(child, world, 600)
    starts = [process.started_s for process in world.started]
    assert max(later - earlier - 2 for earlier, later in pairwise(starts)) == pytest.approx(30, abs=0.5)


@pytest.mark.parametrize("end", [Child.ask_to_stop, Child.stop_now])
def test_one_that_waits_for_its_next_start_when_the_station_stops_is_not_started_again(end: Callable[[Child], None]) -> None:
    world = FakeWorld({"rgb-0": dies_often})
    child = play(world, 2.3)
    assert child.pid is None
    end(child)
    go_on(child, world, 60)
    assert len(world.started) == 1


def test_a_silent_process_is_killed_and_replaced() -> None:
    world = FakeWorld({"rgb-0": falls_silent})
    child = play(world, 10)
    assert world.started[0].kills == 1
    assert len(world.started) == 2
    assert child.pid == world.started[1].pid


def test_a_process_that_sigkill_does_not_end_is_not_ready_and_in_the_end_an_error() -> None:
    world = FakeWorld({"rgb-0": outlives_sigkill(1e6)})
    child = play(world, 2 + LIMITS.stall_timeout_s + 1)
    assert (child.state, child.reason, child.is_ready) == ("degraded", "silent for 5 s; killed", False)
    go_on(child, world, ENDS_WITHIN_S)
    assert (child.state, child.is_ready, child.has_failed) == ("error", False, True)
    assert child.reason == "silent for 5 s; killed 10 s ago and not ended: it hangs in the kernel"
    assert (len(world.started), world.started[0].kills) == (1, 1)


def test_a_process_that_ends_of_its_sigkill_after_all_is_replaced() -> None:
    world = FakeWorld({"rgb-0": outlives_sigkill(ENDS_WITHIN_S + 5)})
    child = play(world, 2 + LIMITS.stall_timeout_s + ENDS_WITHIN_S + 2)
    assert child.state == "error"
    world.histories["rgb-0"] = lives
    go_on(child, world, 10)
    assert (len(world.started), child.state, child.is_ready) == (2, "running", True)


def test_a_heartbeat_that_arrives_after_the_kill_makes_no_process_ready() -> None:
    world = FakeWorld({"rgb-0": outlives_sigkill(1e6)})
    child = play(world, 2 + LIMITS.stall_timeout_s + 1)
    (process,) = world.started
    process.state = "running"
    words = process.heartbeat()
    assert words is not None
    child.hear(words)
    assert (child.state, child.is_ready) == ("degraded", False)


def test_a_process_that_lives_but_does_nothing_while_parts_wait_is_killed() -> None:
    world = FakeWorld({"rgb-0": hangs})
    play(world, 7)
    assert world.started[0].kills == 1
    assert len(world.started) == 2


def in_trouble(process: FakeProcess, age_s: float) -> None:
    """Wait for a next stage that takes nothing, with parts in hand, and be killed by somebody after 30 seconds."""
    process.state, process.reason, process.waiting = "degraded", "prepare takes nothing", 1
    process.code = -9 if age_s > 30 else None


def test_a_process_that_says_why_it_does_nothing_is_left_alone_and_that_is_not_why_it_ended() -> None:
    world = FakeWorld({"rgb-0": in_trouble})
    child = play(world, 29)
    assert (len(world.started), world.started[0].kills, child.state, child.reason) == (1, 0, "degraded", "prepare takes nothing")
    go_on(child, world, 1.3)
    assert child.reason == "ended with code -9; starts again in 0.5 s"


def test_an_idle_process_is_left_alone() -> None:
    world = FakeWorld({"rgb-0": lambda process, age_s: None})
    child = play(world, 60)
    assert (len(world.started), child.state) == (1, "running")


def test_never_ready_is_killed_after_the_ready_timeout() -> None:
    world = FakeWorld({"rgb-0": never_ready})
    child = play(world, 30.4)
    assert world.started[0].kills == 1
    assert "not ready after 30 s" in child.reason


def test_never_ready_is_given_up_after_as_many_lives_as_one_that_dies_though_they_are_longer_than_the_window() -> None:
    limits = msgspec.structs.replace(LIMITS, ready_timeout_s=LIMITS.restart_window_s + 30)
    world = FakeWorld({"rgb-0": never_ready})
    child = Child(SPEC, world.start, limits, world.clock)
    child.start()
    go_on(child, world, limits.restart_limit * limits.ready_timeout_s - 1)
    assert (len(world.started), child.is_given_up) == (limits.restart_limit, False)
    go_on(child, world, 2000)
    assert (len(world.started), child.is_given_up) == (limits.restart_limit, True)
    assert child.reason == "not ready after 90 s; ended 5 times without being ready in time, not started again"


def test_one_that_was_ready_in_between_is_not_given_up_for_the_times_that_it_was_not() -> None:
    def rarely_ready(process: FakeProcess, age_s: float) -> None:
        is_its_turn = (process.pid + 1) % LIMITS.restart_limit == 0
        process.state = "running" if is_its_turn and age_s < 3 else None

    world = FakeWorld({"rgb-0": rarely_ready})
    child = play(world, 2000)
    assert len(world.started) > 3 * LIMITS.restart_limit and not child.is_given_up


def test_a_refusal_is_an_error_at_once() -> None:
    world = FakeWorld({"rgb-0": refuses})
    child = play(world, 60)
    assert (len(world.started), child.state) == (1, "error")


def test_a_refusal_whose_words_arrive_after_the_end_is_told_in_them() -> None:
    world = FakeWorld({"rgb-0": lives})
    child = play(world, 1)
    assert last_words(child, world, ("error", "model.json: no such file"), 2) == ("error", "model.json: no such file")


def test_a_failure_is_told_in_the_words_of_the_process_and_tried_again_in_every_life() -> None:
    world = FakeWorld({"rgb-0": lives})
    child = play(world, 1)
    for pause in ("0.5", "1"):
        told = last_words(child, world, ("stopped", "journal: disk full"), 1)
        assert told == ("degraded", f"ended with code 1: journal: disk full; starts again in {pause} s")
        go_on(child, world, 1)


def test_an_address_that_somebody_took_since_it_was_ready_is_tried_again_until_the_limit() -> None:
    world = FakeWorld({"rgb-0": lives})
    child = play(world, 1)
    taken = "frames endpoint tcp://127.0.0.1:1: cannot be opened"
    for ends in range(1, LIMITS.restart_limit + 1):
        process = world.started[-1]
        child.hear(msgspec.structs.replace(said("stopped", taken), pid=process.pid))
        process.code = REFUSED
        child.tick(world.clock())
        child.tick(world.clock())
        assert child.state == ("degraded" if ends < LIMITS.restart_limit else "error")
        assert child.reason.startswith(f"ended with code 2: {taken}; ")
        while child.state == "degraded":
            world.clock.advance(0.1)
            child.tick(world.clock())
    assert child.reason.endswith("; ended 5 times in 60 s, not started again") and len(world.started) == LIMITS.restart_limit


def test_one_that_the_journal_keeps_from_working_is_tried_again_however_often_and_counts_for_no_other_end() -> None:
    world, full = FakeWorld({"rgb-0": lives}), "journal j: database or disk is full"
    child = play(world, 1)
    codes = [HINDERED] * 3 * LIMITS.restart_limit + [FAILED] * LIMITS.restart_limit
    for number, code in enumerate(codes, 1):
        child.hear(msgspec.structs.replace(said("stopped", full), pid=world.started[-1].pid))
        world.started[-1].code = code
        child.tick(world.clock())
        child.tick(world.clock())
        assert child.state == ("degraded" if number < len(codes) else "error")
        assert child.reason.startswith(f"ended with code {code}: {full}; ")
        while child.state == "degraded":
            world.clock.advance(0.1)
            child.tick(world.clock())


def test_one_that_the_journal_keeps_from_its_first_start_is_given_up() -> None:
    world = FakeWorld({"rgb-0": lambda process, age_s: setattr(process, "code", HINDERED)})
    assert play(world, 60).state == "error" and len(world.started) == LIMITS.restart_limit


def test_an_address_that_was_taken_from_the_first_is_an_error_at_once() -> None:
    world = FakeWorld({"rgb-0": never_ready})
    child = play(world, 1)
    world.started[0].code = REFUSED
    child.hear(said("stopped", "frames endpoint tcp://127.0.0.1:1: cannot be opened"))
    child.tick(world.clock())
    child.tick(world.clock())
    assert (child.state, child.reason) == ("error", "frames endpoint tcp://127.0.0.1:1: cannot be opened")


def last_words(child: Child, world: FakeWorld, words: tuple[ProcessState, str], code: int) -> tuple[str, str]:
    """Let the process end with this code, and its last state and reason arrive after its end; return what is said of the child."""
    process = world.started[-1]
    process.state, process.reason = words
    last = process.heartbeat()
    process.code = code
    child.tick(world.clock())
    pid = child.pid
    assert last is not None and last.pid == pid
    child.hear(last)
    child.tick(world.clock())
    assert child.pid is None
    return child.state, child.reason
