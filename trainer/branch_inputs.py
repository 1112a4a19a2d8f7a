"""What each branch learns from, written to disk for a process of its own: image and mask for colour, the cloud for shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mdss.errors import MdssError
from mdss.method.brightness import object_brightness
from mdss.method.grid import Grid
from mdss.method.point_cloud import Prepared

Branch = Literal["rgb", "sdf"]
SAMPLED_PARTS = 24
BRANCHES: tuple[Branch, ...] = ("rgb", "sdf")
LOOKS_AT: dict[Branch, tuple[str, ...]] = {"rgb": ("rgb", "mask"), "sdf": ("xyz",)}
GRIDS = "grids"  # key in a file of parts: height, width and size of each part's grid


@dataclass(frozen=True)
class BranchInput:
    """The half of a part that one branch looks at; the other branch's arrays are empty."""

    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    xyz: NDArray[np.float32]
    grid: Grid


Part = Prepared | BranchInput  # a part as a branch learns from it


def write_branch_inputs(branch: Branch, parts: Sequence[Part], work: Path) -> None:
    """Write the branch's half of all parts into `work`, for its process to read."""
    arrays = {name: np.stack([getattr(part, name) for part in parts]) for name in LOOKS_AT[branch]}
    arrays[GRIDS] = np.array([(part.grid.height, part.grid.width, part.grid.size) for part in parts])
    path = _file(branch, work)
    try:
        save_file(arrays, path)
    except SafetensorError as error:
        raise MdssError(f"{path}: {error}; expected a folder with room for what the {branch} branch learns from") from error


def read_branch_inputs(branch: Branch, work: Path) -> list[BranchInput]:
    """Return what `write_branch_inputs` wrote."""
    with safe_open(_file(branch, work), framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in LOOKS_AT[branch]}
        grids = [Grid(*map(int, sizes)) for sizes in file.get_tensor(GRIDS)]
    nothing = {"rgb": np.empty(0, np.uint8), "mask": np.empty(0, np.bool_), "xyz": np.empty(0, np.float32)}
    halves = zip(*arrays.values(), strict=True)
    return [BranchInput(**(nothing | dict(zip(arrays, half, strict=True))), grid=grid) for half, grid in zip(halves, grids, strict=True)]


def sample_parts(parts: Sequence[Part]) -> Sequence[Part]:
    """Return at least 24 evenly chosen parts, or all of fewer: enough to measure what good parts are like."""
    return parts[:: max(1, len(parts) // SAMPLED_PARTS)]


def mean_brightness(parts: Sequence[Part]) -> float:
    """Return the mean object brightness of the parts, 0 to 255."""
    return float(np.mean([object_brightness(part.rgb, part.mask) for part in parts]))


def _file(branch: Branch, work: Path) -> Path:
    return work / f"{branch}.parts"
