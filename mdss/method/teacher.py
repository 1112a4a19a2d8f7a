"""Teachers on disk: float16 weights, and beside them a card that says how they were made."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from mdss.errors import UNREADABLE, BadInput
from mdss.method.description_network import PatchDescriptionNetwork
from mdss.method.store_files import sha256
from mdss.whole_files import write_json, write_whole

SHIPPED = Path(__file__).parent


class TeacherCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a person should know of a teacher; `details` are the settings and figures of how it was made."""

    kind: str  # distilled, procedural or imported
    source: str
    licence: str
    made_at: str
    details: dict[str, Any] = {}
    sha256: str = ""  # of the weights file


def path_of(name: str) -> Path:
    """Return the weights file of a teacher: `name` is a shipped teacher's (such as `default`) or a path."""
    shipped = SHIPPED / f"{name}_teacher.safetensors"
    return shipped if shipped.is_file() else Path(name)


def load_teacher(name: str) -> tuple[PatchDescriptionNetwork, TeacherCard]:
    """Return a teacher in float32, frozen, and its card. BadInput names what is missing or does not fit."""
    path = path_of(name)
    if not path.is_file():
        raise BadInput(f"teacher {name!r}: no such file; expected {', '.join(shipped_names())} or a path to a .safetensors file")
    card = read_card(path)
    if card.sha256 != sha256(path):
        raise BadInput(
            f"{path}: the weights do not match the checksum in {card_path(path).name}; expected the file that the card describes"
        )
    network = PatchDescriptionNetwork()
    try:
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except (SafetensorError, RuntimeError) as error:
        raise BadInput(f"{path}: found {error}; expected the weights of a PDN-S teacher") from error
    return network.eval().requires_grad_(requires_grad=False), card


def save_teacher(path: Path, network: PatchDescriptionNetwork, card: TeacherCard) -> None:
    """Write float16 weights, and beside them the card with their checksum; each file whole or not at all."""
    content = save({key: value.detach().to("cpu", torch.float16).contiguous() for key, value in network.state_dict().items()})
    write_whole(path, content)
    write_json(card_path(path), msgspec.structs.replace(card, sha256=hashlib.sha256(content).hexdigest()))


def card_path(path: Path) -> Path:
    """Return the path of a weights file's card."""
    return path.with_suffix(".json")


def read_card(path: Path) -> TeacherCard:
    """Return the card of a weights file."""
    card = card_path(path)
    try:
        return msgspec.json.decode(card.read_bytes(), type=TeacherCard)
    except FileNotFoundError as error:
        raise BadInput(f"{card}: no such file; expected the card of {path.name}") from error
    except UNREADABLE as error:
        raise BadInput(f"{card}: {error}; expected a teacher's card") from error


def shipped_names() -> list[str]:
    """Return the names of the teachers that ship with the project."""
    return sorted(path.name.removesuffix("_teacher.safetensors") for path in SHIPPED.glob("*_teacher.safetensors"))
