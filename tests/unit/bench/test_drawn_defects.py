"""Drawn defects: where the truth says so the part is another, elsewhere it is as it was, and each shows where it says."""

from __future__ import annotations

import numpy as np
import pytest

from bench.drawn_defects import (
    COPIES,
    KINDS,
    PIECE_PX,
    RIM,
    STAIN_OPACITY,
    PieceMove,
    ShapeKind,
    level_of,
    with_drawn_defects,
    with_moved_piece,
    with_moved_pieces,
    with_pieces_moved_in_both,
    with_shape_defect,
    with_stain,
)
from mdss.method.grid import all_three
from mdss.method.point_cloud import Prepared, prepare
from mdss.method.recipe import PointCloudSettings
from mdss.method.viewing import away_from_camera
from tests.plates import plate
from trainer.synthetic_camera import View
from trainer.synthetic_scan import draw_scan


@pytest.fixture(scope="module")
def part() -> Prepared:
    scan = draw_scan("flange", "good", View(), [3])
    return prepare(scan.rgb, scan.xyz_mm, PointCloudSettings())


@pytest.mark.parametrize("kind", KINDS)
def test_a_misshapen_place_is_where_the_truth_says_and_nothing_else_moves(kind: ShapeKind) -> None:
    cloud = plate(0.2)
    found, truth = with_shape_defect(cloud, kind, np.random.default_rng(5))
    assert truth.any() and not truth.all()
    assert np.array_equal(found[~truth], cloud[~truth], equal_nan=True)
    moved = ((found - cloud) @ away_from_camera(cloud))[truth]
    if kind == "hole":
        assert np.isnan(moved).all()
    else:
        assert np.abs(moved).max() > 0.1
        assert (moved.max() > 1e-4) == (kind in ("dent", "tilted piece")) and (moved.min() < -1e-4) == (kind in ("bump", "ridge"))


