"""Models of synthetic parts, small enough to be trained in a test and good enough to see a stain and a dent."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mdss.method.calibration import now
from mdss.method.model_store import ModelCard, ModelFolder
from mdss.method.point_cloud import prepare
from mdss.method.presets import preset, with_assignments
from mdss.method.recipe import Recipe
from tests.station import SMALL
from trainer.dataset import LoadedScan, Scan
from trainer.gate_terms import EvidencePart
from trainer.model_maker import Parts, make_model
from trainer.synthetic import write_scan
from trainer.synthetic_camera import View
from trainer.synthetic_scan import SyntheticScan, draw_scan

SIDE_PX = 96
NAME = "flange"
PAINTED = "painted"
SEEING = (
    *("rgb.steps=100", "rgb.batch=4", "rgb.warmup_steps=5", "rgb.learning_rate=0.004", "rgb.blur_px=1"),
    *("sdf.steps=300", "sdf.width=64", "sdf.code=32", "sdf.encoder=[32,64]", "sdf.batch=8", "sdf.blur_px=1"),
    *("threshold.method=conformal", "threshold.false_reject_rate=0.05"),
)
NOT_TAUGHT = ("rgb.steps=4", "sdf.steps=8")


@dataclass(frozen=True)
class Learned:
    """What a small model is made from: parts of one kind of each product line, some of them spoiled."""

    product: str = NAME
    spoiled: Sequence[str] = ("good",)  # kinds of the parts, in turns
    settings: Sequence[str] = ()
    training: int = 12
    validation: int = 20

    def scans(self, split: str, count: int) -> list[SyntheticScan]:
        """Return the parts of one split; the same part of every line is the same but for its defect."""
        return [synthetic(self.product, self.spoiled[number % len(self.spoiled)], f"{split}/{number}") for number in range(count)]


@dataclass
class Workshop:
    """Trains small models into one store, each once."""

    store: Path
    _made: dict[str, ModelFolder] = field(default_factory=dict)

    def model(self, tag: str, learned: Learned, seed: int = 0, shape_of: str = "") -> ModelFolder:
        """Return the model of this tag, trained when it is first asked for; its shape branch may be another's that saw the same shapes."""
        if tag not in self._made:
            recipe = with_assignments(preset("demo", seed), (*SMALL, *SEEING, *learned.settings))
            card = ModelCard(name=NAME, recipe=recipe, made_at=now(), code_version="test", data={"training_scans": learned.training})
            parts = parts_of(learned, recipe)
            work = self.store / f".{tag}"
            work.mkdir(parents=True)
            for finished in (self.store / f".{shape_of}").glob("sdf*") if shape_of else ():
                shutil.copy2(finished, work)
            self._made[tag] = make_model(self.store, card, parts, work, "cpu")
        return self._made[tag]


def parts_of(learned: Learned, recipe: Recipe) -> Parts:
    """Return the parts as `mdss train` hands them on."""
    scans = {split: learned.scans(split, getattr(learned, split)) for split in ("training", "validation")}
    prepared = {split: [prepare(scan.rgb, scan.xyz_mm, recipe.point_cloud) for scan in found] for split, found in scans.items()}
    return Parts(prepared["training"], prepared["validation"], lambda number: loaded(scans["validation"][number], f"{number:03d}"))


def loaded(scan: SyntheticScan, name: str) -> LoadedScan:
    """Return a drawn scan as one that was read."""
    nowhere = Path("nowhere")
    return LoadedScan(Scan("validation", "good", name, nowhere, nowhere), scan.rgb, scan.xyz_mm, np.zeros(scan.truth.shape, np.bool_))


def synthetic(product: str, kind: str, name: str) -> SyntheticScan:
    """Draw one part by its name; a painted one has a loud square on it."""
    scan = draw_scan(product, "good" if kind == PAINTED else kind, View(SIDE_PX, SIDE_PX, "mm"), [1, *name.encode()])
    if kind == PAINTED:
        scan.rgb[36:60, 20:44] = (255, 0, 255)
        scan.rgb[40:56:4, 20:44] = 0
    return scan


def evidence(kind: str, count: int, product: str = NAME) -> list[EvidencePart]:
    """Return parts that no small model has learned from."""
    scans = [synthetic(product, kind, f"recent/{kind}/{number}") for number in range(count)]
    return [EvidencePart.of(f"{kind}-{number}", scan.rgb, scan.xyz_mm) for number, scan in enumerate(scans)]


def write_dataset(root: Path, parts: dict[str, list[EvidencePart]]) -> Path:
    """Write test scans of some kinds, clouds in millimetres."""
    for kind, found in parts.items():
        for number, part in enumerate(found):
            rgb, xyz_mm = part.read()
            write_scan(
                root / "test" / kind, f"{number:03d}", SyntheticScan(rgb, xyz_mm, np.zeros(rgb.shape[:2], np.bool_)), "mm", has_truth=False
            )
    return root
