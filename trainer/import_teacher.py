"""Reads a published EfficientAD teacher: EfficientAD's own file (a plain Sequential), or anomalib's with named layers.

The originals were trained with padding inside the network. Padding is no weight, so the numbers fit as they are.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mdss.errors import BadInput
from mdss.method.description_network import PatchDescriptionNetwork

TORCH_SUFFIXES, SAFE_SUFFIX = (".pth", ".pt"), ".safetensors"
LAYERS = ("conv1", "conv2", "conv3", "conv4")
SEQUENTIAL = ("0", "3", "6", "8")  # conv relu pool, conv relu pool, conv relu, conv
MEDIUM = ("10", "12", "conv5", "conv6")  # layers that only the larger network has
WRAPPERS = ("teacher", "state_dict", "model_state_dict", "model")  # keys under which files nest their networks, tried in this order
FLOAT16_LIMIT = 65504.0  # teachers are stored in half precision
UNREADABLE = (OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, pickle.UnpicklingError)


def import_teacher(path: Path) -> tuple[PatchDescriptionNetwork, dict[str, Any]]:
    """Return the PDN-S teacher of a .pth, .pt or .safetensors file, and details for its card. BadInput says what does not fit."""
    stored = _read(path)
    prefix, names = _layout(path, stored)
    medium = [f"{prefix}{name}.weight" for name in MEDIUM if f"{prefix}{name}.weight" in stored]
    if medium:
        raise BadInput(f"{path}: found layer {medium[0]}, this is a PDN-M teacher; expected a PDN-S, whose four layers the student shares")
    network = PatchDescriptionNetwork()
    wanted = network.state_dict()
    weights = {
        f"{layer}.{part}": _weight(path, stored, f"{prefix}{name}.{part}", wanted[f"{layer}.{part}"])
        for layer, name in zip(LAYERS, names, strict=True)
        for part in ("weight", "bias")
    }
    network.load_state_dict(weights)
    layout = "EfficientAD (Sequential)" if names == SEQUENTIAL else "anomalib (named layers)"
    return network.eval(), {"file": path.name, "layout": layout, "prefix": prefix}


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise BadInput(f"{path}: no such file; expected a teacher ({', '.join((*TORCH_SUFFIXES, SAFE_SUFFIX))})")
    suffix = path.suffix.lower()
    if suffix not in (*TORCH_SUFFIXES, SAFE_SUFFIX):
        raise BadInput(f"{path}: found a file ending in {suffix or 'nothing'}, expected {', '.join((*TORCH_SUFFIXES, SAFE_SUFFIX))}")
    try:  # torch.load here alone, for others' teachers: weights_only admits tensors, and calls nothing that the file names
        return _unwrapped(path, load_file(path) if suffix == SAFE_SUFFIX else torch.load(path, map_location="cpu", weights_only=True))
    except (SafetensorError, *UNREADABLE) as error:
        raise BadInput(f"{path}: cannot be read ({_reason(error)}); expected a file that holds weights and nothing else") from error


def _reason(error: Exception) -> str:
    """Return the error without the library's advice, which is to run the file's code."""
    if isinstance(error, pickle.UnpicklingError):
        return "it holds Python objects, whose loading would run code"
    return (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(":. ")


def _unwrapped(path: Path, stored: object) -> Mapping[str, Any]:
    if not isinstance(stored, Mapping):
        raise BadInput(f"{path}: found a {type(stored).__name__}, expected a state dict of layer names and tensors")
    for wrapper in WRAPPERS:
        if isinstance(stored.get(wrapper), Mapping):
            return _unwrapped(path, stored[wrapper])
    return {str(key): value for key, value in stored.items()}


def _layout(path: Path, stored: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the prefix of the layers' names, and these names; of several networks, those of the one called teacher."""
    found = [(key.removesuffix(f"{names[0]}.weight"), names) for names in (SEQUENTIAL, LAYERS) for key in stored if _ends(key, names[0])]
    teachers = [layout for layout in found if layout[0].endswith("teacher.")]
    chosen = teachers if len(teachers) == 1 else found
    if not chosen:
        keys = ", ".join(sorted(stored)[:4]) or "nothing"
        raise BadInput(f"{path}: key conv1.weight or 0.weight is missing; found {keys}, expected the layers of a PDN-S teacher")
    if len(chosen) > 1:
        several = ", ".join(f"{prefix}{names[0]}.weight" for prefix, names in chosen)
        raise BadInput(f"{path}: found several networks ({several}), expected one, or one called teacher")
    return chosen[0]


def _ends(key: str, first: str) -> bool:
    return key == f"{first}.weight" or key.endswith(f".{first}.weight")


def _weight(path: Path, stored: Mapping[str, Any], key: str, wanted: Tensor) -> Tensor:
    shape = tuple(wanted.shape)
    value = stored.get(key)
    if value is None:
        raise BadInput(f"{path}: key {key} is missing; expected a tensor of shape {shape}")
    if not isinstance(value, Tensor):
        raise BadInput(f"{path}: key {key}: found a {type(value).__name__}, expected a tensor of shape {shape}")
    if value.is_meta or value.is_nested or value.layout is not torch.strided:
        raise BadInput(f"{path}: key {key}: found a sparse or nested tensor, or one without numbers, expected a plain one of shape {shape}")
    if tuple(value.shape) != shape or not value.is_floating_point():
        kind = str(value.dtype).removeprefix("torch.")
        raise BadInput(f"{path}: key {key}: found {kind} of shape {tuple(value.shape)}, expected floats of shape {shape}")
    floats = value.detach().float()
    if not bool((floats.abs() <= FLOAT16_LIMIT).all()):
        raise BadInput(f"{path}: key {key}: found values that are not finite or too large, expected at most {FLOAT16_LIMIT:g}")
    return floats
