"""Checkpoints of unfinished trainings: safetensors with JSON in the header, so that reading one runs no code from the file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mdss.errors import BadInput
from mdss.whole_files import write_whole

FORMAT = "mdss.checkpoint.v1"
CARD = "card"  # the only entry of the header
NETWORK, OPTIMISER, LOSSES = "network.", "optimiser.", "losses"
ZIP = b"PK"  # how checkpoints of earlier releases begin, which torch.save wrote


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint holds besides tensors."""

    format: str
    seconds: float
    settings: dict[str, Any]
    sha256: str  # of the tensors


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a training needs to go on as if it had never stopped."""

    network: dict[str, Tensor]
    moments: dict[int, dict[str, Tensor]]  # of the optimiser, for each parameter by its number
    losses: list[float]
    seconds: float
    settings: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        tensors = {f"{NETWORK}{name}": value for name, value in self.network.items()}
        tensors |= {f"{OPTIMISER}{number}.{name}": value for number, values in self.moments.items() for name, value in values.items()}
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        tensors[LOSSES] = torch.tensor(self.losses, dtype=torch.float64)
        card = Card(format=FORMAT, seconds=self.seconds, settings=self.settings, sha256=digest(tensors))
        write_whole(path, save(tensors, {CARD: msgspec.json.encode(card).decode()}))

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read what `write` wrote. BadInput says why a file is no checkpoint, is of an earlier release, or is damaged."""
        try:
            with path.open("rb") as file:
                is_old = file.read(len(ZIP)) == ZIP
            if is_old:
                raise BadInput(
                    f"{path}: found a checkpoint of an earlier release, expected one of this ({FORMAT}); begin the training anew"
                )
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
                card = msgspec.json.decode((file.metadata() or {}).get(CARD, ""), type=Card)
        except (OSError, SafetensorError, msgspec.MsgspecError) as error:
            raise _unusable(path, str(error)) from error
        if card.format != FORMAT or LOSSES not in tensors:
            raise _unusable(path, f"it is of the format {card.format!r}")
        if card.sha256 != digest(tensors):
            raise _unusable(path, "its numbers are not those that were written")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(OPTIMISER, tensors).items():
            number, _, field = name.partition(".")
            moments.setdefault(int(number), {})[field] = value
        return cls(_below(NETWORK, tensors), moments, tensors[LOSSES].tolist(), card.seconds, card.settings)


def steps_in(path: Path) -> int:
    """Return how many steps a checkpoint has come, without reading its weights; 0 where there is none, or none of this release."""
    try:
        with safe_open(path, framework="pt") as file:
            return int(file.get_slice(LOSSES).get_shape()[0])
    except (OSError, SafetensorError):
        return 0


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return one checksum over the tensors' names, types, shapes and numbers."""
    total = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def as_stored(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they come back from a checkpoint: tuples become lists."""
    stored: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))
    return stored


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _unusable(path: Path, why: str) -> BadInput:
    reason = (why.splitlines() or ["it cannot be read"])[0].rstrip(":.")
    return BadInput(f"{path}: cannot be resumed ({reason}); expected this training's checkpoint")
