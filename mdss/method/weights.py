"""Weights of one network on disk: safetensors, so that loading runs no code."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mdss.errors import ModelRefused
from mdss.whole_files import write_whole


def write_weights(network: nn.Module, path: Path) -> None:
    """Write all parameters and buffers of the network, whole or not at all."""
    write_whole(path, save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}))


def read_weights(network: nn.Module, path: Path) -> None:
    """Fill the network from a file with exactly its tensors. ModelRefused names the file and the first tensor that does not fit."""
    if not path.is_file():
        raise ModelRefused(f"{path}: no such file; expected the weights of {type(network).__name__}")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelRefused(f"{path}: {error}; expected the weights of {type(network).__name__}") from error
    expected = network.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if _shape(tensors.get(name)) != _shape(expected.get(name)):
            raise ModelRefused(f"{path}: {name}: found {_shape(tensors.get(name))}, expected {_shape(expected.get(name))}")
    network.load_state_dict(tensors)


def _shape(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"a tensor of shape {tuple(tensor.shape)}"
