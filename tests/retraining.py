"""A station that has collected parts, and a champion to learn anew: all so small that a test can make it in passing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import yaml
from numpy.typing import NDArray

from mdss.collection import CollectedPart, Collection, Review
from mdss.method.model_store import Change, ModelFolder, linked_version, open_champion, open_version, promote, save
from mdss.method.recipe import Recipe
from mdss.retraining import RetrainRecord, read_record, retrain_folder
from mdss.settings import Settings, load_settings
from mdss.wire.verdict import Evaluation
from tests.lines import SIDE_PX
from tests.station import NAME
from trainer.gate_terms import GateCheck, GateOutcome
from trainer.gathering import Shares
from trainer.model_maker import store_recalibrated
from trainer.retrain_order import RetrainAmounts, RetrainOrder
from trainer.synthetic_camera import View
from trainer.synthetic_scan import SyntheticScan, draw_scan

SECOND_NS = 1_000_000_000
NEW = 6
FEW = RetrainAmounts(least_new=NEW, shares=Shares(validation=0.4, gate=0.2))
VIEW = View(SIDE_PX, SIDE_PX, "m")


@dataclass(frozen=True)
class Plant:
    """A settings file whose station has a store, curated scans and a collection."""

    config: Path
    data: Path

    @property
    def settings(self) -> Settings:
        """The station's settings."""
        return load_settings(self.config)

    @property
    def store(self) -> Path:
        """Its model store."""
        return Path(self.settings.models.store)

    @property
    def state(self) -> Path:
        """Its state directory."""
        return Path(self.settings.station.state_directory)

    @property
    def collection(self) -> Collection:
        """What it has collected."""
        return Collection(self.state / "collected")

    def collect(self, number: int, evaluation: Evaluation = "OK", scan: SyntheticScan | None = None, **fields: Any) -> str:
        """Collect a good part of the line, or the scan that is given; return the id of its result."""
        drawn = scan or good_part(number)
        given: dict[str, Any] = {"part_id": f"part-{number}", "source_id": "cam", "recipe_id": NAME, "score": 0.0, "threshold": 1.0}
        times = {"captured_ns": number * SECOND_NS, "judged_ns": number * SECOND_NS}
        part = CollectedPart(**({"result_id": f"result-{number}", "evaluation": evaluation} | given | times | fields))
        assert self.collection.add(part, drawn.rgb, drawn.xyz_mm)
        return part.result_id

    def mark(self, result_id: str, label: str) -> None:
        """Let a person say what a part is."""
        assert self.collection.label(result_id, Review(label=label, by="somebody", at_ns=1))  # type: ignore[arg-type]


def good_part(number: int, product: str = "flange") -> SyntheticScan:
    """Draw a good part that is in no dataset of the tests."""
    return draw_scan(product, "good", VIEW, [7, number])


def again(scan: SyntheticScan) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a second scan of a part that did not move: other noise, the same part."""
    random = np.random.default_rng(0)
    rgb = np.clip(scan.rgb + random.normal(0, 2, scan.rgb.shape), 0, 255).astype(np.uint8)
    return rgb, np.asarray(scan.xyz_mm + random.normal(0, 0.05, scan.xyz_mm.shape), np.float32)


def write_config(folder: Path, store: Path) -> Path:
    """Write the settings of a station in a folder of its own."""
    tree = {
        "station": {"state_directory": str(folder / "state"), "runtime_directory": str(folder / "run")},
        "models": {"store": str(store), "recipes": [NAME]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "station.yaml"
    path.write_text(yaml.safe_dump(tree), "utf-8")
    return path


def order_of(own: Plant, **changes: Any) -> RetrainOrder:
    """Return what to retrain, with as few parts as a test can make in passing."""
    return replace(RetrainOrder(own.settings, NAME, amounts=FEW), **changes)


def noted_as(own: Plant, **data: Any) -> ModelFolder:
    """Make a copy of the champion, with other entries in its card, the champion."""
    first = open_champion(own.store, NAME)
    card = msgspec.structs.replace(first.card, data=first.card.data | data)
    made = store_recalibrated(first, card, first.calibration, own.store)
    return promote(own.store, NAME, made.version, Change("calibrate"))


def stored_as_trained(store: Path, recipe: Recipe | None = None, /, **data: object) -> ModelFolder:
    """Store the champion's weights once more, as if a training with these settings and entries in its card had made them."""
    first = open_champion(store, NAME)
    card = msgspec.structs.replace(first.card, recipe=recipe or first.recipe, data=first.card.data | data)

    def write(folder: Path) -> None:
        for weights in first.path.glob("*.safetensors"):
            shutil.copy(weights, folder)

    return save(store, card, first.calibration, write)


def answered(model: ModelFolder, *, is_passed: bool) -> GateOutcome:
    """Return a gate's answer, with the champion that it has compared with."""
    check = GateCheck(name="golden parts accepted", side="quality", is_passed=is_passed, says="3 golden parts")
    reasons = () if is_passed else ("golden parts accepted: 3 golden parts",)
    champion, folder = linked_version(model.path.parent, "champion"), model.path.parent / "gates" / model.version
    return GateOutcome(
        recipe=NAME, champion=champion, candidate=model.version, is_passed=is_passed, reasons=reasons, checks=(check,), parts={},
        judged_at="now", folder=str(folder),
    )  # fmt: skip


def shown_to(own: Plant, version: str) -> list[str]:
    """Return the collected parts that a version was made from or judged by."""
    data = open_version(own.store / NAME / version).card.data
    return [*data["collected_parts"], *data["gate_parts"]]


def record_of(own: Plant) -> RetrainRecord:
    """Return what the last retraining came to."""
    found = read_record(retrain_folder(own.state), NAME)
    assert found is not None
    return found


def work_of(own: Plant) -> Path:
    """Return where a training that is under way keeps what it has."""
    return order_of(own).work
