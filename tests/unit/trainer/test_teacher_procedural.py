"""The teacher without photographs: its pictures, its pairs of views, what it is asked, and what comes out."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mdss.method.description_network import CHANNELS, PatchDescriptionNetwork
from tests.teachers import interrupting, weights
from trainer import procedural_teacher
from trainer.procedural_images import picture
from trainer.procedural_teacher import Procedure, contrast_of, loss_of, make_procedural, pairs_too_near, redundancy, standardise
from trainer.procedural_textures import textures
from trainer.procedural_views import pairs

SMALL = Procedure(steps=3, pictures=2, crops=3, places=8, warmup_steps=1, statistics_batches=1)


def seeded(seed: int) -> np.random.Generator:
    """Return the random numbers of a seed."""
    return np.random.default_rng(seed)


def test_a_picture_is_the_same_for_the_same_seed() -> None:
    np.testing.assert_array_equal(picture(seeded(3)), picture(seeded(3)))


def test_pictures_are_in_range_and_each_is_another() -> None:
    drawn = [picture(seeded(seed)) for seed in range(20)]
    for one in drawn:
        assert one.shape == (192, 192, 3) and one.dtype == np.float32
        assert one.min() >= 0 and one.max() <= 1
        assert one.std() > 0.02
    apart = [float(np.abs(one - other).mean()) for one, other in pairwise(drawn)]
    assert min(apart) > 0.05
    assert np.std([one.mean() for one in drawn]) > 0.05
    assert min(np.abs(one[..., 0] - one[..., 2]).mean() for one in drawn) < 0.03  # some are nearly grey, some are not
    assert max(np.abs(one[..., 0] - one[..., 2]).mean() for one in drawn) > 0.1


def test_every_texture_weighs_the_same() -> None:
    for seed in range(5):
        drawn = textures(seeded(seed))
        assert np.isfinite(drawn).all()
        np.testing.assert_allclose(drawn.mean(axis=(1, 2)), 0, atol=1e-3)
        np.testing.assert_allclose(drawn.std(axis=(1, 2)), 1, atol=1e-3)


def test_two_views_of_a_place_are_alike_but_not_the_same() -> None:
    first, second = pairs(2, 6, seeded(0))
    assert first.shape == (12, 3, 64, 64)
    alike = (first - second).abs().mean((1, 2, 3))
    others = (first - second.roll(6, 0)).abs().mean((1, 2, 3))
    assert (alike > 0.001).all()
    assert alike.mean() < 0.6 * others.mean()


def test_contrast_is_low_where_places_are_known_again_and_high_where_they_are_confused() -> None:
    features = torch.randn(200, CHANNELS, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(200, 200, dtype=torch.bool)
    assert contrast_of(features, features, none) < 0.05
    assert contrast_of(features, torch.ones_like(features), none) == pytest.approx(1, abs=0.1)
    assert contrast_of(features, features.roll(1, 0), none) > 1.5


def test_places_too_near_to_be_told_apart_are_not_compared() -> None:
    near, same_crop = pairs_too_near(torch.tensor([[0, 1, 9, 2], [0, 63, 62, 7]])), 4
    assert near[0].tolist() == [False, True, True, False, False, False, False, False]
    assert not near.diagonal().any()
    assert not near[:same_crop, same_crop:].any()
    assert near[5, 6] and not near[4, 7]  # positions 63 and 62 are neighbours, 0 and 7 are the row's ends


def test_channels_that_say_the_same_are_redundant() -> None:
    independent = torch.randn(4000, CHANNELS, generator=torch.Generator().manual_seed(0))
    assert redundancy(independent, independent) < 0.03
    same = independent[:, :1].expand(-1, CHANNELS)
    assert redundancy(same, same) == pytest.approx(1, abs=0.05)


def test_learning_makes_new_places_easier_to_know_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = PatchDescriptionNetwork()
    after, details = make_procedural(replace(SMALL, steps=12), tmp_path / "run.checkpoint")
    with torch.no_grad():
        losses = [float(loss_of(network, replace(SMALL, crops=6), seeded(100))) for network in (before, after)]
    assert losses[1] < 0.9 * losses[0]
    assert details["steps"] == 12 and details["loss"] > 0


def test_every_channel_comes_to_have_mean_0_and_deviation_1() -> None:
    torch.manual_seed(0)
    network, batches = PatchDescriptionNetwork(), [pairs(3, 3, seeded(seed))[0] for seed in (0, 1)]
    standardise(network, batches)
    with torch.no_grad():
        said = network(torch.cat(batches))
    assert said.mean((0, 2, 3)).abs().max() < 0.05
    assert (said.std((0, 2, 3)) - 1).abs().max() < 0.05


def test_a_run_stopped_and_resumed_gives_the_weights_of_an_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken, _ = make_procedural(SMALL, tmp_path / "unbroken.checkpoint")
    with monkeypatch.context() as patch:
        patch.setattr(procedural_teacher, "pairs", interrupting(pairs, call=2))
        with pytest.raises(KeyboardInterrupt):
            make_procedural(SMALL, tmp_path / "stopped.checkpoint")
    resumed, _ = make_procedural(SMALL, tmp_path / "stopped.checkpoint")
    assert torch.equal(weights(resumed), weights(unbroken))
