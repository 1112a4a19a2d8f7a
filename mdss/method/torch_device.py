"""Which device a branch computes on, and in which precision it may learn there."""

from __future__ import annotations

import torch

from mdss.errors import BadInput


def device_of(name: str) -> str:
    """Return the torch device of `auto`, `cpu` or `cuda:N`; BadInput where this machine has no such device."""
    count = torch.cuda.device_count()
    if name == "auto":
        return "cuda:0" if count else "cpu"
    known = ["cpu", *(f"cuda:{number}" for number in range(count))]
    if name not in known:
        raise BadInput(f"device: found {name!r}, expected auto or one of this machine's: {', '.join(known)}")
    return name


def learning_precision(device: str) -> torch.autocast:
    """Return the context that a training step runs in: bfloat16 where the device has it in hardware, float32 elsewhere."""
    kind = device.partition(":")[0]
    has_it = torch.cuda.is_bf16_supported() if kind == "cuda" else torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 - torch has no public question
    return torch.autocast(kind, torch.bfloat16, enabled=has_it)
