"""Scores the test scans of a dataset one after the other, and keeps what metrics and report need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdss.errors import BadPart
from mdss.method.brightness import object_brightness
from mdss.method.grid import Grid
from trainer.champion import NO_NUMBERS, Bool, Champion, Float, ScoreKind, Stopwatch, are_numbers
from trainer.dataset import Dataset, LoadedScan, Scan
from trainer.progress import tracked


@dataclass(frozen=True)
class ScoredPart:
    """The result of one scan; a scan that cannot be judged has a reason instead of scores."""

    scan: Scan
    evaluation: str  # as in a verdict, by the threshold alone: OK, NotOK, NotDecidable or Undefined
    reason: str
    scores: dict[ScoreKind, float]
    maps: dict[ScoreKind, Float]  # (S, S)
    truth: Bool  # (H, W)
    grid: Grid
    brightness: float | None

    @property
    def is_scored(self) -> bool:
        """Return whether the part has scores, so that metrics can count it."""
        return bool(self.scores)

    @property
    def is_accepted(self) -> bool:
        """Return whether its score is within the threshold."""
        return self.evaluation == "OK"

    def original(self, branch: ScoreKind) -> Float:
        """Return the branch's map at the resolution of the scan (H, W)."""
        return self.grid.to_original(self.maps[branch])


@dataclass(frozen=True)
class Scored:
    """All test scans of a dataset as one champion sees them."""

    parts: list[ScoredPart]
    spent_ms: dict[str, list[float]]
    training_brightness: float | None
    has_truth: bool


def score_dataset(dataset: Dataset, champion: Champion) -> Scored:
    """Score every test scan as the station does, and again with its brightness matched to the training scans'."""
    brightness = training_brightness(dataset, champion)
    watch = Stopwatch()
    _warm_up(dataset, champion)
    scans = tracked(dataset.test, "score")
    parts = [_score(_load(dataset, scan, watch), champion, brightness, watch) for scan in scans]
    return Scored(parts, watch.spent_ms, brightness, dataset.has_truth)


def training_brightness(dataset: Dataset, champion: Champion) -> float | None:
    """Return the mean object brightness of train/good; None without training scans."""
    found: list[float] = []
    for scan in tracked(dataset.train, "training brightness"):
        loaded = dataset.load(scan)
        try:
            prepared = champion.prepare(loaded.rgb, loaded.xyz_mm)
        except BadPart:  # the model may have been made from other scans
            continue
        found.append(object_brightness(prepared.rgb, prepared.mask))
    return float(np.mean(found)) if found else None


def _warm_up(dataset: Dataset, champion: Champion) -> None:
    """Score one part without timing it: in its first call, a network also chooses its kernels."""
    for scan in dataset.test:
        part = _score(dataset.load(scan), champion, None, Stopwatch())
        if part.is_scored:
            return


def _load(dataset: Dataset, scan: Scan, watch: Stopwatch) -> LoadedScan:
    with watch.stage("load"):
        return dataset.load(scan)


def _score(loaded: LoadedScan, champion: Champion, brightness: float | None, watch: Stopwatch) -> ScoredPart:
    grid = Grid(loaded.truth.shape[0], loaded.truth.shape[1], champion.folder.recipe.point_cloud.size_px)
    try:
        with watch.stage("prepare"):
            prepared = champion.prepare(loaded.rgb, loaded.xyz_mm)
    except BadPart as error:
        return ScoredPart(loaded.scan, "Undefined", f"{error.code}: {error}", {}, {}, loaded.truth, grid, None)
    scores, maps = champion.score(prepared, watch)
    if not are_numbers(maps):
        return ScoredPart(loaded.scan, "NotDecidable", NO_NUMBERS, {}, {}, loaded.truth, grid, None)
    if brightness is not None:
        matched = champion.score_matched(prepared, maps["sdf"], brightness)
        scores["fused_brightness_matched"], maps["fused_brightness_matched"] = float(matched.score), matched.map
    evaluation = "NotOK" if scores["fused"] > champion.threshold else "OK"
    found = object_brightness(prepared.rgb, prepared.mask)
    return ScoredPart(loaded.scan, evaluation, "", scores, maps, loaded.truth, prepared.grid, found)
