"""Parts that come at any angle: eight ways to show each patch, and what is learned from them stays true."""

from __future__ import annotations

import numpy as np

from trainer.symmetries import SYMMETRIES, symmetry_matrix

IMAGE = np.arange(9).reshape(3, 3)


def test_points_are_shown_as_an_image_is_seen_that_is_mirrored_from_the_fourth_on_and_turned_by_quarters() -> None:
    rows, columns = np.indices((3, 3)) - 1
    points, views = np.stack([columns, rows, np.full((3, 3), 7)], axis=-1), set[bytes]()
    for which in range(SYMMETRIES):
        moved = points @ symmetry_matrix(which)
        assert (moved[..., 2] == 7).all()
        seen = np.empty_like(IMAGE)
        seen[moved[..., 1].astype(int) + 1, moved[..., 0].astype(int) + 1] = IMAGE
        np.testing.assert_array_equal(seen, np.rot90(IMAGE[:, ::-1] if which >= 4 else IMAGE, which))
        views.add(seen.tobytes())
    assert len(views) == SYMMETRIES
    np.testing.assert_array_equal(symmetry_matrix(0), np.eye(3))
