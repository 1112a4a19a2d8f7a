"""How high a map reaches around each place: over the part alone, nearer places more, a defect hardly at all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mdss.method.surroundings import REACH_PX, surroundings

Bool = NDArray[np.bool_]


def part(size_px: int = 256) -> Bool:
    mask = np.zeros((size_px, size_px), np.bool_)
    mask[20:150, 40:] = True  # it runs through the image on the right
    return mask


@pytest.mark.parametrize("size_px", [160, 256, 260])
def test_an_even_map_reaches_the_same_around_every_place_wherever_the_part_lies(size_px: int) -> None:
    mask = part(size_px)
    heat = np.where(mask, np.float32(3), np.float32(50))  # what lies beyond the part does not count
    around = surroundings(heat, mask)
    assert around.shape == heat.shape and around.dtype == np.float32
    np.testing.assert_allclose(around[mask], 3, rtol=1e-5)


@pytest.mark.parametrize("step", [150, 230])  # in the middle, and at the image's border, beyond which there is no part
def test_nearer_places_weigh_more_by_the_gaussian_weights_of_its_reach(step: int) -> None:
    mask = part()
    heat = np.where(np.arange(256) < step, np.float32(1), np.float32(2)) * mask
    blurred = [cv2.GaussianBlur(values, (0, 0), REACH_PX, borderType=cv2.BORDER_CONSTANT) for values in (heat, mask.astype(np.float32))]
    around = surroundings(heat, mask)
    np.testing.assert_allclose(around[mask], (blurred[0] / blurred[1])[mask], atol=0.03)  # on a coarser grid, to a 30th of the step
    np.testing.assert_allclose(surroundings(heat.T.copy(), mask.T.copy()), around.T, atol=1e-5)
    if step == 150:
        assert around[80, 60] < 1.1 and around[80, 250] > 1.9 and 1.4 < around[80, 150] < 1.6


def test_a_defect_does_not_raise_its_own_surroundings() -> None:
    mask = part()
    plain = np.where(mask, np.random.default_rng(0).uniform(1, 2, mask.shape), 0).astype(np.float32)
    defective = plain.copy()
    defective[80:90, 100:110] = 1000
    ratio = surroundings(defective, mask)[mask] / surroundings(plain, mask)[mask]
    assert ratio.max() < 1.02


def test_far_from_the_part_nothing_is_reached() -> None:
    mask = np.zeros((1024, 1024), np.bool_)
    mask[:40, :40] = True
    around = surroundings(mask.astype(np.float32), mask)
    assert np.isfinite(around).all() and around[-1, -1] == 0
