"""The shape branch in fewer digits: nearly the same maps, by a copy of the network that learned."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from mdss.method import eight_bits, signed_distance, torch_device
from mdss.method.distance_network import SignedDistanceNetwork
from mdss.method.eight_bits import EightBitLinear, highest_inputs
from mdss.method.patch_frame import PatchFrames
from mdss.method.patches import cut_patches
from mdss.method.recipe import ShapeSettings
from mdss.method.signed_distance import PartPoints, ShapeBranch, queries_at_once
from tests.plates import plate
from tests.precision import needs_bfloat16

SMALL = ShapeSettings(encoder=(8, 16), code=8, width=16, depth=2, points_per_patch=50, blur_px=0, void_weight=0, score_unit="scale")


@needs_bfloat16
def test_in_bfloat16_the_map_is_the_same_within_a_hundredth_of_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_device, "cpu_gains_by_bfloat16", lambda: True)
    torch.manual_seed(0)
    learner = SignedDistanceNetwork(SMALL)
    torch.nn.init.normal_(learner.distance.weight, std=0.3)
    exact, quick = (ShapeBranch(learner, SMALL, "cpu", precision).score_map(plate()) for precision in ("float32", "auto"))
    assert not np.array_equal(quick, exact), "it was not computed otherwise"
    assert np.abs(quick - exact).max() < 0.01 * exact.max()


def test_in_eight_bits_the_map_is_the_same_within_some_hundredths_of_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = msgspec.structs.replace(SMALL, scores_in="int8", encoder=(32, 64), width=64, code=32)
    torch.manual_seed(0)
    learner = SignedDistanceNetwork(settings)
    torch.nn.init.normal_(learner.distance.weight, std=0.3)
    exactly = ShapeBranch(learner, msgspec.structs.replace(settings, scores_in="float"), "cpu", "float32")
    seen = PatchFrames.of(patches_of(plate()), np.array([0.0, 0.0, 1.0]), settings).to_patch(patches_of(plate()))
    learner.peaks.copy_(highest_inputs(learner.wide_layers(), lambda: learner(seen, seen)))
    branch = ShapeBranch(learner, settings, "cpu")
    assert all(isinstance(layer, EightBitLinear) for layer in branch._network.wide_layers())
    exact, quick = exactly.score_map(plate()), branch.score_map(plate())
    assert not np.array_equal(quick, exact), "it was not computed otherwise"
    assert np.abs(quick - exact).max() < 0.05 * exact.max()
    monkeypatch.setattr(eight_bits, "multiplies_eight_bits", lambda: False)
    assert np.allclose(ShapeBranch(learner, settings, "cpu").score_map(plate()), quick, atol=2e-3 * exact.max())
    assert {type(layer) for layer in learner.wide_layers()} == {torch.nn.Linear}, "the network that learns is another"


@pytest.mark.parametrize("changes", [{"depth": 1}, {"encoder": (8,)}])
def test_a_network_with_nothing_to_round_scores_in_eight_bits_too(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    settings = msgspec.structs.replace(SMALL, scores_in="int8", **changes)
    learner = SignedDistanceNetwork(settings)
    learner.peaks.fill_(1.0)
    assert ShapeBranch(learner, settings, "cpu").score_map(plate()).max() > 0


def patches_of(xyz: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> torch.Tensor:
    points = PartPoints.of(xyz).points
    return torch.from_numpy(points[cut_patches(points, SMALL.points_per_patch, SMALL.density)])


@pytest.mark.parametrize(("width", "at_once"), [(256, 6144), (512, 3072), (10**7, 512)])
def test_the_wider_a_layer_the_fewer_are_asked_at_once_in_eight_bits(width: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_distance, "multiplies_eight_bits", lambda: True)
    settings = msgspec.structs.replace(SMALL, scores_in="int8", width=width)
    assert queries_at_once("cpu", settings) == at_once
    assert queries_at_once("cpu", msgspec.structs.replace(settings, scores_in="float")) == 2048
