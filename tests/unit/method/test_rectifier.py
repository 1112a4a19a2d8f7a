"""The rectifier and the maximum behind it say of bfloat16 what torch says, whoever reads its bits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mdss.method.rectifier import max_over_points, rectify

TYPES = [torch.float32, torch.bfloat16]


def features(kind: torch.dtype) -> torch.Tensor:
    """Return numbers of all sizes and both signs, (3, 40, 16)."""
    drawn = torch.randn(3, 40, 16, generator=torch.Generator().manual_seed(0))
    drawn[0, 0, :6] = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, 1e-40, -1e-40])
    return (drawn * 10.0 ** torch.arange(-8, 8)).to(kind)


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_rectified_is_what_torch_makes_of_it(kind: torch.dtype) -> None:
    with torch.inference_mode():
        assert torch.equal(rectify(features(kind)), F.relu(features(kind)))


@pytest.mark.parametrize("kind", TYPES)
def test_an_image_in_channels_last_is_rectified_in_every_channel(kind: torch.dtype) -> None:
    with torch.inference_mode():
        image = features(kind)[None].contiguous(memory_format=torch.channels_last)
        assert torch.equal(rectify(image.clone()), F.relu(image))


@pytest.mark.parametrize("kind", TYPES)
def test_the_highest_of_a_patch_is_that_of_its_points(kind: torch.dtype) -> None:
    with torch.inference_mode():
        positive = F.relu(features(kind))
        assert torch.equal(max_over_points(positive), positive.amax(dim=1))


@pytest.mark.parametrize("kind", TYPES)
def test_who_learns_gets_the_gradient_of_what_was_highest(kind: torch.dtype) -> None:
    values = features(kind)[..., 6:].requires_grad_()
    (gradient,) = torch.autograd.grad(max_over_points(rectify(values * 1)).sum(), values)
    assert torch.equal(gradient.sum(dim=1), torch.ones(3, 10, dtype=kind))
