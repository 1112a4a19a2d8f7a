"""What each branch learns from, on disk for a process of its own: image and mask for colour, the cloud for shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

Branch = Literal["rgb", "sdf"]
SOME = 24
BRANCHES: tuple[Branch, ...] = ("rgb", "sdf")
LOOKS_AT: dict[Branch, tuple[str, ...]] = {"rgb": ("rgb", "mask"), "sdf": ("xyz",)}


class Part(Protocol):
    """What both branches together learn from."""

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The image (S, S, 3)."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the part is (S, S)."""

    @property
    def xyz(self) -> NDArray[np.float32]:
        """The cloud (S, S, 3) mm."""


@dataclass(frozen=True)
class Half:
    """What one branch looks at; the other's arrays are empty."""

    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    xyz: NDArray[np.float32]


def hand_out(branch: Branch, parts: Sequence[Part], work: Path) -> None:
    """Write what a branch looks at for a process of its own to read."""
    save_file({name: np.stack([getattr(part, name) for part in parts]) for name in LOOKS_AT[branch]}, _file(branch, work))


def handed_out(branch: Branch, work: Path) -> list[Half]:
    """Return what `hand_out` wrote."""
    with safe_open(_file(branch, work), framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in LOOKS_AT[branch]}
    nothing = {"rgb": np.empty(0, np.uint8), "mask": np.empty(0, np.bool_), "xyz": np.empty(0, np.float32)}
    return [Half(**(nothing | dict(zip(arrays, each, strict=True)))) for each in zip(*arrays.values(), strict=True)]


def some_of(parts: Sequence[Part]) -> Sequence[Part]:
    """Return at least two dozen parts where there are so many, from the first to the last: enough to measure what good parts are like."""
    return parts[:: max(1, len(parts) // SOME)]


def _file(branch: Branch, work: Path) -> Path:
    return work / f"{branch}.parts"
