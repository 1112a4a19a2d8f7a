"""How much of a latency the networks took: from the station's own metrics and the verdict's own times."""

from __future__ import annotations

import msgspec
import pytest

from measure.line import last_branch, mean_ms, parse_branch_seconds
from tests.parts import accepted, verdict

PAGE = """# TYPE mdss_stage_duration_seconds histogram
mdss_stage_duration_seconds_bucket{le="0.005",stage="rgb"} 0.0
mdss_stage_duration_seconds_count{stage="rgb"} 10.0
mdss_stage_duration_seconds_sum{stage="rgb"} 0.5
mdss_stage_duration_seconds_count{stage="prepare"} 10.0
mdss_stage_duration_seconds_sum{stage="prepare"} 0.1
mdss_stage_duration_seconds_count{stage="sdf"} 4.0
mdss_stage_duration_seconds_sum{stage="sdf"} 1.2e-1
"""


def test_the_branches_seconds_are_read_from_the_page_of_metrics() -> None:
    expected = {("rgb", "count"): 10.0, ("rgb", "sum"): 0.5, ("sdf", "count"): 4.0, ("sdf", "sum"): 0.12}
    assert parse_branch_seconds(PAGE) == expected


def test_a_branch_took_as_long_as_its_seconds_grew_for_each_part() -> None:
    after = parse_branch_seconds(PAGE)
    before = {("rgb", "count"): 5.0, ("rgb", "sum"): 0.4}
    assert mean_ms(before, after) == pytest.approx({"rgb": 20.0, "sdf": 30.0})


def test_a_part_waits_for_the_branch_that_ends_last() -> None:
    judged = verdict(accepted("a", 9))
    for branch, rgb, sdf in (("rgb", 2, 1), ("sdf", 1, 2)):
        changed = msgspec.structs.replace(judged, times=msgspec.structs.replace(judged.times, rgb=rgb, sdf=sdf))
        assert last_branch(changed) == branch
