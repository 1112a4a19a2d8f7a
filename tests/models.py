"""More versions and more recipes of a model that was trained once: what counts is that they are told apart."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from mdss.method import model_store
from mdss.method.golden import GOLDEN, SCORES
from mdss.method.model_store import ModelFolder
from mdss.method.store_files import CALIBRATION, CARD, SUMS


def another(store: Path, recipe: str, name: str = "", change: Callable[[Path], object] = lambda _: None) -> ModelFolder:
    """Store a recipe's champion once more, as its next version, or as the first of another recipe; with a change, whole all the same."""
    model = model_store.open_champion(store, recipe)

    def copy(folder: Path) -> None:
        for file in model.path.iterdir():
            if file.name in (CARD, CALIBRATION, SUMS):
                continue
            (shutil.copytree if file.is_dir() else shutil.copyfile)(file, folder / file.name)
        change(folder)

    return model_store.save(store, msgspec.structs.replace(model.card, name=name or recipe), model.calibration, copy)


def damage(model: ModelFolder) -> ModelFolder:
    """Flip a bit of a model's weights, as a bad disk would."""
    weights = model.path / "sdf.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    return model


def other_scores(folder: Path) -> None:
    """Let the golden scans of a model have other scores than its weights give them."""
    path = folder / GOLDEN / SCORES
    scores = msgspec.json.decode(path.read_bytes())
    for scan in scores["scans"]:
        scan["rgb"] *= 1.1
    path.write_bytes(msgspec.json.encode(scores))
