"""Which device a branch computes on."""

from __future__ import annotations

import torch

from mdss.errors import BadInput


def device_of(setting: str) -> str:
    """Return the torch device of `auto`, `cpu` or `cuda:N`; BadInput where this machine has no such device."""
    if setting == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if setting.startswith("cuda"):
        number = int(setting.partition(":")[2] or 0)
        if number >= torch.cuda.device_count():
            raise BadInput(f"branches device {setting}: this machine has {torch.cuda.device_count()} CUDA devices; expected auto or cpu")
    return setting
