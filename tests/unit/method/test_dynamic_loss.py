"""The dynamic loss: eq. 1 as written, with the zeros of the background."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mdss.method.dynamic_loss import dynamic_factor, dynamic_loss


@pytest.mark.parametrize("factor", [0.9, 0.99, 0.995, 0.999])
def test_the_loss_is_the_mean_strictly_above_the_quantile(factor: float) -> None:
    values = torch.rand(4, 8, 10, 10, generator=torch.Generator().manual_seed(1))
    threshold = torch.quantile(values.flatten(), factor)
    assert dynamic_loss(values, factor).item() == pytest.approx(values[values > threshold].mean().item(), rel=1e-6)


def test_zeros_of_the_background_are_never_averaged_in() -> None:
    values = torch.zeros(1, 1, 10, 10)
    values[0, 0, 0, :3] = torch.tensor([1.0, 2.0, 3.0])
    assert dynamic_loss(values, 0.9).item() == 2.0


@pytest.mark.parametrize("domain", ["batch", "image"])
@pytest.mark.parametrize("factor", [0.3, 0.9, 0.97])
def test_zeros_that_are_counted_alone_are_as_good_as_zeros_that_are_there(domain: str, factor: float) -> None:
    values = torch.rand(2, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    there = dynamic_loss(F.pad(values, (0, 4, 2, 0)), factor, domain)
    torch.testing.assert_close(dynamic_loss(values, factor, domain, zeros=4 * (7 * 9 - 5 * 5)), there)


def test_nothing_above_the_quantile_is_a_loss_of_zero_with_a_gradient() -> None:
    values = torch.ones(1, 1, 4, 4, requires_grad=True)
    loss = dynamic_loss(values, 0.99)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0


@pytest.mark.parametrize("share", [0.001, 0.5, 1.0])
def test_a_loss_of_what_is_no_number_is_none(share: float) -> None:
    values = torch.rand(1, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    values.view(-1)[: round(share * values.numel())] = torch.nan
    assert dynamic_loss(values, 0.99).isnan()


def test_image_by_image_each_image_has_its_own_quantile() -> None:
    values = torch.stack([torch.rand(1, 20, 20), 100 * torch.rand(1, 20, 20)])
    expected = (dynamic_loss(values[:1], 0.9) + dynamic_loss(values[1:], 0.9)) / 2
    assert dynamic_loss(values, 0.9, "image").item() == pytest.approx(expected.item())


def test_the_factor_runs_along_half_a_cosine() -> None:
    assert [round(dynamic_factor(at, 0.99, 0.999), 5) for at in (0, 0.25, 0.5, 1)] == [0.99, 0.99132, 0.9945, 0.999]
