"""The optimiser whose steps are as large in every direction."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.muon import MOMENTUM, SIZE, Muon, orthogonal, orthogonal_by_iteration

SHAPES = [(8, 20), (20, 8), (6, 3, 4, 4), (1, 16), (16,)]


def made(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (5, 5), (1, 7)])
def test_the_orthogonal_matrix_is_that_of_the_singular_vectors(shape: tuple[int, int]) -> None:
    left, _, right = torch.linalg.svd(made(*shape), full_matrices=False)
    assert torch.allclose(orthogonal(made(*shape)), left @ right, atol=1e-4)


def test_multiplications_alone_find_the_same_matrices_however_short_some_directions() -> None:
    shapes = [(8, 20), (20, 8), (5, 5), (7, 1), (128, 300)]
    parts = [torch.linalg.svd(made(*shape), full_matrices=False) for shape in shapes]
    fading = [(left * lengths * torch.logspace(0, -4, len(lengths))) @ right for left, lengths, right in parts]
    for found, (left, _, right) in zip(orthogonal_by_iteration(fading), parts, strict=True):
        assert torch.allclose(found, left @ right, atol=1e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_takes_the_steps_that_a_processor_takes_where_no_direction_has_faded() -> None:
    moved = []
    for device in ("cpu", "cuda"):
        parameters = [nn.Parameter(made(*shape).to(device)) for shape in SHAPES]
        for parameter in parameters:
            parameter.grad = parameter.detach().flip(0)
        Muon(parameters, 0.01, 0.1).step()
        moved.append([parameter.detach().cpu() for parameter in parameters])
    assert all(torch.allclose(here, there, atol=1e-4) for here, there in zip(*moved, strict=True))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_multiplications_find_the_same_matrix_however_small_or_large_it_is(size: float) -> None:
    assert torch.allclose(orthogonal_by_iteration([made(8, 20) * size])[0], orthogonal(made(8, 20)), atol=1e-4)


def test_where_nothing_is_to_be_learned_multiplications_find_no_direction() -> None:
    zeros, other = orthogonal_by_iteration([torch.zeros(4, 6), made(3, 3)])
    assert zeros.eq(0).all()
    assert torch.allclose(other @ other.T, torch.eye(3), atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_of_one_size_whatever_the_gradient(shape: tuple[int, ...]) -> None:
    moved = []
    for scale in (1e-6, 1.0, 1e4):
        parameter = nn.Parameter(torch.zeros(shape))
        parameter.grad = scale * made(*shape)
        Muon([parameter], 0.01).step()
        moved.append(parameter.detach())
        lengths = torch.linalg.svdvals(parameter.detach().reshape(shape[0], -1))
        assert torch.allclose(lengths, lengths[:1].expand_as(lengths), rtol=1e-3)
        assert parameter.detach().square().mean().sqrt() == pytest.approx(0.01 * SIZE, rel=1e-3)
        assert (parameter.detach() * made(*shape)).sum() < 0, "a step goes downhill"
    assert torch.allclose(moved[0], moved[1], atol=1e-5) and torch.allclose(moved[2], moved[1], atol=1e-5)


@pytest.mark.parametrize("gradient", [torch.zeros(4, 6), torch.ones(4, 6)])
def test_a_gradient_of_few_directions_or_none_moves_by_a_finite_step(gradient: torch.Tensor) -> None:
    parameter = nn.Parameter(torch.zeros(4, 6))
    parameter.grad = gradient
    Muon([parameter], 1.0).step()
    assert parameter.isfinite().all() and parameter.abs().max() < 10


def test_a_layer_of_which_few_outputs_have_a_gradient_takes_a_step_along_those() -> None:
    """Of a matrix that is nearly all zeros float32 may not find every eigenvector."""
    gradient = torch.zeros(384, 2048)
    rows = torch.randperm(384, generator=torch.Generator().manual_seed(0))[:40]
    gradient[rows] = made(len(rows), 2048) * torch.logspace(0, -6, len(rows))[:, None]
    found = orthogonal(gradient)
    assert found.isfinite().all()
    assert torch.allclose(found[rows[:5]].norm(dim=1), torch.ones(5), atol=0.05)
    assert found.norm(dim=1).max() < 1.1


def test_a_layer_whose_outputs_fade_one_after_the_other_takes_finite_steps() -> None:
    """Of numbers too small for float32 its eigenvectors may be NaN: here in some 5 of 100, and once in a training."""
    for seed in range(100):
        random = torch.Generator().manual_seed(seed)
        faded = 10.0 ** (-40 * torch.rand(128, generator=random))
        found = orthogonal(torch.randn(128, 128, generator=random) * faded[:, None])
        assert found.isfinite().all(), seed
        assert found.norm(dim=1).max() < 2


def test_a_wide_layer_of_which_nearly_all_outputs_have_faded_takes_finite_steps() -> None:
    """Of a matrix that is nearly all zeros double precision may find no eigenvectors either: here in one of five."""
    for seed in range(5):
        random = torch.Generator().manual_seed(seed)
        gradient = torch.zeros(512, 512)
        rows = torch.randperm(512, generator=random)[:35]
        gradient[rows] = torch.randn(35, 512, generator=random) * 10.0 ** (-9 * torch.rand(35, 1, generator=random))
        found = orthogonal(gradient)
        assert found.isfinite().all(), seed
        assert found.norm(dim=1).max() < 2


def test_an_output_that_has_faded_takes_no_step_and_no_time_and_changes_none_of_the_others() -> None:
    matrix = made(8, 20)
    others = orthogonal(matrix[1:])
    matrix[0] *= 1e-38
    found = orthogonal(matrix)
    assert found[0].eq(0).all()
    assert torch.allclose(found[1:], others, atol=1e-5)


def test_how_a_layer_lies_in_memory_changes_nothing() -> None:
    plain, laid_out = (nn.Parameter(made(6, 3, 4, 4).to(memory_format=layout)) for layout in (torch.contiguous_format, torch.channels_last))
    for parameter in (plain, laid_out):
        optimiser = Muon([parameter], 0.1)
        for _ in range(3):
            parameter.grad = 2 * parameter.detach()
            optimiser.step()
    assert torch.allclose(plain, laid_out, atol=1e-5)


def test_a_step_looks_ahead_along_the_newest_gradient() -> None:
    parameter = nn.Parameter(torch.zeros(1, 2))
    optimiser = Muon([parameter], 0.1)
    for gradient in ([1.0, 0.0], [0.0, 1.0]):
        before, parameter.grad = parameter.detach().clone(), torch.tensor([gradient])
        optimiser.step()
    across, along = (parameter.detach() - before)[0].tolist()
    share = 1 - MOMENTUM
    assert along / across == pytest.approx((share + MOMENTUM * share) / (MOMENTUM * MOMENTUM * share), rel=1e-3)


def test_weights_that_nothing_pulls_at_decay() -> None:
    parameter = nn.Parameter(torch.ones(3, 3))
    parameter.grad = torch.zeros(3, 3)
    Muon([parameter], 0.1, weight_decay=0.5).step()
    assert torch.allclose(parameter, torch.full((3, 3), 0.95), atol=1e-4)


def test_it_learns_what_hardly_shows_in_the_gradient() -> None:
    """A map of inputs whose directions differ a thousandfold in size, learned to the last of them."""
    torch.manual_seed(0)
    sizes, wanted = torch.logspace(0, -3, 12), torch.randn(12, 12)
    layer = nn.Linear(12, 12, bias=False)
    optimiser, steps = Muon(layer.parameters(), 0.0), 300
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.3 * (1 - step / steps)
        inputs = torch.randn(64, 12) * sizes
        optimiser.zero_grad()
        ((layer(inputs) - inputs @ wanted.T).square().mean()).backward()
        optimiser.step()
    assert (layer.weight - wanted).square().mean() < 0.05 * wanted.square().mean()
