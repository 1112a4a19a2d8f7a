"""How far a good part may differ from others, where those differ hardly at all, and how dark it may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.data_checks import SURELY_SAME, GoodPartRange, product_fault, visibility_fault
from trainer.part_measures import COLOURS, MEASURES, SIDE, Measures

ALIKE = Measures(
    values={name: 0.3 if name in COLOURS else 200.0 for name in MEASURES},
    brightness=100.0,
    invalid_point_ratio=0.0,
    signature=np.zeros((2, SIDE, SIDE), np.float32),
)
USUAL = GoodPartRange.of([ALIKE] * 6)


@pytest.mark.parametrize("name", MEASURES)
def test_a_part_may_always_differ_by_a_tenth_of_a_side_and_by_three_hundredths_of_all_light(name: str) -> None:
    most = 0.03 if name in COLOURS else 20.0
    for factor, is_another in ((0.98, False), (1.02, True), (-0.98, False), (-1.02, True)):
        part = replace(ALIKE, values=ALIKE.values | {name: ALIKE.values[name] + factor * most})
        assert (product_fault(part, USUAL) is not None) == is_another


@pytest.mark.parametrize(("usual", "least"), [(USUAL, 40.0), (None, 8.0)])
def test_a_part_is_too_dark_below_two_fifths_of_the_usual_brightness_and_below_eight_of_255_where_none_is_known(
    usual: GoodPartRange | None, least: float
) -> None:
    for brightness, code in ((least - 0.1, "dark"), (least, None)):
        fault = visibility_fault(replace(ALIKE, brightness=brightness), usual, 1.0)
        assert (fault and fault[0]) == code


def test_where_all_known_scans_show_one_part_another_is_the_same_one_only_if_it_surely_is() -> None:
    assert USUAL.same_part == SURELY_SAME
