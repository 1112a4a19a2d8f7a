"""What the page of the month says of each week, from a record that is made up."""

from __future__ import annotations

import pytest

from demo.month import CANDIDATE, HELD_BACK, MonthRecord
from demo.month_page import changes, rows
from mdss.wire.verdict import Evaluation, ModelReference, Verdict
from tests.alerts import verdict
from trainer.dataset import GOOD


def judged(part_id: str, evaluation: Evaluation = "OK", version: str = "0001") -> Verdict:
    """Return a verdict of one version on a part."""
    model = ModelReference(name="cap", version=version, digest="d", generation=1)
    return verdict(part_id, part_id=part_id, evaluation=evaluation, model=model)


def test_a_week_counts_its_own_good_parts_and_rejected_ones_and_its_defective_parts_and_missed_ones() -> None:
    kinds = {"week1-0": GOOD, "week1-1": GOOD, "week1-2": GOOD, "week1-3": "hole", "week1-4": "hole", "week2-0": "hole"}
    rejected = ("week1-1", "week1-3")
    record = MonthRecord(kinds, [judged(name, "NotOK" if name in rejected else "OK") for name in kinds])
    assert [row[2:6] for row in rows(record)] == [(3, 1, 2, 1), (0, 0, 1, 1), (0, 0, 0, 0), (0, 0, 0, 0)]


@pytest.mark.parametrize(
    ("last", "said"),
    [((CANDIDATE,), "a candidate, promoted, then rolled back"), ((HELD_BACK,), "held back by the gate"), ((), "-")],
)
def test_only_a_model_that_was_promoted_is_said_to_be_rolled_back(last: tuple[int, ...], said: str) -> None:
    record = MonthRecord(retrained=[CANDIDATE, CANDIDATE, HELD_BACK, *last])
    assert [row[6] for row in rows(record)] == ["a candidate, promoted", "a candidate, promoted", "held back by the gate", said]


def test_a_change_of_the_model_lies_before_the_first_part_that_another_one_judges() -> None:
    versions = ["0001", "0001", "0002", "0003", "0003", "0002"]
    assert changes([judged(str(number), version=version) for number, version in enumerate(versions)]) == [2, 3, 5]
