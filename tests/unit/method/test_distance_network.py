"""The networks of the shape branch: one code or a grid of codes, and three answers for every place."""

from __future__ import annotations

import msgspec
import pytest
import torch

from mdss.method.distance_network import SignedDistanceNetwork
from mdss.method.recipe import ShapeSettings

SMALL = ShapeSettings(encoder=(8, 16), code=8, width=16, depth=2, cells=0)


def network_with(cells: int) -> SignedDistanceNetwork:
    torch.manual_seed(0)
    return SignedDistanceNetwork(msgspec.structs.replace(SMALL, cells=cells))


def test_splitting_the_first_layer_is_one_layer_on_code_and_point_side_by_side() -> None:
    network, patches, queries = network_with(0), torch.rand(2, 50, 3), torch.rand(2, 7, 3)
    with torch.no_grad():
        codes = network.encoder(patches, network.waves(patches), queries).expand(-1, 7, -1)
        joint = torch.cat([network.from_code.weight, network.from_point.weight], dim=1)
        x = torch.relu(torch.cat([codes, network.waves(queries)], dim=2) @ joint.T + network.from_code.bias)
        for layer in network.hidden:
            x = torch.relu(layer(x))
        assert torch.allclose(network.distance(x)[..., 0], network(patches, queries).distance, atol=1e-6)


@pytest.mark.parametrize("cells", [0, 4])
def test_an_untrained_network_says_that_everything_lies_on_the_surface(cells: int) -> None:
    with torch.no_grad():
        said = network_with(cells)(torch.rand(2, 50, 3) - 0.5, torch.rand(2, 9, 3) - 0.5)
    assert said.distance.shape == said.presence.shape == said.usual.shape == (2, 9)
    assert said.distance.abs().max() < 0.1


@pytest.mark.parametrize("cells", [0, 4])
def test_the_order_of_a_patchs_points_does_not_matter(cells: int) -> None:
    network, patches, queries = network_with(cells), torch.rand(2, 50, 3) - 0.5, torch.rand(2, 9, 3) - 0.5
    with torch.no_grad():
        before, after = network(patches, queries), network(patches[:, torch.randperm(50)], queries)
    assert torch.allclose(before.distance, after.distance, atol=1e-6)


@pytest.mark.parametrize("cells", [0, 8])
def test_cells_say_more_of_their_own_corner_and_one_code_says_the_same_everywhere(cells: int) -> None:
    network = network_with(cells)
    patches = torch.rand(1, 200, 3) - 0.5
    moved = patches.clone()
    corner = (patches[..., 0] > 0.3) & (patches[..., 1] > 0.3)
    moved[corner] += torch.tensor([0.0, 0.0, 0.4])
    queries = torch.tensor([[[0.4, 0.4, 0.0], [-0.4, -0.4, 0.0]]])
    with torch.no_grad():
        waves = [network.waves(each) for each in (patches, moved)]
        before, after = (network.encoder(each, wave, queries) for each, wave in zip((patches, moved), waves, strict=True))
    change = (before - after).norm(dim=2)[0]
    assert change.shape == ((2,) if cells else (1,))
    assert change[0] > 0
    assert change[0] > 1.2 * change[-1] or not cells


def test_learning_what_is_usual_leaves_the_distances_alone() -> None:
    network = network_with(0)
    network(torch.rand(2, 50, 3), torch.rand(2, 9, 3)).usual.sum().backward()
    learned = {name for name, value in network.named_parameters() if value.grad is not None}
    assert learned == {"usual.weight", "usual.bias"}


def test_places_far_outside_the_patch_have_finite_answers() -> None:
    with torch.no_grad():
        said = network_with(4)(torch.rand(1, 50, 3) * 9 - 4, torch.full((1, 1, 3), 50.0))
    assert all(torch.isfinite(each).all() for each in said)