@pytest.mark.parametrize("kind", KINDS)
def test_misshapen_places_are_of_many_sizes_lie_where_points_are_and_are_higher_where_pixels_are_further_apart(kind: ShapeKind) -> None:
    cloud, sizes = plate(0.2), list[int]()
    cloud[:, : len(cloud) // 2] = np.nan
    for seed in range(16):
        found, truth = with_shape_defect(cloud, kind, np.random.default_rng(seed))
        larger, same_truth = with_shape_defect(2 * cloud, kind, np.random.default_rng(seed))
        np.testing.assert_allclose(larger, 2 * found, atol=1e-3)
        assert truth.any() and not truth[:, : len(cloud) // 2].any() and np.array_equal(truth, same_truth)
        sizes.append(int(np.count_nonzero(truth)))
    assert max(sizes) > 2 * min(sizes)


def test_a_tilted_piece_sinks_over_more_than_half_of_its_width() -> None:
    cloud = plate(0.2)
    found, truth = with_shape_defect(cloud, "tilted piece", np.random.default_rng(5))
    assert 0.55 < np.mean(np.abs(found - cloud)[truth].max(axis=1) > 1e-4) < 0.8


def test_the_level_of_a_place_is_that_of_its_own_points() -> None:
    rows, columns = np.mgrid[:64, :64].astype(np.float32)
    cloud = np.dstack([columns, rows, np.where(columns < 32, 400 + columns, 500 - rows)])
    cloud[:8] = np.nan
    np.testing.assert_allclose(level_of(cloud, columns < 32)[..., 2], 400 + columns, atol=1e-3)


@pytest.mark.parametrize("seed", range(16))
def test_stains_and_moved_pieces_are_wrong_on_the_part_alone(part: Prepared, seed: int) -> None:
    random, beside = np.random.default_rng(seed), ~part.mask
    truths = [draw(part.rgb, part.mask, random)[1] for draw in (with_stain, with_moved_piece)]
    truths += [copy.truth for copy in with_pieces_moved_in_both(part, random)]
    assert all(truth.any() and not truth[beside].any() for truth in truths)
    move, white = PieceMove.on(part.mask, random), np.full_like(part.rgb, 255)
    assert part.mask[int(move.row), int(move.column)] and part.mask[int(move.from_row), int(move.from_column)]
    assert with_stain(white, part.mask, random)[0].min() >= 255 * (1 - STAIN_OPACITY[1]) - 1, "what is below shines through"


def test_a_stain_lies_on_the_part_and_changes_colours_there() -> None:
    rgb = np.full((64, 64, 3), 120, np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    found, truth = with_stain(rgb, mask, np.random.default_rng(1))
    assert truth.any() and not truth[~mask].any()
    assert (found[truth] != 120).any(axis=-1).all()
    assert np.count_nonzero((found != 120).any(axis=-1)) < 400


def test_a_moved_piece_shows_the_part_where_it_is_another_and_leaves_the_rest() -> None:
    columns = np.arange(64, dtype=np.uint8) * 3
    rgb = np.broadcast_to(columns[None, :, None], (64, 64, 3)).copy()
    mask = np.zeros((64, 64), bool)
    mask[12:52, 12:52] = True
    found, truth = with_moved_piece(rgb, mask, np.random.default_rng(1))
    changed = (found != rgb).any(axis=-1)
    assert truth.any() and not truth[~mask].any()
    assert np.mean(changed[truth]) > 0.9
    assert np.count_nonzero(changed) < 4 * (PIECE_PX[1] * (1 + RIM)) ** 2
    assert found.max() <= rgb.max() and len(np.unique(found[truth])) > 2  # detail of the part, not one colour


def test_copies_with_a_moved_piece_keep_the_cloud(part: Prepared) -> None:
    copies = list(with_moved_pieces(part, np.random.default_rng(2)))
    assert [copy.shows_in for copy in copies] == [("rgb",)] * COPIES
    for copy in copies:
        assert not np.array_equal(copy.part.rgb, part.rgb) and np.array_equal(copy.part.xyz, part.xyz, equal_nan=True)
        assert copy.part.grid.to_original(copy.truth.astype(np.float32)).shape == copy.truth.shape


def test_a_piece_moved_in_both_shows_at_the_same_place_in_image_and_cloud(part: Prepared) -> None:
    copies = list(with_pieces_moved_in_both(part, np.random.default_rng(2)))
    assert [copy.shows_in for copy in copies] == [("rgb", "sdf")] * COPIES
    for copy in copies:
        assert not np.array_equal(copy.part.rgb, part.rgb)
        moved = ~all_three(np.isclose(copy.part.xyz, part.xyz, atol=1e-3, equal_nan=True))
        assert moved.any() and not moved[~copy.truth].any()
        assert copy.part.grid.to_original(copy.truth.astype(np.float32)).shape == copy.truth.shape


def test_a_moved_piece_takes_its_heights_and_its_gaps_along_and_lies_on_the_plane_that_it_covers() -> None:
    slope, step, size = np.array([0.3, 0.1]), 2.0, 96
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    flat = 400 + slope[0] * columns + slope[1] * rows
    cloud = np.dstack([columns, rows, flat - step * ((columns // 4) % 2)]).astype(np.float32)  # grooves along the columns
    cloud[20:23, 20:23] = np.nan
    cloud[50:, 50:, 2] = flat[50:, 50:]
    found = PieceMove(row=70, column=70, from_row=21, from_column=21, turn_deg=90, radius_px=8).in_cloud(cloud)
    covered = np.hypot(rows - 70, columns - 70) < 8
    assert np.array_equal(found[~covered], cloud[~covered], equal_nan=True)
    assert np.count_nonzero(np.isnan(found[covered]).any(axis=1)) == 9
    heights = np.where(covered, (found - cloud)[..., 2], np.nan)[64:77, 64:77]
    from_row_to_row, from_column_to_column = (np.std(np.nanmean(heights, axis=axis)) for axis in (1, 0))
    assert from_row_to_row > 0.5 and from_column_to_column < 0.2, "turned by a right angle, the grooves lie along the rows"
    assert abs(np.nanmean(heights)) < 0.2


def test_a_piece_from_the_rim_of_the_image_goes_on_as_in_a_mirror_and_its_cloud_ends_there() -> None:
    rows, columns = np.mgrid[:64, :64].astype(np.float32)
    rgb, cloud = np.dstack([90 + rows] * 3).astype(np.uint8), np.dstack([columns, rows, 400 + 0 * rows])
    move = PieceMove(row=40, column=30, from_row=1, from_column=30, turn_deg=0, radius_px=8)
    from_rows, reach = rows - 39, np.hypot(rows - 40, columns - 30) / 8
    mirrored = np.where(from_rows < 0, -1 - from_rows, from_rows)
    inside = reach < 1 - RIM
    assert np.array_equal(move.in_image(rgb)[inside, 0], (90 + mirrored)[inside])
    found = move.in_cloud(cloud)
    assert np.array_equal(np.isnan(found).any(axis=2), (reach < 1) & (from_rows < 0))


def test_copies_show_a_defect_in_one_branch_and_leave_the_other_what_it_was(part: Prepared) -> None:
    copies = list(with_drawn_defects(part, np.random.default_rng(2)))
    assert [copy.shows_in for copy in copies] == [("sdf",), ("rgb",)] * COPIES
    for copy in copies:
        is_shape = copy.shows_in == ("sdf",)
        assert np.array_equal(copy.part.rgb, part.rgb) == is_shape
        assert np.array_equal(copy.part.xyz, part.xyz, equal_nan=True) != is_shape
        assert copy.part.grid.to_original(copy.truth.astype(np.float32)).shape == copy.truth.shape


def test_the_same_seed_draws_the_same(part: Prepared) -> None:
    once, again = ([copy.part.xyz for copy in with_drawn_defects(part, np.random.default_rng(4))] for _ in range(2))
    assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(once, again, strict=True))
