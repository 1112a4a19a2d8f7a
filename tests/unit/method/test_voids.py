"""Voids: pixels without a point, and where in space the surface beside them would go on."""

from __future__ import annotations

import numpy as np

from mdss.method.voids import REACH_PX, Voids, pixel_steps
from tests.plates import SIZE_PX, plate


def test_a_hole_in_a_plate_is_filled_with_places_on_the_plate() -> None:
    cloud, whole = plate(), plate()
    cloud[20:25, 30:36] = np.nan
    voids = Voids.of(cloud)
    inside = np.isfinite(whole.reshape(-1, 3)[voids.pixels]).all(axis=1)
    assert np.count_nonzero(inside) == 30
    assert np.allclose(voids.places[inside], whole.reshape(-1, 3)[voids.pixels[inside]], atol=1e-4)


def test_voids_reach_some_pixels_beyond_the_rim_and_no_farther() -> None:
    rows, columns = np.divmod(Voids.of(plate()).pixels, SIZE_PX)
    assert (rows.min(), columns.max()) == (12 - REACH_PX, 51 + REACH_PX)


def test_voids_within_a_ball_are_those_that_lie_in_it() -> None:
    cloud = plate(0.0)
    cloud[31, 31] = np.nan
    centres = np.array([[31, 30, 500], [31, 25, 500], [12, 31, 500], [31, 32, 500]], np.float32)
    voids = Voids.of(cloud)
    held = voids.within(centres, np.array([2, 2, 1.2, 2], np.float32))
    assert [voids.places[each].tolist() for each in held] == [[[31, 31, 500]], [], [[11, 31, 500]], [[31, 31, 500]]]


def test_a_cloud_without_gaps_has_no_voids_in_any_ball() -> None:
    rows, columns = np.indices((SIZE_PX, SIZE_PX), dtype=np.float32)
    voids = Voids.of(np.stack([columns, rows, rows * 0], axis=-1))
    assert [len(each) for each in voids.within(np.zeros((2, 3), np.float32), np.ones(2, np.float32))] == [0, 0]


def test_steps_are_those_of_the_grid_and_nothing_where_no_neighbours_were_measured() -> None:
    down, right = pixel_steps(plate(0.2))
    assert np.allclose(down, [0, 1, 0]) and np.allclose(right, [1, 0, 0.2], atol=1e-4)
    beside_a_drop = plate(0.0)
    beside_a_drop[:, 30:, 2] += 40
    assert np.allclose(pixel_steps(beside_a_drop)[1], [1, 0, 0]), "a surface goes on as most of it does"
    lone = plate()
    lone[::2], lone[:, ::2] = np.nan, np.nan
    assert not pixel_steps(lone)[0].any()
    measured = lone[np.isfinite(lone).all(axis=2)]
    assert {tuple(each) for each in Voids.of(lone).places} == {tuple(each) for each in measured}, (
        "then a void lies where its nearest point does"
    )
