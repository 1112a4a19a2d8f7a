"""The shape branch: every point is judged, overlaps are merged as asked, what is learned is a distance."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
import torch

from mdss.method import signed_distance
from mdss.method.checkerboard import AskedPixels, askable_pixels
from mdss.method.distance_network import Prediction, SignedDistanceNetwork
from mdss.method.recipe import AskedAt, Recipe, ShapeSettings
from mdss.method.signed_distance import (
    PartBox,
    PartPoints,
    PartReading,
    ShapeBranch,
    merged_distances,
    pieces,
    to_map,
    unsigned,
)
from mdss.method.weights import write_weights
from tests.plates import SIZE_PX, plate

SMALL = ShapeSettings(encoder=(8, 16), code=8, width=16, depth=2, points_per_patch=50, blur_px=0, void_weight=0, score_unit="scale")


@pytest.fixture
def network() -> SignedDistanceNetwork:
    torch.manual_seed(0)
    return SignedDistanceNetwork(SMALL)


def test_the_map_has_a_value_at_every_point_and_none_elsewhere(network: SignedDistanceNetwork) -> None:
    cloud = plate()
    heat = ShapeBranch(network, SMALL, "cpu").score_map(cloud)
    assert heat.shape == (SIZE_PX, SIZE_PX)
    assert np.array_equal(heat > 0, np.isfinite(cloud).all(axis=2))


def test_the_order_and_place_of_the_cloud_do_not_matter(network: SignedDistanceNetwork) -> None:
    branch = ShapeBranch(network, SMALL, "cpu")
    rough = plate() + np.random.default_rng(0).normal(0, 0.2, (SIZE_PX, SIZE_PX, 3)).astype(np.float32)  # no two distances are equal
    moved = rough + np.array([30, -20, 100], np.float32)
    assert np.allclose(branch.score_map(moved), branch.score_map(rough), atol=2e-4)
    turned = rough * np.array([1, -1, -1], np.float32)  # about x: seen from where z is positive
    assert np.allclose(branch.score_map(turned), branch.score_map(rough), atol=2e-4)


def test_millimetres_are_the_patch_scale_times_its_length(network: SignedDistanceNetwork) -> None:
    fixed = msgspec.structs.replace(SMALL, scale="fixed", fixed_scale_mm=7.0)
    share = ShapeBranch(network, fixed, "cpu").score_map(plate())
    millimetres = ShapeBranch(network, msgspec.structs.replace(fixed, score_unit="mm"), "cpu").score_map(plate())
    assert np.allclose(millimetres, share * 7, rtol=1e-5)


def test_usual_millimetres_are_the_patch_scale_times_what_patches_of_good_parts_measure(network: SignedDistanceNetwork) -> None:
    share = ShapeBranch(network, SMALL, "cpu").score_map(plate())
    network.patch_mm.fill_(6.0)
    millimetres = ShapeBranch(network, msgspec.structs.replace(SMALL, score_unit="usual_mm"), "cpu").score_map(plate())
    assert np.allclose(millimetres, share * 6, rtol=1e-5)


@pytest.mark.parametrize(("overlap", "expected"), [("min", [1, 1, 4]), ("mean", [1, 0.5, 4]), ("mean_size", [1, 1.5, 4])])
def test_patches_agree_on_one_distance_of_a_point(overlap: Literal["min", "mean", "mean_size"], expected: list[float]) -> None:
    said, of = torch.tensor([-1.0, -1.0, 4.0, 2.0]), torch.tensor([0, 1, 2, 1])
    found = merged_distances(said, of, 3, msgspec.structs.replace(SMALL, overlap=overlap))
    assert found.tolist() == expected


def test_missing_pixels_count_as_nothing_or_take_the_mean_of_those_around() -> None:
    everywhere = np.ones((32, 32), bool)
    everywhere[14:17, 14:17], everywhere[:, 26:] = False, False
    pixels = np.flatnonzero(everywhere)
    values = np.ones(len(pixels), np.float32)
    pulled = to_map(values, pixels, 32, ShapeSettings(blur_px=2, missing="zero"))
    filled = to_map(values, pixels, 32, ShapeSettings(blur_px=2, missing="ignore"))
    assert pulled[15, 15] < 0.8
    assert filled[15, 15] == pytest.approx(1)
    assert np.allclose(filled.ravel()[pixels], 1, atol=1e-5)
    assert not filled[:, 31].any()


def test_the_peak_may_stay_as_it_was_before_the_blur() -> None:
    values, pixels = np.array([1.0, 3.0, 1.0], np.float32), np.array([10 * 32 + 10, 10 * 32 + 11, 20 * 32 + 5])
    soft, kept = (to_map(values, pixels, 32, ShapeSettings(blur_px=2, keep_peak=keep)) for keep in (False, True))
    assert soft.max() < 0.5
    assert (kept[10, 11], kept.max()) == (3, 3)
    assert np.count_nonzero(kept != soft) == 1


@pytest.mark.parametrize(("sign", "expected"), [("both", [2, 3]), ("positive", [2, 0]), ("negative", [0, 3])])
def test_one_side_of_the_surface_may_count_alone(sign: str, expected: list[float]) -> None:
    assert unsigned(torch.tensor([2.0, -3.0]), sign).tolist() == expected


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (3, [4]), (4, [4]), (7, [8]), (8, [8]), (18, [8, 8, 4])])
def test_pieces_hold_every_number_and_have_few_sizes(count: int, sizes: list[int]) -> None:
    found = list(pieces(count, 8, 4))
    assert [len(each) for each in found] == sizes
    assert sorted({int(number) for each in found for number in each}) == list(range(count))


@pytest.mark.parametrize("at_once", [512, 1024, 10_240])
def test_how_many_are_asked_at_once_changes_nothing(network: SignedDistanceNetwork, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    cloud = plate()
    cloud[30:33, 30:33] = np.nan
    torch.nn.init.constant_(network.presence.bias, 3.0)
    settings = msgspec.structs.replace(SMALL, void_weight=1.0, asked_in=2)
    usual = ShapeBranch(network, settings, "cpu").examine(cloud)
    monkeypatch.setattr(signed_distance, "AT_ONCE_IN_FLOAT", at_once)
    other = ShapeBranch(network, settings, "cpu").examine(cloud)
    assert np.allclose(other.distances, usual.distances, atol=1e-6)
    assert np.allclose(other.surprise, usual.surprise, atol=1e-6)


@pytest.mark.parametrize("count", [1, 45, 49, 51, 400])
def test_with_a_blind_spot_every_point_of_the_smallest_part_has_a_value(count: int) -> None:
    torch.manual_seed(0)
    settings = msgspec.structs.replace(SMALL, blind_spot=49, asked_in=1)
    cloud = plate()
    cloud.reshape(-1, 3)[np.flatnonzero(np.isfinite(cloud).all(axis=2))[count:]] = np.nan
    heat = ShapeBranch(SignedDistanceNetwork(settings), settings, "cpu").score_map(cloud)
    assert np.array_equal(heat > 0, np.isfinite(cloud).all(axis=2))


def test_missing_points_count_as_much_as_the_network_was_told() -> None:
    torch.manual_seed(0)
    learner = SignedDistanceNetwork(SMALL)
    torch.nn.init.constant_(learner.presence.bias, 3.0)  # a point is expected everywhere
    settings = msgspec.structs.replace(SMALL, void_weight=1.0)
    cloud = plate()
    cloud[30:33, 30:33] = np.nan
    branch = ShapeBranch(learner, settings, "cpu")
    surface, missing = branch.maps(branch.examine(cloud), SIZE_PX)
    assert missing[31, 31] > 1 and surface[31, 31] == 0
    assert not missing[~np.isnan(cloud[..., 0])].any()
    learner.void_unit.fill_(0.5)
    assert np.allclose(ShapeBranch(learner, settings, "cpu").score_map(cloud), np.maximum(surface, 0.5 * missing))


def test_every_point_is_read_in_as_many_patches_as_the_recipe_says(network: SignedDistanceNetwork) -> None:
    cloud = plate()
    cloud[30:33, 30:33] = np.nan
    torch.nn.init.normal_(network.presence.weight, std=1.0)
    torch.nn.init.constant_(network.presence.bias, 3.0)  # points are expected, here more and there less
    found = {}
    for most in (None, 1, 2, 1000):
        settings = msgspec.structs.replace(SMALL, void_weight=1.0, density=4.0, asked_in=most)
        found[most] = ShapeBranch(network, settings, "cpu").examine(cloud)
        assert (found[most].distances > 0).all()  # a point that no patch was asked about would have 0
    assert np.array_equal(found[1000].distances, found[None].distances)
    assert np.array_equal(found[1000].surprise, found[None].surprise)
    assert not np.allclose(found[1].distances, found[None].distances)
    assert not np.allclose(found[2].distances, found[1].distances)
    assert not np.allclose(found[1].surprise, found[None].surprise)
    assert not np.allclose(found[2].surprise, found[1].surprise)
    settings = msgspec.structs.replace(SMALL, void_weight=1.0, density=4.0, asked_in=2, void_overlap="log_odds")
    in_log_odds = ShapeBranch(network, settings, "cpu").examine(cloud)
    assert np.array_equal(in_log_odds.distances, found[2].distances)
    assert not np.allclose(in_log_odds.surprise, found[2].surprise, atol=1e-2)


def test_the_patch_with_the_nearest_centre_may_decide_alone(network: SignedDistanceNetwork) -> None:
    alone, overlap = (
        ShapeBranch(network, changed, "cpu").examine(plate()).distances
        for changed in (msgspec.structs.replace(SMALL, asked_in=1), msgspec.structs.replace(SMALL, overlap="nearest_centre"))
    )
    assert np.array_equal(alone, overlap)


@pytest.mark.parametrize("overlap", ["mean", "min"])
def test_on_a_checkerboard_half_is_asked_about_and_the_others_take_the_mean_of_those_beside_them(
    network: SignedDistanceNetwork, overlap: Literal["mean", "min"], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.nn.init.normal_(network.distance.weight, std=0.3)
    torch.nn.init.normal_(network.presence.weight, std=1.0)
    torch.nn.init.constant_(network.presence.bias, 3.0)
    cloud, queries, ask = plate(), list[int](), SignedDistanceNetwork.predict_each
    cloud[30:36, 30:36] = np.nan
    cloud[5, 40] = cloud[20, 20]  # beside no other pixel with a point

    def noted(self: SignedDistanceNetwork, halves: torch.Tensor, places: torch.Tensor) -> Prediction:
        queries.append(len(places))
        return ask(self, halves, places)

    def read(asked_at: AskedAt) -> tuple[PartReading, int]:
        queries.clear()
        settings = msgspec.structs.replace(SMALL, void_weight=1.0, asked_at=asked_at, overlap=overlap)
        return ShapeBranch(network, settings, "cpu").examine(cloud), sum(queries)

    monkeypatch.setattr(SignedDistanceNetwork, "predict_each", noted)
    (whole, all_queries), (board, half_queries) = read("every_pixel"), read("checkerboard")
    assert half_queries < 0.55 * all_queries
    wanted = askable_pixels(int(whole.pixels[0]), (SIZE_PX, SIZE_PX), "checkerboard")
    for pixels, exact, found in ((whole.pixels, whole.distances, board.distances), (whole.void_pixels, whole.surprise, board.surprise)):
        asked = AskedPixels.of(pixels, wanted)
        assert exact.std() > 0.1 * exact.mean()
        assert np.allclose(found, asked.interpolated(exact[asked.chosen]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("void_weight", [0.0, 1.0])
def test_on_a_checkerboard_the_map_is_nearly_the_same(network: SignedDistanceNetwork, void_weight: float) -> None:
    torch.nn.init.normal_(network.distance.weight, std=0.3)
    settings = msgspec.structs.replace(SMALL, void_weight=void_weight, blur_px=4.0)
    whole, board = (
        ShapeBranch(network, changed, "cpu").score_map(plate())
        for changed in (settings, msgspec.structs.replace(settings, asked_at="checkerboard"))
    )
    assert not np.array_equal(board, whole)
    assert np.abs(board - whole).max() < 0.05 * whole.max()


@pytest.mark.parametrize("asked_at", ["every_pixel", "checkerboard"])
def test_a_part_has_the_same_map_wherever_its_box_is_cut_from_the_grid(network: SignedDistanceNetwork, asked_at: AskedAt) -> None:
    cloud, branch = plate(), ShapeBranch(network, msgspec.structs.replace(SMALL, void_weight=1.0, asked_at=asked_at), "cpu")
    cloud[20:24, 30:33] = np.nan
    aside = np.full_like(cloud, np.nan)
    aside[:, :53] = cloud[:, 11:]
    in_the_corner, in_the_middle = branch.examine(aside), branch.examine(cloud)
    assert np.array_equal(in_the_corner.distances, in_the_middle.distances)
    assert np.array_equal(in_the_corner.pixels, in_the_middle.pixels - 11)
    heat = branch.score_map(cloud)
    assert np.array_equal(branch.score_map(aside)[:, 9:44], heat[:, 20:55])


def test_a_cutting_holds_every_point_and_what_voids_reach_and_knows_their_pixels() -> None:
    cloud = plate()
    box = PartBox.around(cloud)
    assert box.xyz.shape == (56, 56, 3)
    assert np.array_equal(box.to_grid(PartPoints.of(box.xyz).pixels), PartPoints.of(cloud).pixels)


def test_a_saved_branch_scores_as_before(network: SignedDistanceNetwork, tmp_path: Path) -> None:
    write_weights(network, tmp_path / "sdf.safetensors")
    before = ShapeBranch(network, SMALL, "cpu").score_map(plate())
    assert np.array_equal(ShapeBranch.load(tmp_path, Recipe(sdf=SMALL), "cpu").score_map(plate()), before)


def test_a_branch_scores_with_a_copy_that_its_network_does_not_notice() -> None:
    learner = SignedDistanceNetwork(SMALL)
    ShapeBranch(learner, SMALL, "cpu")
    assert {value.dtype for value in learner.state_dict().values()} == {torch.float32}
