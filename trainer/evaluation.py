"""The figures of an evaluation: metrics of each branch and kind, the threshold's rates, the brightness baseline, the timing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from mdss.method.calibration import percent
from mdss.method.metrics import PUBLISHED_THRESHOLDS, Metrics, Pixels, au_pro, image_auroc, metrics_from
from trainer.champion import Champion, ScoreKind
from trainer.progress import tracked
from trainer.scoring import Scored, ScoredPart

SCORE_KINDS: tuple[ScoreKind, ...] = ("rgb", "sdf", "fused", "fused_brightness_matched")


class Model(msgspec.Struct, frozen=True):
    """Which model was evaluated."""

    name: str
    version: str
    digest: str


class Baseline(msgspec.Struct, frozen=True):
    """How well the object brightness alone tells good from defective, in the direction that separates better."""

    i_auroc: float | None
    direction: str | None  # darker or brighter, of the defective parts


class ThresholdFigures(msgspec.Struct, frozen=True):
    """How the threshold decides on the test parts; a part that cannot be judged counts as rejected.

    A station leaves more parts undecided, by its own settings: those with too many missing points, or within its guard band. The scores
    are the fused ones; a limit between the highest good and the lowest defective one tells these parts apart, if there is room between
    them.
    """

    value: float
    asked_false_reject_rate: float
    false_reject_rate: float | None
    recall: float | None
    highest_good_score: float | None = None
    lowest_defective_score: float | None = None
    stated_false_reject_rate: float | None = None  # what the validation parts can promise; evaluations of earlier releases have none

    @property
    def gap(self) -> str:
        """Say how far apart good and defective parts score; "" if either has no score."""
        good, defective = self.highest_good_score, self.lowest_defective_score
        if good is None or defective is None:
            return ""
        limit = "any threshold in between separates" if good < defective else "no threshold separates"
        return f"good parts score up to {good:.4g}, defective parts from {defective:.4g} on: {limit} them all"

    @property
    def in_percent(self) -> tuple[str, ...]:
        """Return the asked rate, the false-reject rate and the recall as text, with a dash for one that no part was there for."""
        rates = (self.asked_false_reject_rate, self.false_reject_rate, self.recall)
        return tuple(map(percent_or_dash, rates))

    @property
    def stated(self) -> str:
        """Return the stated false-reject rate as text, a dash if it is not known."""
        return percent_or_dash(self.stated_false_reject_rate)


def percent_or_dash(rate: float | None) -> str:
    """Return a rate as text, a dash for None."""
    return "-" if rate is None else percent(rate)


class Stage(msgspec.Struct, frozen=True):
    """How long one stage takes for a part."""

    p50_ms: float
    p99_ms: float


class Timing(msgspec.Struct, frozen=True):
    """The time of each stage, for one part at a time; parts per second do not include reading the files."""

    stages: dict[str, Stage]
    parts_per_s: float | None


class Counts(msgspec.Struct, frozen=True):
    """How many parts the figures come from; undefined parts are named with their reason and are in no metric."""

    good: int
    defective: int
    undefined: dict[str, str]
    has_truth: bool


class ScanResult(msgspec.Struct, frozen=True, kw_only=True):
    """One test scan, with the numbers that its verdict at the station would hold."""

    rgb: float | None
    sdf: float | None
    fused: float | None
    fused_brightness_matched: float | None
    brightness: float | None
    evaluation: str


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `mdss evaluate --json`; a figure is None if the test set has nothing to measure it on."""

    model: Model
    counts: Counts
    rgb: Metrics
    sdf: Metrics
    fused: Metrics
    fused_brightness_matched: Metrics
    baseline_object_brightness: Baseline
    training_object_brightness: float | None
    per_defect: dict[str, dict[ScoreKind, Metrics]]
    aupro_published_protocol: dict[ScoreKind, dict[str, float | None]]  # from 100 ranks, to compare with published values
    threshold: ThresholdFigures
    timing: Timing
    scans: dict[str, ScanResult]

    def of(self, branch: ScoreKind) -> Metrics:
        """Return the metrics of one branch."""
        metrics: Metrics = getattr(self, branch)
        return metrics


def evaluation_of(scored: Scored, champion: Champion) -> Evaluation:
    """Return all figures of a scored dataset."""
    parts, folder = scored.parts, champion.folder
    kinds = sorted({part.scan.kind for part in parts if not part.scan.is_good})
    overall = {branch: _overall(scored, branch) for branch in tracked(SCORE_KINDS, "metrics")}
    return Evaluation(
        model=Model(folder.name, folder.version, folder.digest),
        counts=_counts(scored),
        **{branch: metrics for branch, (metrics, _) in overall.items()},
        baseline_object_brightness=baseline(parts),
        training_object_brightness=scored.training_brightness,
        per_defect={kind: _of_kind(scored, kind) for kind in tracked(kinds, "metrics by kind")},
        aupro_published_protocol={branch: published for branch, (_, published) in overall.items()},
        threshold=threshold_of(parts, champion),
        timing=timing_of(scored.spent_ms),
        scans={part.scan.part_id: _result(part) for part in parts},
    )


