"""Published teachers: both formats give the same network, and what is none is refused in a sentence."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mdss.errors import BadInput
from mdss.method.description_network import IMAGENET_MEAN, IMAGENET_STD
from trainer.import_teacher import LAYERS, SEQUENTIAL, import_teacher

State = dict[str, Tensor]


def published() -> nn.Sequential:
    """Return a network built as EfficientAD builds its small teacher, without padding."""
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(3, 128, 4),
        nn.ReLU(),
        nn.AvgPool2d(2, 2),
        nn.Conv2d(128, 256, 4),
        nn.ReLU(),
        nn.AvgPool2d(2, 2),
        nn.Conv2d(256, 256, 3),
        nn.ReLU(),
        nn.Conv2d(256, 384, 4),
    )


def named(prefix: str = "") -> State:
    """Return its weights under anomalib's names."""
    names = dict(zip(SEQUENTIAL, LAYERS, strict=True))
    return {f"{prefix}{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in published().state_dict().items()}


def prefixed(prefix: str, state: State) -> State:
    """Return the weights with something before each name."""
    return {f"{prefix}{key}": value for key, value in state.items()}


def write(path: Path, state: object) -> Path:
    """Write a file as its suffix asks."""
    if path.suffix == ".safetensors":
        assert isinstance(state, dict)
        save_file({key: value.clone() for key, value in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def refusal(path: Path) -> str:
    """Return the sentence with which a file is refused."""
    with pytest.raises(BadInput) as refused:
        import_teacher(path)
    assert str(refused.value).startswith(f"{path}: ")
    return str(refused.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "state", "prefix"),
    [
        ("teacher_small.pth", published().state_dict(), ""),
        ("teacher_small.pt", named(), ""),
        ("teacher.safetensors", named(), ""),
        ("sequential.safetensors", dict(published().state_dict()), ""),
        ("wrapped.pth", {"state_dict": named("model."), "epoch": 3}, "model."),
        ("wrapped_twice.pth", {"model": {"state_dict": prefixed("teacher.", published().state_dict())}}, "teacher."),
        ("side_by_side.pth", {"student": named(), "teacher": published().state_dict()}, ""),
        ("whole_model.pth", prefixed("model.", named("teacher.") | named("student.") | {"mean": torch.ones(384)}), "model.teacher."),
    ],
)
def test_every_layout_says_the_same_as_the_published_network(tmp_path: Path, name: str, state: object, prefix: str) -> None:
    network, details = import_teacher(write(tmp_path / name, state))
    image = torch.rand(1, 3, 48, 52, generator=torch.Generator().manual_seed(0))
    normal = (image - torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(network(image), published()(normal))
    assert details["file"] == name and details["prefix"] == prefix
    assert not network.training


def test_half_precision_is_read(tmp_path: Path) -> None:
    network, _ = import_teacher(write(tmp_path / "half.safetensors", {key: value.half() for key, value in named().items()}))
    assert network.conv4.weight.dtype == torch.float32


def medium() -> State:
    """Return the weights of the larger network."""
    sizes = ((3, 256, 4), (256, 512, 4), (512, 512, 1), (512, 512, 3), (512, 384, 4), (384, 384, 1))
    return {f"conv{number}.weight": torch.zeros(outs, ins, side, side) for number, (ins, outs, side) in enumerate(sizes, 1)}


@pytest.mark.parametrize("rename", [lambda key: key, lambda key: f"{(0, 3, 6, 8, 10, 12)[int(key[4]) - 1]}.weight"])
def test_the_larger_network_is_refused(tmp_path: Path, rename: Callable[[str], str]) -> None:
    sentence = refusal(write(tmp_path / "teacher_medium.pth", {rename(key): value for key, value in medium().items()}))
    assert sentence.endswith("this is a PDN-M teacher; expected a PDN-S, whose four layers the student shares")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"conv3.bias": None}, "key conv3.bias is missing; expected a tensor of shape (256,)"),
        ({"conv4.weight": torch.zeros(768, 256, 4, 4)}, "key conv4.weight: found float32 of shape (768, 256, 4, 4), expected floats"),
        ({"conv2.weight": torch.zeros(256, 128, 4, 4, dtype=torch.int32)}, "key conv2.weight: found int32 of shape (256, 128, 4, 4)"),
        ({"conv1.bias": [0.0] * 128}, "key conv1.bias: found a list, expected a tensor of shape (128,)"),
        ({"conv2.weight": torch.zeros(256, 128, 4, 4).to_sparse()}, "key conv2.weight: found a sparse or nested tensor"),
        ({"conv2.weight": torch.empty(256, 128, 4, 4, device="meta")}, "key conv2.weight: found a sparse or nested tensor"),
        ({"conv1.bias": torch.full((128,), torch.nan)}, "key conv1.bias: found values that are not finite or too large"),
        ({"conv1.bias": torch.full((128,), 7e4)}, "key conv1.bias: found values that are not finite or too large"),
        ({"conv1.weight": None}, "key conv1.weight or 0.weight is missing; found conv1.bias, conv2.bias, conv2.weight, conv3.bias"),
        (named("student."), "found several networks (conv1.weight, student.conv1.weight), expected one, or one called teacher"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    state = {key: value for key, value in {**named(), **change}.items() if value is not None}
    assert refusal(write(tmp_path / "teacher.pth", state)).startswith(sentence)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    path = write(tmp_path / f"teacher{suffix}", named())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert refusal(path).startswith("cannot be read (")


def test_a_file_that_holds_itself_is_refused(tmp_path: Path) -> None:
    state: dict[str, object] = dict(named())
    state["model"] = state
    assert refusal(write(tmp_path / "teacher.pth", state)).startswith("cannot be read (")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pth"
    torch.save(published(), path)  # the whole network, pickled, as some scripts save it
    assert refusal(path).startswith("cannot be read (it holds Python objects, whose loading would run code); expected")
    path.write_bytes(pickle.dumps(Path("elsewhere"), protocol=2))
    assert refusal(path).endswith("expected a file that holds weights and nothing else")


def test_a_list_is_no_teacher(tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "list.pt", [1, 2])) == "found a list, expected a state dict of layer names and tensors"


def test_files_of_another_kind_and_missing_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "teacher.onnx").touch()
    assert refusal(tmp_path / "teacher.onnx") == "found a file ending in .onnx, expected .pth, .pt, .safetensors"
    assert refusal(tmp_path / "none.pth") == "no such file; expected a teacher (.pth, .pt, .safetensors)"
