"""Marks for missing points in one coordinate: how far from all others a number is one."""

from __future__ import annotations

import numpy as np
import pytest

from mdss.method.point_cloud import scene_extent
from trainer.missing_marks import mark_in


@pytest.mark.parametrize(("share", "is_mark"), [(0.4, False), (0.6, True)])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_number_is_a_mark_where_it_is_farther_from_all_others_than_half_of_their_extent(side: int, share: float, is_mark: bool) -> None:
    points = np.random.default_rng(0).uniform(-100, 100, (5000, 3)).astype(np.float32)
    extent = scene_extent(points)
    points[::10, 2] = side * (extent / 2 + share * extent)
    found = mark_in(points, np.ones(len(points), np.bool_))
    assert (found is not None) == is_mark
    assert found is None or (found.axis == "z" and found.share == pytest.approx(0.1))
