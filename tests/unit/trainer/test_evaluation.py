"""What an evaluation says of the threshold."""

from __future__ import annotations

import pytest

from trainer.evaluation import ThresholdFigures


@pytest.mark.parametrize(
    ("highest_good", "lowest_defective", "says"),
    [
        (0.93, 7.461, "good parts score up to 0.93, defective parts from 7.461 on: any threshold in between separates them all"),
        (0.63, 0.54, "good parts score up to 0.63, defective parts from 0.54 on: no threshold separates them all"),
        (0.5, 0.5, "good parts score up to 0.5, defective parts from 0.5 on: no threshold separates them all"),
        (None, 0.54, ""),
        (0.63, None, ""),
    ],
)
def test_whether_a_limit_could_tell_all_parts_apart_is_said(highest_good: float | None, lowest_defective: float | None, says: str) -> None:
    limit = ThresholdFigures(
        value=0.7, asked_false_reject_rate=0.05, false_reject_rate=None, recall=None,
        highest_good_score=highest_good, lowest_defective_score=lowest_defective,
    )  # fmt: skip
    assert limit.gap == says
