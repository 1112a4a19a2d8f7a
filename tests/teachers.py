"""What teachers are made of in the tests: a made-up backbone file, made-up photographs, a stop in the middle."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mdss.method.description_network import PatchDescriptionNetwork
from trainer.backbone import weight_shapes


def backbone_arrays(seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return arrays of the names and shapes of the real file, with random weights that keep signals alive."""
    random = np.random.default_rng(seed)
    arrays: dict[str, NDArray[Any]] = {}
    for node, shape in weight_shapes().items():
        arrays[f"{node}_w"] = (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float16)
        arrays[f"{node}_b"] = (random.standard_normal(shape[0]) * 0.1).astype(np.float32)
    return arrays


def write_backbone(path: Path, arrays: dict[str, NDArray[Any]] | None = None) -> Path:
    """Write a backbone file."""
    np.savez(path, **(backbone_arrays() if arrays is None else arrays))  # type: ignore[arg-type]  # numpy's stub takes them for its flag
    return path


def write_photographs(folder: Path, count: int = 4) -> Path:
    """Write pictures of coloured noise of several sizes."""
    folder.mkdir()
    random = np.random.default_rng(1)
    for number in range(count):
        coarse = cv2.resize(random.integers(0, 256, (9, 12, 3), np.uint8), (200, 150), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / f"{number}.png"), coarse // 2 + random.integers(0, 128, (150, 200, 3), np.uint8))
    return folder


def interrupting(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """Return the function; at its n-th call a person presses Ctrl-C."""
    calls = 0

    def called(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(signal.SIGINT)
        return function(*arguments, **named)

    return called


def weights(network: PatchDescriptionNetwork) -> torch.Tensor:
    """Return all weights in one row."""
    return torch.cat([value.flatten() for value in network.state_dict().values()])
