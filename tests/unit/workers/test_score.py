"""A branch's process: one task in, one score out."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import msgspec
import numpy as np
import pytest

from mdss.method.student_teacher import ColourBranch
from mdss.wire.heartbeat import Tally
from mdss.wire.messages import BranchScore, ColourTask, Fault
from workers.rgb import COLOUR
from workers.score import Scorer


def task(recipe: str) -> ColourTask:
    return ColourTask(
        result_id="r",
        recipe_id=recipe,
        model_version="0007",
        rgb=np.zeros((8, 8, 3), np.uint8),
        mask=np.ones((8, 8), np.bool_),
        height=8,
        width=8,
    )


def scorer(tally: Tally, *utc_ns: int) -> Scorer[ColourTask, ColourBranch]:
    """Return a branch that is at a part for two seconds, whatever UTC says then."""
    found, model = np.arange(64, dtype=np.float32).reshape(8, 8), cast("ColourBranch", "never asked")
    branch = replace(COLOUR, score=lambda _, __: found)
    return Scorer(branch, {"cap/0007": model}, tally, iter(utc_ns).__next__, iter((10**9, 3 * 10**9)).__next__)


def test_the_score_is_the_raw_maximum_of_the_map_and_names_its_model() -> None:
    tally = Tally()
    (answer,) = scorer(tally, 10**9, 3 * 10**9).step(task("cap"))
    assert isinstance(answer, BranchScore)
    assert (answer.score, answer.model_version) == (63.0, "0007")
    assert tally.timings == {'mdss_stage_duration_seconds{stage="rgb"}': [2.0]}


def test_the_score_names_the_scan_that_it_is_of() -> None:
    (answer,) = scorer(Tally(), 10**9, 3 * 10**9).step(msgspec.structs.replace(task("cap"), received_ns=17))
    assert isinstance(answer, BranchScore)
    assert answer.received_ns == 17


def test_a_clock_that_is_set_back_meanwhile_changes_what_the_score_says_and_not_how_long_it_took() -> None:
    tally = Tally()
    (answer,) = scorer(tally, 10**18, 1).step(task("cap"))
    assert isinstance(answer, BranchScore)
    assert (answer.started_ns, answer.finished_ns) == (10**18, 1)
    assert tally.timings == {'mdss_stage_duration_seconds{stage="rgb"}': [2.0]}


@pytest.mark.parametrize(("deadline_ns", "answers", "skipped"), [(10**9, 0, 1.0), (10**9 + 1, 1, 0.0)])
def test_a_task_whose_part_is_late_already_is_counted_and_not_computed(deadline_ns: int, answers: int, skipped: float) -> None:
    tally = Tally()
    late = msgspec.structs.replace(task("cap"), deadline_ns=deadline_ns)
    assert len(list(scorer(tally, 10**9, 3 * 10**9).step(late))) == answers
    assert tally.counters == {'mdss_tasks_skipped_total{stage="rgb"}': skipped}


def test_a_model_that_is_not_held_is_a_fault_with_a_sentence() -> None:
    (answer,) = scorer(Tally()).step(task("bolt"))
    assert isinstance(answer, Fault)
    assert (answer.reason, answer.model_version) == ("model bolt/0007 is not loaded; expected one of cap/0007", "0007")
