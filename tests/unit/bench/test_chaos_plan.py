"""The faults of a chaos run: the seed alone decides them, and there are as many and of as many kinds as was promised."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from bench.chaos_plan import KINDS, PROCESSES, STALL_S, PlannedFault, plan, streams

TEN_MINUTES_S = 600.0


def kills(faults: list[PlannedFault]) -> list[PlannedFault]:
    """Return the faults that kill a process of the station."""
    return [fault for fault in faults if fault.kind == "kill"]


def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    assert plan(TEN_MINUTES_S, 1, 2.4) == plan(TEN_MINUTES_S, 1, 2.4)
    assert plan(TEN_MINUTES_S, 1, 2.4) != plan(TEN_MINUTES_S, 2, 2.4)


def test_ten_minutes_have_well_over_200_kills_spread_over_every_process() -> None:
    counts = Counter(fault.target for fault in kills(plan(TEN_MINUTES_S, 1, 2.4)))
    assert sum(counts.values()) == 250
    assert counts.keys() == set(PROCESSES)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_ten_minutes_have_every_kind_of_fault() -> None:
    assert {fault.kind for fault in plan(TEN_MINUTES_S, 1, 2.4)} == set(KINDS)


@pytest.mark.parametrize("seconds", [10.0, 60.0])  # in ten seconds a process would hang beyond the end
@pytest.mark.parametrize("seed", range(5))
def test_faults_come_in_order_and_are_over_when_the_run_is(seed: int, seconds: float) -> None:
    faults = plan(seconds, seed, 2.4)
    assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)
    assert all(fault.at_s >= 0 and fault.lasts_s >= 0 and fault.at_s + fault.lasts_s <= seconds + 1e-9 for fault in faults)


@pytest.mark.parametrize("seed", range(5))
def test_no_two_faults_of_a_stream_last_at_the_same_time(seed: int) -> None:
    faults = plan(TEN_MINUTES_S, seed, 2.4)
    for stream in streams(2.4):
        own = [fault for fault in faults if fault.kind in stream.kinds]
        assert all(before.at_s + before.lasts_s <= after.at_s + 1e-9 for before, after in pairwise(own))


def test_some_processes_hang_for_longer_than_the_supervisor_waits() -> None:
    assert all(fault.lasts_s > STALL_S + 2 for fault in plan(TEN_MINUTES_S, 1, 2.4) if fault.kind == "hang")


def test_a_minute_has_at_least_one_fault_of_every_stream() -> None:
    happening = {fault.kind for fault in plan(60.0, 1, 2.4)}
    assert all(happening & set(stream.kinds) for stream in streams(2.4))


def test_leaving_out_a_kind_leaves_the_others_as_they_were() -> None:
    everything = plan(TEN_MINUTES_S, 1, 2.4)
    assert plan(TEN_MINUTES_S, 1, 2.4, {"kill", "reload"}) == [fault for fault in everything if fault.kind not in ("kill", "reload")]
