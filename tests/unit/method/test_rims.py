"""The rim of what was measured, and the border of the image: where points lie there, and what they are held to."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from mdss.method.border import BORDER_PX, near_border
from mdss.method.distance_network import SignedDistanceNetwork
from mdss.method.grid import Grid
from mdss.method.recipe import ShapeSettings
from mdss.method.signed_distance import ShapeBranch, measured_around
from mdss.method.usual import CLASSES, Usual
from tests.plates import plate, plate_that_runs_out_of_the_image

PLAIN = ShapeSettings(encoder=(8, 16), code=8, width=16, depth=2, points_per_patch=50)


def test_rims_are_held_to_what_is_usual_where_as_much_around_a_point_was_measured() -> None:
    settings = msgspec.structs.replace(PLAIN, by_rim=True)
    network = SignedDistanceNetwork(PLAIN)
    weighing = SignedDistanceNetwork(settings)
    weighing.load_state_dict(network.state_dict(), strict=False)
    usual = Usual(np.linspace(0.5, 1, CLASSES, dtype=np.float32), np.linspace(2, 1, CLASSES, dtype=np.float32))
    plain = ShapeBranch(weighing, settings, "cpu").examine(plate())  # with ones, which change nothing
    weighing.usual.copy_(torch.from_numpy(usual.stored()))
    weighed = ShapeBranch(weighing, settings, "cpu").examine(plate())
    np.testing.assert_array_equal(plain.distances, ShapeBranch(network, PLAIN, "cpu").examine(plate()).distances)
    around = measured_around(plate())[plain.pixels]
    np.testing.assert_allclose(weighed.distances, plain.distances / usual.at(around), rtol=1e-5)
    assert around.max() > 0.999 and around.min() < 0.7


def test_missing_points_are_held_to_what_is_usual_where_as_much_around_them_was_measured() -> None:
    settings = msgspec.structs.replace(PLAIN, void_weight=1.0, voids_by_rim=True)
    cloud, network = plate(), SignedDistanceNetwork(settings)
    cloud[30:33, 30:33] = np.nan
    torch.nn.init.constant_(network.presence.bias, 3.0)  # points are expected everywhere
    plain = ShapeBranch(network, settings, "cpu").examine(cloud)  # with ones, which change nothing
    usual = Usual(np.linspace(0, 1, CLASSES, dtype=np.float32), np.linspace(1, 3, CLASSES, dtype=np.float32))
    network.void_usual.copy_(torch.from_numpy(usual.stored()))
    weighed = ShapeBranch(network, settings, "cpu").examine(cloud)
    assert plain.surprise.max() > 1
    held = plain.surprise / usual.at(measured_around(cloud)[plain.void_pixels])
    np.testing.assert_allclose(weighed.surprise, held, rtol=5e-3)  # it looks at the part's box, which ends in what voids reach
    np.testing.assert_array_equal(weighed.distances, plain.distances)


def test_points_near_the_border_of_the_image_are_held_to_what_is_usual_so_near_to_it() -> None:
    settings = msgspec.structs.replace(PLAIN, by_border=True)
    cloud = plate_that_runs_out_of_the_image()
    network = SignedDistanceNetwork(settings)
    plain = ShapeBranch(network, settings, "cpu").examine(cloud)  # with ones, which change nothing
    cues, values = np.linspace(0, BORDER_PX, CLASSES, dtype=np.float32), np.linspace(1, 2, CLASSES, dtype=np.float32)
    network.border_usual.copy_(torch.from_numpy(np.stack([cues, values])))
    weighed = ShapeBranch(network, settings, "cpu").examine(cloud)
    rows, columns = np.divmod(plain.pixels, 64)
    middle = (rows >= BORDER_PX) & (rows < 64 - BORDER_PX)
    ratio = (plain.distances / weighed.distances)[middle]
    np.testing.assert_allclose(ratio, 1 + (BORDER_PX - columns[middle]).clip(0) / BORDER_PX, rtol=1e-5)
    assert ratio.max() == pytest.approx(2) and ratio.min() == pytest.approx(1)


def test_how_near_the_border_a_pixel_lies_is_told_on_all_four_sides_and_only_as_far_as_patches_are_cut_off() -> None:
    near = near_border(Grid.filled(64))
    assert (near[0] == BORDER_PX).all() and (near[-1] == BORDER_PX).all() and near[1, 30] == BORDER_PX - 1
    np.testing.assert_array_equal(near, near.T)
    np.testing.assert_array_equal(near, near[::-1])
    with pytest.raises(ValueError, match="read-only"):
        near += 1  # all parts of frames of this shape share it
    assert not near[BORDER_PX : 64 - BORDER_PX, BORDER_PX : 64 - BORDER_PX].any()


def test_the_border_of_an_image_that_is_not_square_lies_where_its_letterbox_begins() -> None:
    near = near_border(Grid(480, 640, 64))  # 48 of 64 rows show the image
    assert (near[:9] == BORDER_PX).all() and (near[55:] == BORDER_PX).all()  # the letterbox, and the image's own first and last row
    np.testing.assert_array_equal(near[8:56, 20:44].max(axis=1), np.r_[np.arange(16, -8, -1), np.arange(-7, 17)].clip(0))
    np.testing.assert_array_equal(near_border(Grid(640, 480, 64)), near.T)


def test_points_near_the_longer_sides_of_an_image_are_held_to_what_is_usual_there() -> None:
    settings = msgspec.structs.replace(PLAIN, by_border=True)
    network, cloud = SignedDistanceNetwork(settings), plate()
    plain = ShapeBranch(network, settings, "cpu").examine(cloud)
    cues, values = np.linspace(0, BORDER_PX, CLASSES, dtype=np.float32), np.linspace(1, 2, CLASSES, dtype=np.float32)
    network.border_usual.copy_(torch.from_numpy(np.stack([cues, values])))
    grid = Grid(400, 640, 64)  # its letterbox ends where the plate begins
    ratio = plain.distances / ShapeBranch(network, settings, "cpu").examine(cloud, grid).distances
    near = near_border(grid).ravel()[plain.pixels]
    assert near.max() == BORDER_PX and near.min() == 0
    np.testing.assert_allclose(ratio, 1 + near / BORDER_PX, rtol=1e-5)


def test_how_much_was_measured_around_a_point_falls_from_all_to_half_at_a_straight_rim() -> None:
    cloud = np.zeros((40, 40, 3), np.float32)
    cloud[:, 20:] = np.nan
    around = measured_around(cloud).reshape(40, 40)[20]
    assert around[5] == pytest.approx(1, abs=1e-3) and around[35] == pytest.approx(0, abs=1e-3)
    assert (around[19] + around[20]) / 2 == pytest.approx(0.5, abs=1e-3) and around[19] > around[20]
