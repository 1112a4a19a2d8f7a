"""Weights of one network on disk: safetensors, so that loading runs no code."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from mdss.errors import ModelRefused


def write_weights(network: nn.Module, path: Path) -> None:
    """Write everything that the network learned or measured."""
    save_file({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, path)


def read_weights(network: nn.Module, path: Path) -> None:
    """Fill the network from a file of exactly its tensors; ModelRefused names the file otherwise."""
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError as error:
        raise ModelRefused(f"{path}: no such file; expected the weights of {type(network).__name__}") from error
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelRefused(f"{path}: {error}; expected the weights of {type(network).__name__}") from error
