"""What each branch is given of the parts, and by how many of them good parts are measured."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.branch_inputs import SAMPLED_PARTS, sample_parts


@pytest.mark.parametrize("count", [2, 23, 24, 47, 48, 71, 72, 1000])
def test_good_parts_are_measured_by_at_least_two_dozen_from_one_end_to_the_other_or_by_all_of_fewer(count: int) -> None:
    parts: Any = range(count)
    chosen: list[Any] = list(sample_parts(parts))
    assert min(count, SAMPLED_PARTS) <= len(chosen) < 2 * SAMPLED_PARTS
    assert chosen == list(range(0, count, chosen[1]))
