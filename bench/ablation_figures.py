"""Measures what one recipe reaches on one dataset: trained where needed, calibrated and scored as the trainer does, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.fusion_rules import Scores
from bench.judged_parts import JudgedOn, JudgedParts, MarkedPart
from bench.kept_networks import KeptNetworks, digest_of, map_facts
from mdss.method.fusion import fuse
from mdss.method.metrics import Metrics, measure
from mdss.method.recipe import PointCloudSettings, Recipe
from mdss.whole_files import write_json
from trainer.branch_inputs import Branch
from trainer.calibrate import Maps, calibration_of
from trainer.dataset import Dataset, Scan
from trainer.progress import tracked

Float = NDArray[np.float32]
KEPT_MAPS = 2  # per branch: the base's, which every row of the other branch needs, and those of the current row


@dataclass(frozen=True)
class BranchMaps:
    """One branch's maps of all parts that are not trained on; its metrics leave out defects that this branch cannot see."""

    validation: list[Float]  # (S, S) each
    judged: list[Float]
    metrics: Metrics


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one recipe; other rules of fusion start from its scores."""

    recipe: Recipe
    rgb: Metrics
    sdf: Metrics
    fused: Metrics
    validation: Scores
    test: Scores
    is_defective: tuple[bool, ...]


class Bench:
    """Measures recipes on one dataset; results that are in its folder are not computed again."""

    def __init__(self, dataset: Dataset, work: Path, device: str, judged_on: JudgedOn = "test") -> None:
        self._dataset, self._work, self._judged_on = dataset, work, judged_on
        self._networks = KeptNetworks(work / "networks", names_of(dataset, dataset.train), device)
        self._parts: dict[PointCloudSettings, JudgedParts] = {}
        self._seen: dict[Branch, dict[str, BranchMaps]] = {"rgb": {}, "sdf": {}}

    def figures(self, recipe: Recipe) -> Figures:
        """Return what the recipe reaches, read from the folder if it was measured before."""
        judged = self._dataset.test if self._judged_on == "test" else []
        scans = names_of(self._dataset, [*self._dataset.train, *self._dataset.validation, *judged])
        teacher = map_facts(recipe, "rgb")["teacher"]
        path = self._work / "figures" / f"{digest_of(scans, self._judged_on, recipe, teacher)}.json"
        if path.is_file():
            return msgspec.json.decode(path.read_bytes(), type=Figures)
        found = self._measure(recipe)
        write_json(path, found)
        return found

    def _measure(self, recipe: Recipe) -> Figures:
        parts = self._prepared(recipe)
        rgb, sdf = self._look(recipe, "rgb"), self._look(recipe, "sdf")
        calibration = calibration_of(Maps(rgb.validation, sdf.validation, [part.mask for part in parts.validation]), recipe)
        fused = [fuse(*pair, calibration) for pair in zip(rgb.judged, sdf.judged, strict=True)]
        return Figures(
            recipe=recipe,
            rgb=rgb.metrics,
            sdf=sdf.metrics,
            fused=self._metrics(parts.judged, [each.map for each in fused], [each.score for each in fused]),
            validation=Scores(peaks(rgb.validation), peaks(sdf.validation)),
            test=Scores(peaks(rgb.judged), peaks(sdf.judged)),
            is_defective=tuple(part.is_defective for part in parts.judged),
        )

    def _prepared(self, recipe: Recipe) -> JudgedParts:
        if recipe.point_cloud not in self._parts:
            self._parts[recipe.point_cloud] = JudgedParts.of(self._dataset, recipe, self._judged_on)
        return self._parts[recipe.point_cloud]

    def _look(self, recipe: Recipe, half: Branch) -> BranchMaps:
        """Return a branch's maps, and remember those of the last two recipes."""
        kept, key = self._seen[half], digest_of(map_facts(recipe, half))
        seen = kept.pop(key, None) or self._score(recipe, half)
        kept[key] = seen
        while len(kept) > KEPT_MAPS:
            del kept[next(iter(kept))]
        return seen

    def _score(self, recipe: Recipe, half: Branch) -> BranchMaps:
        parts, networks = self._prepared(recipe), self._networks
        map_of = networks.colour(parts.training, recipe).map_of if half == "rgb" else networks.shape(parts.training, recipe).map_of
        validation = [map_of(part) for part in tracked(parts.validation, f"{half} validation")]
        judged = [map_of(part.prepared) for part in tracked(parts.judged, f"{half} {self._judged_on}")]
        shown = [number for number, part in enumerate(parts.judged) if half in part.shows_in]
        maps = [judged[number] for number in shown]
        return BranchMaps(validation, judged, self._metrics([parts.judged[number] for number in shown], maps, peaks(maps)))

    def _metrics(self, parts: Sequence[MarkedPart], maps: Sequence[Float], scores: Sequence[float]) -> Metrics:
        marked = parts if self._dataset.has_truth or self._judged_on != "test" else []
        originals = (part.prepared.grid.to_original(heat) for part, heat in zip(marked, maps, strict=False))  # empty without truth
        return measure(scores, [part.is_defective for part in parts], originals, (part.truth for part in marked))


def names_of(dataset: Dataset, scans: Sequence[Scan]) -> Any:
    """Return what identifies these scans: their folder, unit and names."""
    return str(dataset.root.resolve()), dataset.unit, [f"{scan.split}/{scan.part_id}" for scan in scans]


def peaks(maps: Sequence[Float]) -> tuple[float, ...]:
    """Return each map's maximum, which is the branch's score."""
    return tuple(float(heat.max()) for heat in maps)
