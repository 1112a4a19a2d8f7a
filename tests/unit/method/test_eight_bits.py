"""Layers in eight bits: near what they stand for, and the same on a processor that multiplies so and on one that does not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mdss.method import eight_bits
from mdss.method.eight_bits import EightBitConvolution, chain, highest_inputs
from tests.precision import needs_eight_bits


@pytest.fixture(name="layer")
def made_layer() -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(32, 48, 3)


def values(peak: float = 1.0) -> torch.Tensor:
    return peak * torch.rand(1, 32, 20, 17, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)


@torch.inference_mode()
def test_it_is_the_layer_within_the_steps_of_eight_bits(layer: nn.Conv2d) -> None:
    exact, rounded = layer(values(3.0)), EightBitConvolution(layer, 3.0, is_rectified=False)(values(3.0))
    assert rounded.dtype is torch.float32 and rounded.shape == exact.shape
    assert 0 < (rounded - exact).abs().max() < 0.01 * exact.abs().max()


@torch.inference_mode()
def test_with_a_rectifier_it_is_what_the_rectifier_makes_of_it(layer: nn.Conv2d) -> None:
    plain, rectified = (EightBitConvolution(layer, 1.0, is_rectified=each)(values()) for each in (False, True))
    assert (plain < 0).any()
    assert torch.equal(rectified, nn.functional.relu(plain))


@pytest.mark.parametrize("is_native", [pytest.param(True, marks=needs_eight_bits), False])
@torch.inference_mode()
def test_whole_numbers_are_multiplied_exactly(is_native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eight_bits, "multiplies_eight_bits", lambda: is_native)
    layer = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([127.0, -50.8])[:, None, None, None])  # steps of 1 and 0.4
        layer.bias.copy_(torch.tensor([0.25, 0.0]))  # type: ignore[union-attr]  # the layer has a bias
    found = EightBitConvolution(layer, 255.0, is_rectified=False)(torch.tensor([0.0, 3.0, 255.0, 400.0]).view(1, 1, 1, 4))
    assert found.flatten().tolist() == pytest.approx([0.25, 381.25, 32385.25, 32385.25, 0, -152.4, -12954.0, -12954.0])


@torch.inference_mode()
def test_a_weight_becomes_the_whole_number_nearest_to_it() -> None:
    layer = nn.Conv2d(3, 1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([127.0, 0.6, -1.6])[None, :, None, None])  # in steps of 1
        layer.bias.zero_()  # type: ignore[union-attr]  # the layer has a bias
    found = EightBitConvolution(layer, 255.0, is_rectified=False)(100 * torch.eye(3)[None, :, None, :])
    assert found.flatten().tolist() == pytest.approx([12700, 100, -200])


@pytest.mark.parametrize("is_native", [pytest.param(True, marks=needs_eight_bits), False])
@torch.inference_mode()
def test_an_output_without_weights_says_its_bias(is_native: bool, monkeypatch: pytest.MonkeyPatch, layer: nn.Conv2d) -> None:
    monkeypatch.setattr(eight_bits, "multiplies_eight_bits", lambda: is_native)
    layer.weight[5] = 0
    assert layer.bias is not None
    found = EightBitConvolution(layer, 1.0, is_rectified=False)(values())
    assert torch.allclose(found[:, 5], layer.bias[5].expand_as(found[:, 5]))


@needs_eight_bits
@pytest.mark.parametrize("outputs", [48, 384])
@pytest.mark.parametrize("is_rectified", [False, True])
@torch.inference_mode()
def test_a_processor_without_eight_bits_finds_the_same(monkeypatch: pytest.MonkeyPatch, is_rectified: bool, outputs: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(32, outputs, 3)
    own = EightBitConvolution(layer, 1.0, is_rectified=is_rectified)(values())
    monkeypatch.setattr(eight_bits, "multiplies_eight_bits", lambda: False)
    monkeypatch.setattr(EightBitConvolution, "_convolve_native", None)
    imitated = EightBitConvolution(layer, 1.0, is_rectified=is_rectified)(values())
    assert torch.allclose(imitated, own, rtol=1e-5, atol=1e-5 * float(own.abs().max()))


@needs_eight_bits
@torch.inference_mode()
def test_no_more_outputs_are_packed_together_than_there_is_one_layout_for() -> None:
    torch.manual_seed(0)
    layer = EightBitConvolution(nn.Conv2d(32, 384, 3), 1.0, is_rectified=False)
    layer(values())
    assert [packed.shape[0] for packed in layer._packed] == [256, 128]


@pytest.mark.parametrize("is_native", [pytest.param(True, marks=needs_eight_bits), False])
@torch.inference_mode()
def test_a_chain_of_layers_is_what_they_say_one_after_the_other(is_native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eight_bits, "multiplies_eight_bits", lambda: is_native)
    torch.manual_seed(0)
    layers, exact = [nn.Linear(24, 32), nn.Linear(32, 16), nn.Linear(16, 8)], torch.rand(3, 50, 24)
    peaks, rounded = [], exact
    for layer in layers:
        peaks.append(float(exact.max()))
        exact = nn.functional.relu(layer(exact))
    for each in chain(layers, peaks):
        rounded = each(rounded)
    assert rounded.dtype is torch.float32 and rounded.shape == (3, 50, 8) and (rounded >= 0).all()
    assert 0 < (rounded - exact).abs().max() < 0.02 * exact.max()


@needs_eight_bits
@torch.inference_mode()
def test_between_the_layers_of_a_chain_values_are_bytes() -> None:
    first, last = chain([nn.Linear(4, 4), nn.Linear(4, 4)], [1.0, 2.0])
    between = first(torch.rand(2, 4))
    assert between.dtype is torch.uint8 and last(between).dtype is torch.float32


@torch.inference_mode()
def test_a_layer_that_is_never_given_anything_says_its_bias(layer: nn.Conv2d) -> None:
    found = EightBitConvolution(layer, 0.0, is_rectified=False)(torch.zeros(1, 32, 5, 5))
    assert layer.bias is not None
    assert torch.equal(found, layer.bias[None, :, None, None].expand_as(found))


@torch.inference_mode()
def test_the_highest_input_of_each_layer_is_seen_over_all_that_runs_and_not_after() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)

    def run() -> None:
        for value in (0.5, 2.0, 1.0):
            first(torch.tensor([[-3.0], [value]]))

    assert highest_inputs([first, second], run).tolist() == [2.0, 0.0]
    assert not first._forward_pre_hooks
