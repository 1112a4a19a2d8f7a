"""Operations of a branch are counted, whether torch knows how many they are or not."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from mdss.method.eight_bits import EightBitConvolution, chain
from mdss.method.presets import PRESETS
from mdss.method.student_teacher import StudentTeacher, Window
from measure.operations import operations_of
from tests.pages import ROOT
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


@pytest.mark.parametrize(("preset", "sentence"), [("edge", "of colour  =  "), ("paper", "`paper` takes ")])
def test_the_page_on_speed_says_how_much_colour_multiplies_for_a_part_of_any_size(preset: str, sentence: str) -> None:
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    (said,) = re.findall(rf"{sentence}([\d.]+) \(h / 4 \+ ([\d.]+)\) \(w / 4 \+ \2\)", page)
    factor, around = map(float, said)
    networks, padded = StudentTeacher(PRESETS[preset].rgb).to("meta"), torch.empty(1, 3, 288, 288, device="meta")
    for top, left, height, width in ((61, 64, 133, 118), (50, 59, 142, 139), (21, 30, 200, 170), (8, 8, 240, 220), (90, 91, 60, 80)):
        mask = np.zeros((256, 256), bool)
        mask[top : top + height, left : left + width] = True
        crop = Window.around(mask, 64).crop(padded)
        counted = operations_of(partial(networks, crop, "squared"), "float").wide
        assert factor * (height / 4 + around) * (width / 4 + around) == pytest.approx(counted, rel=0.04)
