"""Operations of a branch are counted, whether torch knows how many they are or not."""

from __future__ import annotations

import torch
from torch import nn

from mdss.method.eight_bits import EightBitConvolution, chain
from measure.operations import operations_of
from tests.precision import needs_eight_bits


@torch.inference_mode()
def test_a_float_layer_counts_as_wide() -> None:
    layer, values = nn.Linear(100, 50), torch.rand(7, 100)
    assert operations_of(lambda: layer(values), "float") == (2 * 7 * 100 * 50 / 1e9, 0.0, 0.0)
    assert operations_of(lambda: layer(values), "int8") == (0.0, 0.0, 2 * 7 * 100 * 50 / 1e9)


@torch.inference_mode()
def test_a_product_counts_as_much_where_it_is_added_in_place() -> None:
    sums, left, right = torch.rand(7, 50), torch.rand(7, 100), torch.rand(100, 50)
    assert operations_of(lambda: sums.addmm_(left, right), "float") == operations_of(lambda: torch.addmm(sums, left, right), "float")
    assert operations_of(lambda: sums.addmm_(left, right), "float").wide == 2 * 7 * 100 * 50 / 1e9


@needs_eight_bits
@torch.inference_mode()
def test_layers_in_eight_bits_count_as_their_float_ones_would() -> None:
    convolution, pair = nn.Conv2d(16, 32, 3), [nn.Linear(64, 32), nn.Linear(32, 16)]
    image, points = torch.rand(1, 16, 12, 10), torch.rand(3, 5, 64)

    def run(layers: list[nn.Module], first: nn.Module) -> None:
        first(image)
        values = points
        for layer in layers:
            values = layer(values)

    exact = operations_of(lambda: run([*pair], convolution), "float")
    rounded = operations_of(lambda: run([*chain(pair, [1.0, 1.0])], EightBitConvolution(convolution, 1.0, is_rectified=False)), "int8")
    assert rounded == (0.0, exact.wide, 0.0)
