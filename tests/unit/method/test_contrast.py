"""Contrast: how steep brightness is on the part, whatever lies beside it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mdss.method.contrast import contrast

SIZE_PX = 64
WHOLE = np.ones((SIZE_PX, SIZE_PX), np.bool_)


def grey(levels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return an image (S, S, 3) of these levels."""
    return np.repeat(np.asarray(levels, np.uint8)[..., None], 3, axis=2)


def test_the_contrast_of_a_ramp_is_its_slope_in_whatever_direction_it_rises() -> None:
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX]
    for ramp in (2 * columns, 126 - 2 * rows):
        assert contrast(grey(ramp), WHOLE)[32, 32] == pytest.approx(2.0, abs=1e-3)
    assert contrast(grey(2 * columns + 1 * rows), WHOLE)[32, 32] == pytest.approx(np.hypot(2, 1), abs=1e-3)


def test_a_slope_counts_in_full_up_to_the_rim_of_the_part_and_fades_to_nothing_far_from_it() -> None:
    mask = np.zeros_like(WHOLE)
    mask[:, 16:32] = True
    found = contrast(grey(np.mgrid[:SIZE_PX, : 2 * SIZE_PX : 2][1]), mask)
    assert found[mask] == pytest.approx(2.0, abs=1e-3)
    assert 0 < found[32, 42] < 0.5 and found[:, 60:].max() < 0.01


def test_the_contrast_of_a_line_is_that_of_its_surroundings_not_of_its_pixel() -> None:
    line = contrast(grey(np.where(np.arange(SIZE_PX) == 32, 200, 100) + np.zeros((SIZE_PX, 1))), WHOLE)[32]
    assert line.argmax() == 32 and (np.diff(line[32:48]) < 0).all()  # at the pixel itself the slope is 0


def test_what_lies_beside_the_part_lends_it_no_contrast() -> None:
    mask = np.zeros_like(WHOLE)
    mask[:, :32] = True
    busy = np.random.default_rng(0).integers(0, 255, (SIZE_PX, SIZE_PX))
    beside = np.where(np.arange(SIZE_PX) > 32, busy, 90)  # a column on: the filter sees one pixel beyond the rim
    assert contrast(grey(beside), mask)[mask].max() == 0
    assert contrast(grey(np.where(np.arange(SIZE_PX) < 20, busy, 90)), mask)[mask].max() > 10
