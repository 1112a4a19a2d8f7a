"""The networks of the shape branch: one code for a patch, and two answers for every place."""

from __future__ import annotations

import msgspec
import torch

from mdss.method.distance_network import SignedDistanceNetwork
from mdss.method.recipe import ShapeSettings

SMALL = ShapeSettings(encoder=(8, 16), code=8, width=16, depth=2)


def small_network() -> SignedDistanceNetwork:
    torch.manual_seed(0)
    return SignedDistanceNetwork(SMALL)


def test_splitting_the_first_layer_is_one_layer_on_code_and_point_side_by_side() -> None:
    network, patches, queries = small_network(), torch.rand(2, 50, 3), torch.rand(2, 7, 3)
    with torch.no_grad():
        codes = network.encoder(network.encoding(patches))[:, None].expand(-1, 7, -1)
        joint = torch.cat([network.from_code.weight, network.from_point.weight], dim=1)
        x = torch.relu(torch.cat([codes, network.encoding(queries)], dim=2) @ joint.T + network.from_code.bias)
        for layer in network.hidden:
            x = torch.relu(layer(x))
        assert torch.allclose(network.distance(x)[..., 0], network(patches, queries).distance, atol=1e-6)


def test_an_untrained_network_says_that_everything_lies_on_the_surface() -> None:
    with torch.no_grad():
        said = small_network()(torch.rand(2, 50, 3) - 0.5, torch.rand(2, 9, 3) - 0.5)
    assert said.distance.shape == said.presence.shape == (2, 9)
    assert said.distance.abs().max() < 0.1


def test_the_order_of_a_patchs_points_does_not_matter() -> None:
    network, patches, queries = small_network(), torch.rand(2, 50, 3) - 0.5, torch.rand(2, 9, 3) - 0.5
    with torch.no_grad():
        before, after = network(patches, queries), network(patches[:, torch.randperm(50)], queries)
    assert torch.allclose(before.distance, after.distance, atol=1e-6)


def test_a_code_says_nothing_of_the_points_in_the_blind_spot() -> None:
    torch.manual_seed(0)
    network, patches = SignedDistanceNetwork(msgspec.structs.replace(SMALL, blind_spot=10)), torch.rand(2, 50, 3) - 0.5
    inside, outside = patches.clone(), patches.clone()
    inside[:, :10] += 0.3
    outside[:, 10:] += 0.3
    with torch.no_grad():
        codes, of_inside, of_outside = (network.code_halves(each) for each in (patches, inside, outside))
    assert torch.equal(of_inside, codes)
    assert (of_outside != codes).any(dim=1).all()


def test_places_far_outside_the_patch_have_finite_answers() -> None:
    with torch.no_grad():
        said = small_network()(torch.rand(1, 50, 3) * 9 - 4, torch.full((1, 1, 3), 50.0))
    assert all(torch.isfinite(each).all() for each in said)


def test_queries_asked_one_by_one_hear_what_they_hear_with_their_patch() -> None:
    network, patches, queries = small_network(), torch.rand(2, 50, 3) - 0.5, torch.rand(2, 9, 3) - 0.5
    with torch.no_grad():
        together = network(patches, queries)
        alone = network.predict(network.code_halves(patches)[[0, 1, 1]], torch.stack([queries[0, 3], queries[1, 3], queries[1, 8]]))
    assert torch.allclose(alone.distance, together.distance[[0, 1, 1], [3, 3, 8]], atol=1e-6)
    assert torch.allclose(alone.presence, together.presence[[0, 1, 1], [3, 3, 8]], atol=1e-6)
