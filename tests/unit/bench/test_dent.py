"""A dent of known depth: where it is pushed in, how deep, and that nothing else of the part moves."""

from __future__ import annotations

import numpy as np
import pytest

from bench.dent import dent
from mdss.errors import BadInput
from mdss.method.viewing import away_from_camera
from tests.plates import plate


@pytest.mark.parametrize("depth_mm", [0.1, 0.5])
def test_a_dent_is_as_deep_as_asked_in_the_middle_and_nothing_outside_its_radius_moves(depth_mm: float) -> None:
    cloud = plate(0.2)
    moved = (dent(cloud, depth_mm, 4.0, np.random.default_rng(3)) - cloud) @ away_from_camera(cloud)
    changed = np.abs(np.nan_to_num(moved)) > 1e-4
    assert np.nanmax(moved) == pytest.approx(depth_mm, abs=1e-3)
    assert np.nanmin(moved) > -1e-4
    assert 5 < np.count_nonzero(changed) < np.pi * 5**2
    assert np.array_equal(np.isnan(moved), np.isnan(cloud[..., 0]))


def test_a_part_whose_edges_leave_no_place_for_a_dent_is_refused() -> None:
    cloud = plate(0.2)
    cloud[::2, :, 2] += 10
    with pytest.raises(BadInput, match="--radius-mm 4: found no place of that size without an edge"):
        dent(cloud, 0.5, 4.0, np.random.default_rng(3))
