"""A part of which a piece may be missing is never OK, and what its score makes NotOK stays so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mdss.method.grid import Grid
from mdss.method.reference import Reference
from mdss.method.station_rules import InView, decide, unusual_gaps_reason
from mdss.settings import FusionSettings
from tests.parts import THRESHOLD, calibration

SIZE_PX = 64


def view(rows: slice, columns: slice, frame: tuple[int, int] = (100, 100), invalid: float = 0.1) -> InView:
    """Return a part that fills a box of the grid of a frame."""
    mask = np.zeros((SIZE_PX, SIZE_PX), np.bool_)
    mask[rows, columns] = True
    return InView(mask, Grid(*frame, SIZE_PX), invalid)


WHOLE, CUT_OFF = view(np.s_[10:40], np.s_[10:40]), view(np.s_[34:], np.s_[10:40])


def decided(part: InView, score: float = 1.0, most_at_edge_px: int | None = 0, **rules: Any) -> tuple[str, str]:
    return decide(score, part, calibration(smallest_part_px=900, most_at_edge_px=most_at_edge_px), FusionSettings(**rules))


@pytest.mark.parametrize(("score", "evaluation"), [(THRESHOLD, "NotDecidable"), (1.01 * THRESHOLD, "NotOK")])
def test_a_part_that_the_image_cuts_off_is_never_ok_and_a_defect_stays_one(score: float, evaluation: str) -> None:
    found, reason = decided(CUT_OFF, score)
    assert found == evaluation
    assert (
        score > THRESHOLD
        or reason == "the image cuts the part off: 30 px of it lie at the edge; of good ones of the validation at most 0 px do"
    )


@pytest.mark.parametrize(("score", "found"), [(2.5, "2.5"), (2.0001, "2.0001"), (math.nextafter(2, 3), "2.0000000000000004")])
def test_a_score_hardly_above_the_threshold_is_told_with_the_digits_that_tell_them_apart(score: float, found: str) -> None:
    assert decided(WHOLE, score) == ("NotOK", f"score {found} is above the threshold 2")


def test_a_score_far_above_the_threshold_is_told_as_people_write_numbers() -> None:
    assert decided(WHOLE, 23456.7) == ("NotOK", "score 23460 is above the threshold 2")


@pytest.mark.parametrize("score", [0.75 * THRESHOLD, 1.25 * THRESHOLD])
def test_the_guard_band_s_own_edge_is_in_it(score: float) -> None:
    assert decided(WHOLE, score, guard_band_ratio=0.25)[0] == "NotDecidable"


def test_a_share_of_missing_points_that_is_no_number_is_not_taken_for_few() -> None:
    assert decided(view(np.s_[10:40], np.s_[10:40], invalid=np.nan))[0] == "NotDecidable"


def test_a_part_that_lacks_just_as_much_as_the_rules_allow_is_judged() -> None:
    assert decided(view(np.s_[10:40], np.s_[10:40], invalid=0.25), max_invalid_point_ratio=0.25) == ("OK", "")
    assert decided(WHOLE, min_part_ratio=1.0) == ("OK", "")


def test_a_part_in_the_middle_of_the_image_is_whole() -> None:
    assert decided(WHOLE) == ("OK", "")


def test_who_does_not_ask_for_whole_parts_or_has_a_model_of_an_earlier_release_looks_at_no_edge() -> None:
    assert decided(CUT_OFF, whole_in_image=False) == decided(CUT_OFF, most_at_edge_px=None) == ("OK", "")


def test_parts_that_always_run_through_the_image_may_and_others_not_by_much() -> None:
    through = view(np.s_[20:50], np.s_[:])
    assert decided(through, most_at_edge_px=56)[0] == "OK"
    assert decided(through, most_at_edge_px=30)[0] == "NotDecidable"
    assert [decided(view(np.s_[34:], np.s_[10 : 10 + width]))[0] for width in (8, 9)] == ["OK", "NotDecidable"]


@pytest.mark.parametrize("frame", [(50, 100), (100, 50)])
def test_the_edge_is_that_of_the_frame_not_of_the_grid_with_its_letterbox(frame: tuple[int, int]) -> None:
    middle, upper = view(np.s_[22:42], np.s_[22:42], frame), view(np.s_[16:46], np.s_[16:46], frame)
    assert decided(middle)[0] == "OK"
    assert decided(upper)[0] == "NotDecidable"


@pytest.mark.parametrize("missing", [0.06, 0.45, 0.55])
def test_missing_points_are_a_reason_where_they_are_many_more_than_a_good_part_lacks_and_are_told_once(missing: float) -> None:
    seen = Reference(rgb=(1.0, 1.0), sdf=(1.0, 1.0), brightness=(), valid_point_ratio=(0.97, 0.96), distance_mm=())
    part, good = view(np.s_[10:40], np.s_[10:40], invalid=missing), calibration(reference=seen)
    told = "45.0% of the part's points are missing; good ones of the validation lack at most 4.0%"
    assert unusual_gaps_reason(part, good, FusionSettings()) == (told if missing == 0.45 else "")


@pytest.mark.parametrize(("missing", "is_reason"), [(0.009, False), (0.011, True)])
def test_where_good_parts_lack_nothing_a_hundredth_of_the_points_is_no_reason_yet(missing: float, is_reason: bool) -> None:
    whole = Reference(rgb=(1.0,), sdf=(1.0,), brightness=(), valid_point_ratio=(1.0,), distance_mm=())
    part = view(np.s_[10:40], np.s_[10:40], invalid=missing)
    assert bool(unusual_gaps_reason(part, calibration(reference=whole), FusionSettings())) == is_reason


@pytest.mark.parametrize("reference", [None, calibration().reference])
def test_what_good_parts_lack_is_not_guessed_where_a_model_does_not_tell(reference: Reference | None) -> None:
    part = view(np.s_[10:40], np.s_[10:40], invalid=0.45)
    assert unusual_gaps_reason(part, calibration(reference=reference), FusionSettings()) == ""
