"""The training of the shape branch: targets, batches, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.method.border import BORDER_PX, near_border
from mdss.method.distance_network import Prediction, SignedDistanceNetwork
from mdss.method.grid import Grid
from mdss.method.point_cloud import Prepared
from mdss.method.presets import preset
from mdss.method.recipe import Recipe, ShapeSettings
from mdss.method.signed_distance import ShapeBranch, measured_around
from mdss.method.usual import Usual
from tests.plates import SIZE_PX, plate, plate_that_runs_out_of_the_image
from trainer import train_sdf
from trainer.shape_batch import GOOD_SHARE, OFF_SURFACE, _jitter, draw, example_of
from trainer.train_sdf import (
    DISTANCE_WEIGHT,
    LEAST_EVIDENCE,
    MOST_USUAL,
    PRESENCE_WEIGHT,
    measure_usual,
    pull_loss,
    regression_loss,
    train_shape,
    weigh_voids,
)
from trainer.training_cloud import TrainingCloud

SMALL = ShapeSettings(encoder=(8, 16), code=8, width=16, depth=2, points_per_patch=50, blur_px=0, queries=20, batch=4)


def cloud_of(settings: ShapeSettings, tilt: float = 0.2, seed: int = 0) -> TrainingCloud:
    return TrainingCloud.of(plate(tilt), settings, np.random.default_rng(seed))


def plate_part(cloud: NDArray[np.float32] | None = None) -> Prepared:
    xyz = plate() if cloud is None else cloud
    size = len(xyz)
    return Prepared(np.zeros((size, size, 3), np.uint8), xyz, np.isfinite(xyz[..., 2]), Grid.filled(size), 0.0, has_table=True)


def test_normals_all_look_to_the_viewers_side_of_a_tilted_plate() -> None:
    expected = np.array([-0.5, 0, 1]) / np.hypot(0.5, 1)
    assert np.allclose(cloud_of(SMALL, 0.5).normals, expected, atol=1e-3)


def test_a_cloud_without_neighbours_on_the_grid_has_normals_on_one_side_too() -> None:
    lone = plate(0.5)
    lone[::2] = np.nan
    cloud = TrainingCloud.of(lone, SMALL, np.random.default_rng(0))
    assert np.allclose(cloud.normals, np.array([-0.5, 0, 1]) / np.hypot(0.5, 1), atol=1e-3)


def test_the_target_is_the_signed_distance_to_the_plane_at_the_nearest_point() -> None:
    cloud = cloud_of(SMALL, 0.0)
    distances, nearest = cloud.distances(np.array([[30.1, 30, 500.3], [20.4, 20.1, 499.8]], np.float32))
    assert np.allclose(distances, [0.3, -0.2], atol=1e-3)
    assert np.allclose(nearest, [[30, 30, 500], [20, 20, 500]])


def test_a_batch_of_a_plate_asks_for_the_height_above_it_in_patch_lengths() -> None:
    batch = draw([cloud_of(msgspec.structs.replace(SMALL, damaged_copies=0), 0.0)], Recipe(sdf=SMALL), 3)
    assert batch.patches.shape == (4, 50, 3) and batch.queries.shape == (4, 20, 3)
    assert torch.allclose(batch.distances, batch.queries[..., 2], atol=2e-3)
    assert batch.distances.abs().max() <= SMALL.noise + 0.01


def test_a_damaged_patch_is_asked_for_the_surface_of_the_good_part() -> None:
    settings = msgspec.structs.replace(SMALL, frame="camera", queries=200)
    batches = [draw([cloud_of(settings, 0.0)], Recipe(sdf=settings), step) for step in range(10)]
    uneven = torch.cat([batch.patches[..., 2].amax(1) - batch.patches[..., 2].amin(1) for batch in batches])
    assert uneven.max() > 0.05
    for batch in batches:
        level = (batch.queries[..., 2] - batch.distances).median(dim=1, keepdim=True).values
        assert torch.allclose(batch.queries[..., 2] - batch.distances, level.expand_as(batch.distances), atol=2e-3)


def test_two_patches_in_five_come_from_the_part_itself_and_the_others_from_damaged_copies() -> None:
    cloud = cloud_of(msgspec.structs.replace(SMALL, damaged_copies=0))
    own, random = cloud.copies[0], np.random.default_rng(0)
    cloud = replace(cloud, copies=[own, *[replace(own, points=own.points + np.float32(far)) for far in (1000, 2000)]])
    came_from = np.array([round(example_of(cloud, SMALL, random).patch[0, 2] / 1000 - 0.5) for _ in range(1500)])
    assert np.bincount(came_from) / len(came_from) == pytest.approx([GOOD_SHARE, *[(1 - GOOD_SHARE) / 2] * 2], abs=0.05)


def test_half_of_all_questions_are_asked_within_a_quarter_of_the_farthest_distance() -> None:
    settings = msgspec.structs.replace(SMALL, queries=4000)
    lengths = np.linalg.norm(_jitter(settings, np.random.default_rng(0)), axis=1) / settings.noise
    assert 0.95 < lengths.max() <= 1 and np.median(lengths) == pytest.approx(0.25, abs=0.02)


def test_presence_is_asked_for_a_little_above_and_below_the_surface_too() -> None:
    batch = draw(
        [cloud_of(msgspec.structs.replace(SMALL, damaged_copies=0), 0.0)], Recipe(sdf=msgspec.structs.replace(SMALL, queries=200)), 3
    )
    heights = batch.places[..., 2][batch.is_point > 0]
    assert -OFF_SURFACE - 2e-3 < heights.min() < -0.8 * OFF_SURFACE and 0.8 * OFF_SURFACE < heights.max() < OFF_SURFACE + 2e-3


def test_places_are_points_and_voids_weighted_as_they_are_frequent() -> None:
    batch = draw([cloud_of(SMALL)], Recipe(sdf=SMALL), 0)
    assert set(batch.is_point.flatten().tolist()) <= {0.0, 1.0}
    assert torch.allclose(batch.weights.mean(dim=1), torch.ones(4), atol=1e-5)


def test_patches_of_parts_that_come_at_any_angle_are_turned_and_as_far_from_the_surface_as_before() -> None:
    still = msgspec.structs.replace(SMALL, batch=1, frame="camera")
    cloud, moved = cloud_of(still), 0
    for step in range(8):
        one, other = (draw([cloud], Recipe(sdf=msgspec.structs.replace(still, turned=turned)), step) for turned in (False, True))
        for name in ("patches", "queries", "nearest", "places"):
            torch.testing.assert_close(getattr(one, name).norm(dim=-1), getattr(other, name).norm(dim=-1), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.distances, other.distances, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            (one.queries - one.nearest).norm(dim=-1), (other.queries - other.nearest).norm(dim=-1), atol=1e-4, rtol=1e-4
        )
        moved += not torch.allclose(one.patches, other.patches, atol=1e-3)
    assert moved >= 4


def test_the_loss_is_of_distances_at_queries_and_of_presence_at_places_each_as_it_weighs() -> None:
    batch = draw([cloud_of(SMALL)], Recipe(sdf=msgspec.structs.replace(SMALL, batch=16)), 0)
    assert batch.weights.std() > 0.1

    def network(_: Tensor, asked: Tensor) -> Prediction:
        return Prediction(asked.sum(dim=2), 3 * asked[..., 0])

    distances = (batch.queries.sum(dim=2) - batch.distances).abs().mean()
    presence = torch.sigmoid(3 * batch.places[..., 0])
    surprise = -torch.where(batch.is_point > 0, presence, 1 - presence).log()
    expected = DISTANCE_WEIGHT * distances + PRESENCE_WEIGHT * (batch.weights * surprise).mean()
    assert regression_loss(network, batch, SMALL, "cpu").item() == pytest.approx(expected.item(), rel=1e-4)  # type: ignore[arg-type]  # a network is called


def test_no_more_parts_are_learned_from_than_the_recipe_says(tmp_path: Path) -> None:
    recipe = Recipe(sdf=msgspec.structs.replace(SMALL, steps=2, training_scans=1))
    parts = [plate_part(), plate_part(3 * plate())]
    network, _ = train_shape(parts, recipe, "cpu", tmp_path / "two.checkpoint")
    assert torch.equal(network.patch_mm, train_shape(parts[:1], recipe, "cpu", tmp_path / "one.checkpoint")[0].patch_mm)


def test_a_short_training_learns_distances_to_a_plate_and_where_it_ends() -> None:
    torch.manual_seed(0)
    learner, recipe = SignedDistanceNetwork(SMALL), Recipe(sdf=SMALL)
    clouds = [cloud_of(SMALL, tilt) for tilt in (-0.3, 0.0, 0.3)]
    optimiser = torch.optim.Adam(learner.parameters(), 5e-3)
    losses = []
    for step in range(250):
        loss = regression_loss(learner, draw(clouds, recipe, step), SMALL, "cpu")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    batch = draw(clouds, recipe, 1000)
    with torch.no_grad():
        presence = learner(batch.patches, batch.places).presence
    assert presence[batch.is_point == 1].mean() > presence[batch.is_point == 0].mean() + 0.3


def test_the_pull_of_the_cited_code_learns_too() -> None:
    settings = msgspec.structs.replace(
        preset("paper").sdf, loss="pull", encoder=(8, 16), code=8, width=16, depth=2, points_per_patch=50, queries=20, batch=4, noise=0.3
    )
    torch.manual_seed(0)
    learner, recipe, clouds = SignedDistanceNetwork(settings), Recipe(sdf=settings), [cloud_of(settings, 0.0)]
    optimiser = torch.optim.Adam(learner.parameters(), 3e-3)
    losses = []
    for step in range(120):
        loss = pull_loss(learner, draw(clouds, recipe, step), settings, "cpu")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:20])


def test_training_says_what_a_missing_point_counts_and_how_long_patches_are(tmp_path: Path) -> None:
    recipe = Recipe(sdf=msgspec.structs.replace(SMALL, steps=30, damaged_copies=1))
    network, _ = train_shape([plate_part()] * 3, recipe, "cpu", tmp_path / "sdf.checkpoint")
    assert float(network.void_unit) > 0
    assert 6 < float(network.patch_mm) < 12  # 50 points, one per mm
    branch, part = ShapeBranch(network, recipe.sdf, "cpu"), plate_part()
    distance, evidence = (float(each.max()) for each in branch.maps(branch.examine(part.xyz, part.grid), SIZE_PX))
    expected = recipe.sdf.void_weight * distance / max(evidence, LEAST_EVIDENCE)
    assert float(network.void_unit) == pytest.approx(expected, rel=1e-4)


def test_a_branch_that_scores_in_eight_bits_keeps_the_highest_values_that_its_batches_give(tmp_path: Path) -> None:
    recipe = Recipe(sdf=msgspec.structs.replace(SMALL, steps=2, scores_in="int8"))
    network, _ = train_shape([plate_part()] * 3, recipe, "cpu", tmp_path / "sdf.checkpoint")
    clouds = [TrainingCloud.of(plate(), recipe.sdf, np.random.default_rng((recipe.seed, number))) for number in range(3)]
    with torch.inference_mode():
        codes = [torch.relu(network.encoder.points.layers[0](network.encoding(draw(clouds, recipe, step).patches))) for step in range(24)]
    assert network.peaks.shape == (1 + 1,) and (network.peaks > 0).all()
    assert float(network.peaks[0]) == pytest.approx(max(float(each.max()) for each in codes))


def test_training_says_how_far_off_points_at_rims_usually_are_before_missing_points_are_weighed(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SMALL, steps=30, damaged_copies=1, by_rim=True)
    network, _ = train_shape([plate_part()] * 3, Recipe(sdf=settings), "cpu", tmp_path / "sdf.checkpoint")
    learned, void_unit = Usual.read(network.usual), float(network.void_unit)
    weighed = ShapeBranch(network, settings, "cpu").examine(plate())
    assert learned.cues[0] < 0.8 and learned.cues.max() == pytest.approx(1.0, abs=1e-3)
    assert (weighed.distances * learned.at(measured_around(plate())[weighed.pixels])).mean() == pytest.approx(
        weighed.distances.mean(), rel=0.1
    )
    weigh_voids(network, [plate_part()] * 3, settings, "cpu")
    assert float(network.void_unit) == pytest.approx(void_unit)
    measure_usual(network, [plate_part()] * 3, settings, "cpu")  # again: it starts from the distances themselves
    np.testing.assert_allclose(network.usual.numpy(), learned.stored(), rtol=1e-6)


def test_training_says_how_far_off_points_at_the_border_of_the_image_usually_are(tmp_path: Path) -> None:
    cloud = plate_that_runs_out_of_the_image()
    settings = msgspec.structs.replace(SMALL, steps=30, damaged_copies=1, by_rim=True, by_border=True)
    network, _ = train_shape([plate_part(cloud)] * 3, Recipe(sdf=settings), "cpu", tmp_path / "sdf.checkpoint")
    learned = Usual.read(network.border_usual)
    assert learned.cues[0] == 0 and 12 < learned.cues[-1] <= BORDER_PX
    weighed = ShapeBranch(network, settings, "cpu").examine(cloud)
    near = near_border(Grid.filled(SIZE_PX)).ravel()[weighed.pixels]
    held = weighed.distances * learned.at(near)  # by rims alone, as the border was measured
    for inside in (near == 0, near > 12):
        assert held[inside].mean() / held.mean() == pytest.approx(learned.at(near[inside]).mean(), rel=0.1)
    before = learned.stored()
    measure_usual(network, [plate_part(cloud)] * 3, settings, "cpu")  # again: it starts from the distances themselves
    np.testing.assert_allclose(network.border_usual.numpy(), before, rtol=1e-6)


def test_where_no_part_reaches_the_border_it_changes_nothing(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SMALL, steps=2, damaged_copies=1, by_border=True)
    away = np.pad(plate(), ((BORDER_PX, BORDER_PX), (BORDER_PX, BORDER_PX), (0, 0)), constant_values=np.nan)
    network, _ = train_shape([plate_part(away)] * 3, Recipe(sdf=settings), "cpu", tmp_path / "sdf.checkpoint")
    assert (Usual.read(network.border_usual).at(np.array([0, 5, BORDER_PX], np.float32)) == 1).all()


def test_training_says_what_missing_points_of_good_parts_come_to_before_they_are_weighed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = msgspec.structs.replace(SMALL, steps=30, damaged_copies=1, voids_by_rim=True)
    network, _ = train_shape([plate_part()] * 3, Recipe(sdf=settings), "cpu", tmp_path / "sdf.checkpoint")
    learned, void_unit = Usual.read(network.void_usual), float(network.void_unit)
    assert learned.cues[0] < learned.cues[-1] < 0.8 and 0 < learned.values.max() <= MOST_USUAL
    weigh_voids(network, [plate_part()] * 3, settings, "cpu")
    assert float(network.void_unit) == pytest.approx(void_unit) and void_unit > 0
    measure_usual(network, [plate_part()] * 3, settings, "cpu")  # again: it starts from the evidence itself
    np.testing.assert_allclose(network.void_usual.numpy(), learned.stored(), rtol=1e-6)
    limit = float(learned.values.max()) / 2
    monkeypatch.setattr(train_sdf, "MOST_USUAL", limit)
    measure_usual(network, [plate_part()] * 3, settings, "cpu")
    np.testing.assert_allclose(Usual.read(network.void_usual).values, learned.values.clip(max=limit), rtol=1e-6)
