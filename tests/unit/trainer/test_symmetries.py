"""Parts that come at any angle: eight ways to show each, and what is learned from them stays true."""

from __future__ import annotations

import numpy as np

from trainer.symmetries import SYMMETRIES, apply_symmetry, symmetry_matrix

IMAGE = np.arange(9).reshape(3, 3)


def test_an_image_has_eight_views_of_which_the_first_is_itself() -> None:
    views = [apply_symmetry(IMAGE, which) for which in range(SYMMETRIES)]
    np.testing.assert_array_equal(views[0], IMAGE)
    assert len({view.tobytes() for view in views}) == SYMMETRIES
    assert all(view[1, 1] == IMAGE[1, 1] and sorted(view.ravel()) == list(range(9)) for view in views)
    np.testing.assert_array_equal(apply_symmetry(np.stack([IMAGE, IMAGE + 9]), 5)[1], views[5] + 9)


def test_points_are_shown_as_the_image_is_seen_from_where_it_was() -> None:
    rows, columns = np.indices((3, 3)) - 1
    points = np.stack([columns, rows, np.full((3, 3), 7)], axis=-1)
    for which in range(SYMMETRIES):
        moved = points @ symmetry_matrix(which)
        assert (moved[..., 2] == 7).all()
        seen = np.empty_like(IMAGE)
        seen[moved[..., 1].astype(int) + 1, moved[..., 0].astype(int) + 1] = IMAGE
        np.testing.assert_array_equal(seen, apply_symmetry(IMAGE, which))
