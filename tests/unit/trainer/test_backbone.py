"""The backbone file: what is read, where its features lie, and each fault's sentence."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdss.errors import BadInput
from mdss.method.description_network import CENTRE_PX, STRIDE_PX
from tests.teachers import backbone_arrays, write_backbone
from trainer.backbone import COARSE_LAYER, FINE_LAYER, MobileNetV2Features, weight_shapes
from trainer.backbone_target import sample_layer

HALVING = ("000_CONV", "004_DW", "011_DW", "022_DW")
Arrays = dict[str, NDArray[Any]]


def refusal(path: Path) -> str:
    """Return the sentence with which a file is refused."""
    with pytest.raises(BadInput) as refused:
        MobileNetV2Features.load(path)
    return str(refused.value)


def linear_backbone() -> MobileNetV2Features:
    """Return a backbone of even weights that halves the picture by 1-2-1 and else looks at single pixels; nothing in it saturates."""
    weights: dict[str, Tensor] = {}
    for node, shape in weight_shapes().items():
        kernel = torch.tensor([[1.0]])
        if shape[-1] == 3:
            row = torch.tensor([1.0, 2.0, 1.0] if node in HALVING else [0.0, 1.0, 0.0])
            kernel = row.outer(row)
        weights[f"{node}_w"] = (kernel / kernel.sum() / shape[1]).expand(shape).clone()
        weights[f"{node}_b"] = torch.zeros(shape[:1])
    weights["000_CONV_w"] *= 0.01  # each addition doubles: eight of them stay below 6
    weights["000_CONV_b"] += 0.01
    return MobileNetV2Features(weights)


def test_the_layout_is_that_of_a_mobilenet_v2() -> None:
    shapes = weight_shapes()
    assert len(shapes) == 40
    assert list(shapes)[:4] == ["000_CONV", "001_DW", "002_CONV", "003_CONV"]
    assert "009_CONV" not in shapes  # an addition
    assert shapes["010_CONV"] == (144, 24, 1, 1)
    assert shapes[FINE_LAYER] == (192, 32, 1, 1)
    assert shapes["022_DW"] == (192, 1, 3, 3)
    assert shapes[COARSE_LAYER] == (576, 96, 1, 1)


def test_the_weights_are_those_of_the_file(tmp_path: Path) -> None:
    network = MobileNetV2Features.load(write_backbone(tmp_path / "backbone.npz"))
    for name, array in backbone_arrays().items():
        assert (network.get_buffer(f"node_{name}").numpy() == array.astype(np.float32)).all()


def test_both_layers_have_the_size_of_their_stride(tmp_path: Path) -> None:
    network = MobileNetV2Features.load(write_backbone(tmp_path / "backbone.npz"))
    image = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    fine, coarse = network(image)
    assert fine.shape == (2, 192, 12, 8) and coarse.shape == (2, 576, 6, 4)
    for layer in (fine, coarse):
        assert torch.isfinite(layer).all() and layer.min() >= 0 and layer.max() <= 6
        assert layer.std() > 0.01


@pytest.mark.parametrize(("layer", "stride"), [(0, 8), (1, 16)])
def test_a_bright_dot_is_sampled_at_the_position_that_looks_at_it(layer: int, stride: int) -> None:
    network = linear_backbone()
    for row, column in ((4, 4), (5, 10), (9, 6), (11, 11)):
        image = torch.full((1, 3, 192, 192), 0.5)
        without = network(image)[layer]
        top, left = (2 * (position * STRIDE_PX + CENTRE_PX) for position in (row, column))
        image[:, :, top : top + 2, left : left + 2] = 1  # in the crop of half the size: one pixel at the position's centre
        answer = sample_layer(network(image)[layer] - without, stride, 96).mean(1)[0]
        places = torch.arange(len(answer))
        seen = [float((answer.sum(other) * places).sum() / answer.sum()) for other in (1, 0)]
        assert seen == pytest.approx([row, column], abs=0.15)


@pytest.mark.parametrize("stride", [8, 16])
def test_each_position_is_given_the_middle_of_its_pixel_in_the_doubled_crop(stride: int) -> None:
    cells = 192 // stride
    centres = (stride * torch.arange(cells) + stride - 1.0).expand(1, 1, cells, cells)  # across; each cell says on which pixel it lies
    answer = sample_layer(centres, stride, 96)[0, 0]
    positions = STRIDE_PX * torch.arange(len(answer)) + CENTRE_PX
    inside = slice(4, -4)
    assert answer[0, inside].numpy() == pytest.approx(((positions + 0.5) * 2 - 0.5)[inside].numpy(), abs=1e-3)


@pytest.mark.parametrize("stride", [8, 16])
def test_a_position_is_given_the_mean_of_three_by_three_cells_and_none_lies_so_near_the_edge_that_some_are_missing(stride: int) -> None:
    for side_px in range(48, 136, 8):
        cells = torch.ones(1, 1, 2 * side_px // stride, 2 * side_px // stride)
        assert sample_layer(cells, stride, side_px).numpy() == pytest.approx(1, abs=1e-5)
    cells = torch.ones(1, 1, 192 // stride, 192 // stride)
    for axis in (2, 3):
        one_in_three = torch.zeros_like(cells)
        one_in_three.index_fill_(axis, torch.arange(0, cells.shape[axis], 3), 3)
        answer = sample_layer(one_in_three, stride, 96)[..., 4:-4, 4:-4]
        assert answer.numpy() == pytest.approx(1, abs=1e-5)


def test_grey_is_nothing_to_the_first_layer_and_each_of_the_additions_counts() -> None:
    fine, coarse = linear_backbone()(torch.full((1, 3, 64, 64), 0.5))
    assert fine[0, :, 0, 0].numpy() == pytest.approx(0.01 * 2**3, rel=1e-4)  # the first layer's bias, after the additions up to stride 8
    assert coarse[0, :, 0, 0].numpy() == pytest.approx(0.01 * 2**8, rel=1e-4)


@pytest.mark.parametrize(
    ("node", "following", "most"),
    [("000_CONV", "001_DW", 6), ("001_DW", "002_CONV", 6), ("003_CONV", "004_DW", 6), ("002_CONV", "003_CONV", 100.01)],
)
def test_what_a_layer_says_ends_at_six_except_after_a_projection(node: str, following: str, most: float) -> None:
    network = linear_backbone()
    network.get_buffer(f"node_{node}_b").add_(100)
    network.get_buffer(f"node_{following}_w").mul_(1e-3)
    fine, _ = network(torch.full((1, 3, 64, 64), 0.5))
    assert fine[0, :, 0, 0].numpy() == pytest.approx(most * 1e-3 * 2**3, rel=1e-4)


def changed(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Arrays], None]:
    """Return what puts another array in the place of one."""

    def apply(arrays: Arrays) -> None:
        arrays[name] = change(arrays[name])

    return apply


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda arrays: arrays.pop("021_CONV_w"), "array 021_CONV_w is missing; expected a MobileNetV2 backbone with 021_CONV_w of shape"),
        (lambda arrays: arrays.pop("047_CONV_b"), "array 047_CONV_b is missing"),
        (
            changed("022_DW_w", lambda array: array[:, :, :, :2]),
            "array 022_DW_w: found float16 of shape (192, 1, 3, 2), expected floats of shape (192, 1, 3, 3)",
        ),
        (changed("000_CONV_b", lambda array: array.astype(np.int8)), "array 000_CONV_b: found int8 of shape (32,), expected floats"),
        (changed("000_CONV_w", lambda array: array * np.float16(np.nan)), "array 000_CONV_w: found values that are not finite"),
        (changed("000_CONV_w", lambda array: array.astype(object)), "cannot be read as a backbone (Object arrays cannot be loaded"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, change: Callable[[Arrays], None], sentence: str) -> None:
    arrays = backbone_arrays()
    change(arrays)
    path = write_backbone(tmp_path / "backbone.npz", arrays)
    assert refusal(path).startswith(f"{path}: {sentence}")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_backbone(tmp_path / "backbone.npz")
    content = path.read_bytes()
    for kept in (content[:-100], content[: len(content) // 2], b"", b"no archive at all"):
        path.write_bytes(kept)
        assert refusal(path).startswith(f"{path}: cannot be read as a backbone (")


@pytest.mark.parametrize("is_in_the_middle", [True, False])
def test_a_file_with_damage_is_refused(tmp_path: Path, is_in_the_middle: bool) -> None:
    path = tmp_path / "backbone.npz"
    np.savez_compressed(path, **backbone_arrays())  # type: ignore[arg-type]  # numpy's stub takes them for its flag
    content = bytearray(path.read_bytes())
    first = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")  # behind the first array's file name
    damaged = len(content) // 2 if is_in_the_middle else first
    content[damaged : damaged + 100] = 100 * (b"\0" if is_in_the_middle else b"\xff")
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: cannot be read as a backbone (")


@pytest.mark.parametrize(
    ("was", "found"),
    [(b"), }", b"),  "), (b"'<f2'", b"'<02'"), (b"(32, 3, 3, 3), }        ", b"(999999999999999999,), }")],
)
def test_an_array_whose_own_header_is_damaged_is_refused(tmp_path: Path, was: bytes, found: bytes) -> None:
    path = write_backbone(tmp_path / "backbone.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    first = "000_CONV_w.npy"
    assert was in members[first]
    members[first] = members[first].replace(was, found)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert refusal(path).startswith(f"{path}: cannot be read as a backbone (")


def test_an_array_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "backbone.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert "cannot be read as a backbone" in refusal(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.npz") == f"{tmp_path}/none.npz: no such file; expected a MobileNetV2 backbone (.npz)"
