"""How much of a latency the networks took, from the times that verdicts name."""

from __future__ import annotations

import msgspec
import pytest

from mdss.wire.verdict import Times, Verdict
from measure.line import PARTS_TO_FILL, rate_of
from measure.overhead import DeliveredVerdict, busy_spans, networks_ns, stage_overheads_ms
from tests.parts import accepted, verdict

STARTED = Times(captured=0, received=1, rgb=None, sdf=None, fusion=0, published=0)


def times(prepared: int, rgb: tuple[int, int], sdf: tuple[int, int]) -> Times:
    changes = {"prepared": prepared, "rgb_started": rgb[0], "rgb": rgb[1], "sdf_started": sdf[0], "sdf": sdf[1]}
    return msgspec.structs.replace(STARTED, **changes)


def judged(each: Times) -> Verdict:
    return msgspec.structs.replace(verdict(accepted("a", 9)), times=each)


@pytest.mark.parametrize(
    ("rgb", "sdf", "expected"),
    [((12, 20), (14, 30), 18), ((12, 20), (25, 30), 13), ((12, 40), (14, 30), 28)],
    ids=["they_overlap", "one_after_the_other", "one_within_the_other"],
)
def test_time_that_both_branches_work_counts_once_and_time_between_not_at_all(
    rgb: tuple[int, int], sdf: tuple[int, int], expected: int
) -> None:
    own = times(10, rgb, sdf)
    assert networks_ns(own, busy_spans([judged(own)])) == expected


def test_waiting_for_a_network_that_is_at_another_part_is_not_overhead() -> None:
    before, own = times(3, (5, 20), (5, 25)), times(10, (20, 30), (26, 40))
    assert networks_ns(own, busy_spans([judged(own), judged(before)])) == (25 - 10) + (40 - 26) + 1
    assert networks_ns(own, busy_spans([judged(own)])) == 40 - 20


def test_what_the_networks_do_for_later_parts_is_not_counted() -> None:
    own, after = times(10, (11, 20), (11, 22)), times(15, (30, 50), (30, 60))
    assert networks_ns(own, busy_spans([judged(after), judged(own)])) == 11


def test_a_part_that_no_network_saw_took_none_of_their_time() -> None:
    assert networks_ns(STARTED, busy_spans([judged(STARTED), judged(times(1, (2, 3), (2, 3)))])) == 0


def test_the_stages_overhead_is_all_that_a_part_takes_beside_the_networks() -> None:
    before, own = times(3, (5, 20), (5, 25)), times(10, (20, 30), (26, 40))
    part = DeliveredVerdict(judged(msgspec.structs.replace(own, received=4, fusion=46, published=49)), sent=1, heard=50)
    beside = networks_ns(own, busy_spans([judged(own), judged(before)]))
    found = {name: round(spent_ms * 1e6) for name, spent_ms in stage_overheads_ms(part, beside).items()}
    assert found == {"sending": 3, "preparing": 6, "between": 0, "fusing": 6, "hearing": 4}
    assert sum(found.values()) == part.heard - part.sent - beside
    alone = stage_overheads_ms(part, networks_ns(own, busy_spans([part.verdict])))
    assert round(alone["between"] * 1e6) == 20 - 10
    assert stage_overheads_ms(DeliveredVerdict(judged(STARTED), 0, 0), 0) == {}


def test_the_rate_is_that_of_a_station_which_is_full() -> None:
    filling, full = [10 * number for number in range(PARTS_TO_FILL)], [10**9, 3 * 10**9, 2 * 10**9]
    assert rate_of([*full, *filling]) == 1.0
