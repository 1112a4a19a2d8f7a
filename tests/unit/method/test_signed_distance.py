"""The shape branch: every point is judged, overlaps are merged as asked, what is learned is a distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mdss.method.patches import Patches
from mdss.method.recipe import Recipe, ShapeSettings
from mdss.method.signed_distance import PartPoints, ShapeBranch, SignedDistanceNetwork, counted, merge, to_map
from mdss.method.weights import write_weights
from trainer.train_sdf import draw, normals_of, regression_loss, target, training_cloud

SIZE_PX = 64
SMALL = ShapeSettings(encoder=(8, 16), code=8, width=16, depth=2, points_per_patch=50, blur_px=0, queries=20, batch=4)


def plate(tilt: float = 0.2) -> NDArray[np.float32]:
    """Return an organised tilted plate of 40 x 40 px, one point per mm, in the middle of nothing."""
    rows, columns = np.indices((SIZE_PX, SIZE_PX), dtype=np.float32)
    cloud = np.stack([columns, rows, 500 + tilt * columns], axis=-1)
    cloud[:12], cloud[52:], cloud[:, :12], cloud[:, 52:] = np.nan, np.nan, np.nan, np.nan
    return cloud


@pytest.fixture(scope="module")
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


def test_millimetres_are_the_patch_scale_times_its_length(network: SignedDistanceNetwork) -> None:
    patches = np.random.default_rng(0).random((3, 50, 3)).astype(np.float32) * 7
    settings = ShapeSettings(**{**{name: getattr(SMALL, name) for name in SMALL.__struct_fields__}, "score_unit": "mm"})
    lengths = np.ptp(patches, axis=1).max(axis=1)
    share, millimetres = (ShapeBranch(network, each, "cpu").distances(patches) for each in (SMALL, settings))
    assert np.allclose(millimetres, share * lengths[:, None])


@pytest.mark.parametrize(("overlap", "expected"), [("min", [1, 2, 4]), ("mean", [1, 2.5, 4])])
def test_a_point_in_two_patches_has_the_smaller_or_the_mean_distance(overlap: str, expected: list[float]) -> None:
    found = merge(np.array([[1, 2], [3, 4]], np.float32), Patches(np.array([[0, 1], [1, 2]])), 3, overlap)
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
    assert counted(torch.tensor([2.0, -3.0]), sign).tolist() == expected


def test_splitting_the_first_layer_is_one_layer_on_code_and_point_side_by_side(network: SignedDistanceNetwork) -> None:
    patches, queries = torch.rand(2, 50, 3), torch.rand(2, 7, 3)
    with torch.no_grad():
        codes = network.encoder(network.waves(patches))[:, None].expand(-1, 7, -1)
        joint = torch.cat([network.from_code.weight, network.from_point.weight], dim=1)
        x = torch.relu(torch.cat([codes, network.waves(queries)], dim=2) @ joint.T + network.from_code.bias)
        for layer in network.hidden:
            x = torch.relu(layer(x))
        assert torch.allclose(network.last(x)[..., 0], network(patches, queries), atol=1e-6)


def test_an_untrained_network_says_that_everything_lies_on_the_surface(network: SignedDistanceNetwork) -> None:
    with torch.no_grad():
        assert network(torch.rand(2, 50, 3), torch.rand(2, 50, 3)).abs().max() < 0.1


def test_normals_all_look_to_the_viewers_side_of_a_tilted_plate() -> None:
    cloud = plate(tilt=0.5)
    normals = normals_of(PartPoints.of(cloud).points, cloud)
    expected = np.array([-0.5, 0, 1]) / np.hypot(0.5, 1)
    assert np.allclose(normals, expected, atol=1e-3)


def test_a_cloud_without_neighbours_on_the_grid_has_normals_on_one_side_too() -> None:
    cloud = plate(tilt=0.5)
    cloud[::2] = np.nan
    normals = normals_of(PartPoints.of(cloud).points, cloud)
    assert np.allclose(normals, np.array([-0.5, 0, 1]) / np.hypot(0.5, 1), atol=1e-3)


def test_the_target_is_the_signed_distance_to_the_plane_at_the_nearest_point() -> None:
    patches = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    normals = torch.tensor([[[0.0, 0, 1]] * 3])
    batch = target(patches, normals, torch.tensor([[[0.1, 0, 0.3], [0.9, 0.1, -0.2]]]))
    assert torch.allclose(batch.distances, torch.tensor([[0.3, -0.2]]))
    assert torch.equal(batch.nearest, patches[:, :2])


def test_a_short_training_learns_distances_to_a_plate() -> None:
    torch.manual_seed(0)
    learner = SignedDistanceNetwork(SMALL)
    recipe = Recipe(sdf=SMALL)
    clouds = [training_cloud(plate(tilt), SMALL) for tilt in (-0.3, 0.0, 0.3)]
    optimiser = torch.optim.Adam(learner.parameters(), 5e-3)
    losses = []
    for step in range(200):
        loss = regression_loss(learner, draw(clouds, recipe, step), "cpu")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])


def test_a_saved_branch_scores_as_before(network: SignedDistanceNetwork, tmp_path: Path) -> None:
    write_weights(network, tmp_path / "sdf.safetensors")
    before = ShapeBranch(network, SMALL, "cpu").score_map(plate())
    assert np.array_equal(ShapeBranch.load(tmp_path, Recipe(sdf=SMALL), "cpu").score_map(plate()), before)