def parts_scored_by(parts: Sequence[ScoredPart], branch: ScoreKind) -> list[ScoredPart]:
    """Return the parts that this branch has a score for."""
    return [part for part in parts if branch in part.scores]


def labels_of(parts: Sequence[ScoredPart]) -> list[bool]:
    """Return for each part whether it has a defect."""
    return [not part.scan.is_good for part in parts]


def pixels_of(parts: Sequence[ScoredPart], branch: ScoreKind) -> Pixels:
    """Return one branch's pixels at the resolution of the scans."""
    return Pixels.of((part.original(branch) for part in parts), (part.truth for part in parts))


def metrics_of(parts: Sequence[ScoredPart], branch: ScoreKind, has_truth: bool) -> Metrics:
    """Return one branch's metrics; the pixel metrics are None if no defect is marked."""
    known = parts_scored_by(parts, branch)
    return _metrics(known, branch, pixels_of(known if has_truth else [], branch))


def baseline(parts: Sequence[ScoredPart]) -> Baseline:
    """Return the AUROC of the object brightness alone, or of its negative if that is larger."""
    known = [part for part in parts if part.brightness is not None]
    found = image_auroc([part.brightness or 0.0 for part in known], labels_of(known))
    if found is None:
        return Baseline(None, None)
    return Baseline(max(found, 1 - found), "brighter" if found >= 0.5 else "darker")


def threshold_of(parts: Sequence[ScoredPart], champion: Champion) -> ThresholdFigures:
    """Return how the threshold decides, and how far apart good and defective parts score."""
    limit = champion.folder.calibration.threshold
    good, defective = ([part for part in parts if part.scan.is_good == is_good] for is_good in (True, False))
    return ThresholdFigures(
        value=champion.threshold,
        asked_false_reject_rate=float(limit.asked_false_reject_rate),
        false_reject_rate=_rejected(good),
        recall=_rejected(defective),
        highest_good_score=max((part.scores["fused"] for part in parts_scored_by(good, "fused")), default=None),
        lowest_defective_score=min((part.scores["fused"] for part in parts_scored_by(defective, "fused")), default=None),
        stated_false_reject_rate=float(limit.stated_false_reject_rate),
    )


def timing_of(spent_ms: dict[str, list[float]]) -> Timing:
    """Return the quantiles of each stage, and the rate of one process that does all stages in turn."""
    stages = {name: Stage(*(float(value) for value in np.percentile(spent, (50, 99)))) for name, spent in spent_ms.items()}
    busy_s = sum(sum(spent) for name, spent in spent_ms.items() if name != "load") / 1000
    return Timing(stages, len(spent_ms.get("fusion", [])) / busy_s if busy_s else None)


def _overall(scored: Scored, branch: ScoreKind) -> tuple[Metrics, dict[str, float | None]]:
    """Return one branch's metrics on all parts, and AU-PRO by the published protocol: both need all pixels sorted."""
    known = parts_scored_by(scored.parts, branch)
    pixels = pixels_of(known if scored.has_truth else [], branch)
    return _metrics(known, branch, pixels), _published(pixels)


def _metrics(known: Sequence[ScoredPart], branch: ScoreKind, pixels: Pixels) -> Metrics:
    return metrics_from([part.scores[branch] for part in known], labels_of(known), pixels)


def _of_kind(scored: Scored, kind: str) -> dict[ScoreKind, Metrics]:
    parts = [part for part in scored.parts if part.scan.is_good or part.scan.kind == kind]
    return {branch: metrics_of(parts, branch, scored.has_truth) for branch in SCORE_KINDS}


def _published(pixels: Pixels) -> dict[str, float | None]:
    return {f"aupro_{round(100 * limit):02d}": area for limit, area in au_pro(pixels, thresholds=PUBLISHED_THRESHOLDS).items()}


def _rejected(parts: Sequence[ScoredPart]) -> float | None:
    return sum(not part.is_accepted for part in parts) / len(parts) if parts else None


def _counts(scored: Scored) -> Counts:
    good = sum(part.scan.is_good for part in scored.parts)
    undefined = {part.scan.part_id: part.reason for part in scored.parts if not part.is_scored}
    return Counts(good, len(scored.parts) - good, undefined, scored.has_truth)


def _result(part: ScoredPart) -> ScanResult:
    scores = {branch: part.scores.get(branch) for branch in SCORE_KINDS}
    return ScanResult(**scores, brightness=part.brightness, evaluation=part.evaluation)
