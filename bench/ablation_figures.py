"""What one recipe reaches on one dataset: trained where needed, calibrated and scored as the trainer does, and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.fusion_rules import Scores
from bench.kept_networks import Half, KeptNetworks, digest_of, facts_of
from mdss.errors import BadPart
from mdss.method.fusion import fuse
from mdss.method.metrics import Metrics, measure
from mdss.method.point_cloud import Prepared, prepare
from mdss.method.recipe import PointCloudSettings, Recipe
from trainer.calibrate import Maps, calibration_of
from trainer.dataset import Dataset, Scan
from trainer.progress import tracked
from trainer.train import prepare_all

Float = NDArray[np.float32]
MapOf = Callable[[Prepared], Float]
KEPT_MAPS = 2  # for each branch: the base's, which every row of the other branch needs, and those of the row at hand


@dataclass(frozen=True)
class MarkedPart:
    """One test scan that holds a part, and what is marked on it."""

    scan: Scan
    prepared: Prepared
    truth: NDArray[np.bool_]  # (H, W)


@dataclass(frozen=True)
class Parts:
    """Every scan of a dataset, prepared."""

    training: list[Prepared]
    validation: list[Prepared]
    test: list[MarkedPart]

    @classmethod
    def of(cls, dataset: Dataset, recipe: Recipe) -> Parts:
        """Read and prepare all scans; a test scan without a part on it is named and left out, as in an evaluation."""
        training, validation = (prepare_all(dataset, scans, recipe) for scans in (dataset.train, dataset.validation))
        test = []
        for scan in tracked(dataset.test, "reading test", len(dataset.test)):
            loaded = dataset.load(scan)
            try:
                test.append(MarkedPart(scan, prepare(loaded.rgb, loaded.xyz_mm, recipe.point_cloud), loaded.truth))
            except BadPart as bad:
                click.echo(f"ablation: {scan.xyz_path} is left out: {bad}", err=True)
        return cls(training, validation, test)

    @property
    def labels(self) -> list[bool]:
        """Return which test parts have a defect."""
        return [not part.scan.is_good for part in self.test]


@dataclass(frozen=True)
class Seen:
    """What one branch says of all parts that are not learned from."""

    validation: list[Float]  # (S, S) each
    test: list[Float]
    metrics: Metrics


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one recipe; the scores are those that other fusion rules start from."""

    recipe: Recipe
    rgb: Metrics
    sdf: Metrics
    fused: Metrics
    validation: Scores
    test: Scores
    is_defective: tuple[bool, ...]


class Bench:
    """Measures recipes on one dataset; what is in its folder is not computed again."""

    def __init__(self, dataset: Dataset, work: Path, device: str) -> None:
        self._dataset, self._work = dataset, work
        self._networks = KeptNetworks(work / "networks", names_of(dataset, dataset.train), device)
        self._parts: dict[PointCloudSettings, Parts] = {}
        self._seen: dict[Half, dict[str, Seen]] = {"rgb": {}, "sdf": {}}

    def figures(self, recipe: Recipe) -> Figures:
        """Return what the recipe reaches, from the folder where it has been measured before."""
        scans = names_of(self._dataset, [*self._dataset.train, *self._dataset.validation, *self._dataset.test])
        teacher = facts_of(recipe, "rgb")["teacher"]
        path = self._work / "figures" / f"{digest_of(scans, recipe, teacher)}.json"
        if path.is_file():
            return msgspec.json.decode(path.read_bytes(), type=Figures)
        found = self._measure(recipe)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
        partial.replace(path)
        return found

    def _measure(self, recipe: Recipe) -> Figures:
        parts = self._prepared(recipe)
        rgb, sdf = self._look(recipe, "rgb"), self._look(recipe, "sdf")
        calibration = calibration_of(Maps(rgb.validation, sdf.validation, [part.mask for part in parts.validation]), recipe)
        fused = [fuse(*pair, calibration) for pair in zip(rgb.test, sdf.test, strict=True)]
        return Figures(
            recipe=recipe,
            rgb=rgb.metrics,
            sdf=sdf.metrics,
            fused=self._metrics(parts, [each.map for each in fused], [each.score for each in fused]),
            validation=Scores(peaks(rgb.validation), peaks(sdf.validation)),
            test=Scores(peaks(rgb.test), peaks(sdf.test)),
            is_defective=tuple(parts.labels),
        )

    def _prepared(self, recipe: Recipe) -> Parts:
        if recipe.point_cloud not in self._parts:
            self._parts[recipe.point_cloud] = Parts.of(self._dataset, recipe)
        return self._parts[recipe.point_cloud]

    def _look(self, recipe: Recipe, half: Half) -> Seen:
        """Return what a branch says, remembering the two recipes that were asked about last."""
        kept, key = self._seen[half], digest_of(facts_of(recipe, half))
        seen = kept.pop(key, None) or self._score(recipe, half)
        kept[key] = seen
        while len(kept) > KEPT_MAPS:
            del kept[next(iter(kept))]
        return seen

    def _score(self, recipe: Recipe, half: Half) -> Seen:
        parts = self._prepared(recipe)
        map_of = self._colour_map(parts, recipe) if half == "rgb" else self._shape_map(parts, recipe)
        validation = [map_of(part) for part in tracked(parts.validation, f"{half} validation", len(parts.validation))]
        test = [map_of(part.prepared) for part in tracked(parts.test, f"{half} test", len(parts.test))]
        return Seen(validation, test, self._metrics(parts, test, peaks(test)))

    def _colour_map(self, parts: Parts, recipe: Recipe) -> MapOf:
        branch = self._networks.colour(parts.training, recipe)
        return lambda part: branch.score_map(part.rgb, part.mask)

    def _shape_map(self, parts: Parts, recipe: Recipe) -> MapOf:
        branch = self._networks.shape(parts.training, recipe)
        return lambda part: branch.score_map(part.xyz)

    def _metrics(self, parts: Parts, maps: Sequence[Float], scores: Sequence[float]) -> Metrics:
        marked = parts.test if self._dataset.has_truth else []
        originals = (part.prepared.grid.to_original(heat) for part, heat in zip(marked, maps, strict=False))  # without truth, of none
        return measure(scores, parts.labels, originals, (part.truth for part in marked))


def names_of(dataset: Dataset, scans: Sequence[Scan]) -> Any:
    """Return what tells these scans from others: where they lie, their unit, their names."""
    return str(dataset.root.resolve()), dataset.unit, [f"{scan.split}/{scan.part_id}" for scan in scans]


def peaks(maps: Sequence[Float]) -> tuple[float, ...]:
    """Return each map's highest value, which is the branch's score."""
    return tuple(float(heat.max()) for heat in maps)
