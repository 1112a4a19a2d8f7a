"""What ingest is told of a verdict, and how much time a part has left."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from mdss.wire.messages import MS_NS, Judged
from mdss.wire.verdict import Evaluation
from tests.parts import accepted, verdict

EVALUATIONS: tuple[Evaluation, ...] = ("OK", "NotOK", "NotDecidable", "Undefined")


@pytest.mark.parametrize(("is_partial", "deadline_missed", "evaluation"), [*itertools.product((True, False), (True, False), EVALUATIONS)])
def test_a_part_is_late_if_one_branch_alone_saw_it_by_its_deadline_and_that_decided_nothing(
    is_partial: bool, deadline_missed: bool, evaluation: Evaluation
) -> None:
    given = msgspec.structs.replace(verdict(accepted("a", 100), evaluation), is_partial=is_partial, deadline_missed=deadline_missed)
    assert Judged.of(given).is_late == ((is_partial, deadline_missed, evaluation) == (True, True, "NotDecidable"))


def test_a_part_has_the_time_to_its_deadline_and_never_more_than_it_was_given_though_the_clock_began_anew() -> None:
    part = accepted("a", 6000 * MS_NS)  # 5000 ms from its arrival
    assert [part.left_ns(now_ms * MS_NS) // MS_NS for now_ms in (0, 1000, 4000, 6000, 9000)] == [5000, 5000, 2000, 0, 0]
