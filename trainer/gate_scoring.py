"""Scores the same scans with champion and candidate, in turns, so that whatever slows the machine slows both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mdss.errors import BadPart
from mdss.method.calibration import SMALLEST_SCORE
from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared
from mdss.settings import FusionSettings
from trainer.champion import NO_NUMBERS, Champion, Float, ScoreKind, Stopwatch, are_numbers
from trainer.gate_statistics import PairedCounts, PairedScores
from trainer.gate_terms import EvidencePart, GateEvidence, RecordedArrays
from trainer.progress import Meter
from trainer.standard_damage import DAMAGES, damaged_scan, spot_on

Kind = Literal["good", "golden", "defect", "stain", "dent"]


@dataclass(frozen=True)
class ScanJudgement:
    """What one model says of one scan; without scores if it finds no part, or if its map holds NaN or infinity."""

    scores: dict[ScoreKind, float]
    ratio: float | None  # score / threshold
    reason: str = ""
    is_finite: bool = True
    undecided: str = ""  # why the station would not call it OK whatever it scores
    spent_ms: dict[str, float] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        """Return whether the score is within the threshold, and the station would decide."""
        return self.ratio is not None and self.ratio <= 1 and not self.undecided


@dataclass(frozen=True)
class Pair:
    """One scan as both models see it. `part` is its source; `kind` is what is known of it, or which damage was drawn onto it."""

    kind: Kind
    number: int  # of the part within its kind
    part: EvidencePart
    champion: ScanJudgement | None
    candidate: ScanJudgement

    @property
    def ratios(self) -> tuple[float, float] | None:
        """Return champion's and candidate's score in thresholds; None unless both have one."""
        before, after = self.champion.ratio if self.champion else None, self.candidate.ratio
        return None if before is None or after is None else (before, after)

    @property
    def change(self) -> float:
        """Return the logarithm of candidate's over champion's score in thresholds; infinite if only one of them has a score."""
        if self.ratios is None:
            has_one_score = self.champion is not None and self.champion.ratio != self.candidate.ratio
            return math.inf if has_one_score else 0.0
        before, after = (max(ratio, SMALLEST_SCORE) for ratio in self.ratios)
        return math.log(after / before)

    @property
    def champion_accepts(self) -> bool:
        """Return whether there is a champion, and it accepts the part."""
        return self.champion is not None and self.champion.is_ok


@dataclass(frozen=True)
class Pairs:
    """Every scan of the evidence, and every damaged copy of a good one, as both models see them."""

    all: Sequence[Pair]

    def of(self, kind: Kind) -> list[Pair]:
        """Return the pairs of one kind."""
        return [pair for pair in self.all if pair.kind == kind]


class ModelComparison:
    """Both loaded models and the evidence. `champion` is None for a recipe's first model."""

    def __init__(self, champion: ModelFolder | None, candidate: ModelFolder, device: str, evidence: GateEvidence) -> None:
        self.champion = Champion.of(champion, device) if champion else None
        self.candidate = Champion.of(candidate, device)
        self._evidence, self._rules = evidence, evidence.serving.rules

    def score_all(self) -> Pairs:
        """Score all evidence, and each good part also with each standard damage."""
        evidence = self._evidence
        listed: list[tuple[Kind, Sequence[EvidencePart]]] = [
            ("golden", evidence.golden),
            ("defect", evidence.defects),
            ("good", evidence.good),
        ]
        self._warm_up()
        found: list[Pair] = []
        with Meter("gate", sum(len(parts) for _, parts in listed)) as meter:
            for kind, parts in listed:
                for number, part in enumerate(parts):
                    found += self._pairs(kind, number, part)
                    meter.step()
        return Pairs(found)

    def scan_of(self, pair: Pair) -> RecordedArrays:
        """Return the scan that a pair was scored on; its damage is drawn again."""
        scan = pair.part.read()
        return scan if pair.kind not in DAMAGES else dict(self._damaged(scan, pair.number))[pair.kind]

    def judge(self, scan: RecordedArrays, number: int) -> tuple[ScanJudgement | None, ScanJudgement]:
        """Score one scan with both models; for odd numbers the candidate goes first."""
        if self.champion is None:
            return None, judgement(self.candidate, scan, self._rules)
        if number % 2:
            candidate = judgement(self.candidate, scan, self._rules)
            return judgement(self.champion, scan, self._rules), candidate
        champion = judgement(self.champion, scan, self._rules)
        return champion, judgement(self.candidate, scan, self._rules)

    def _pairs(self, kind: Kind, number: int, part: EvidencePart) -> Iterator[Pair]:
        scan = part.read()
        yield Pair(kind, number, part, *self.judge(scan, number))
        if kind == "good":
            for damage, damaged in self._damaged(scan, number):
                yield Pair(damage, number, part, *self.judge(damaged, number))

    def _damaged(self, scan: RecordedArrays, number: int) -> Iterable[tuple[Kind, RecordedArrays]]:
        """Yield a good part's scan with each damage, at the same place; nothing if neither model finds the part."""
        prepared = next(filter(None, (prepared_by(model, scan) for model in (self.champion, self.candidate) if model)), None)
        if prepared is not None:
            spot = spot_on(prepared, np.random.default_rng((self._evidence.limits.seed, number)))
            yield from ((kind, damaged_scan(kind, scan, spot)) for kind in DAMAGES)

    def _warm_up(self) -> None:
        """Score one part without counting it: in its first call, a network also chooses its kernels."""
        for part in self._evidence.good[:1]:
            self.judge(part.read(), 0)


def judgement(model: Champion, scan: RecordedArrays, rules: FusionSettings) -> ScanJudgement:
    """Return what one model says of a scan, at a station with these rules."""
    try:
        prepared = model.prepare(*scan)
    except BadPart as bad:
        return ScanJudgement({}, None, f"{bad.code}: {bad}")
    watch = Stopwatch()
    scores, maps = model.score(prepared, watch)
    spent_ms = {name: spent[0] for name, spent in watch.spent_ms.items()}
    if not are_numbers(maps):
        return ScanJudgement({}, None, NO_NUMBERS, is_finite=False, spent_ms=spent_ms)
    return ScanJudgement(scores, scores["fused"] / model.threshold, undecided=model.undecided(prepared, rules), spent_ms=spent_ms)


def prepared_by(model: Champion, scan: RecordedArrays) -> Prepared | None:
    """Return the part that a model finds in a scan; None if it finds none."""
    try:
        return model.prepare(*scan)
    except BadPart:
        return None


def aligned_maps(model: Champion, scan: RecordedArrays) -> tuple[Float, Float]:
    """Return both branches' aligned maps at the scan's own resolution. BadPart if there is no part."""
    prepared = model.prepare(*scan)
    maps, calibration = model.score(prepared)[1], model.folder.calibration
    heats = calibration.rgb.aligned(maps["rgb"]), calibration.sdf.aligned(maps["sdf"])
    return prepared.grid.to_original(heats[0]), prepared.grid.to_original(heats[1])


def counts_of(pairs: Sequence[Pair], *, errs_when_ok: bool) -> PairedCounts:
    """Return how often each model errs: by accepting a part if `errs_when_ok`, by not accepting it otherwise."""
    compared = [(pair.champion, pair.candidate) for pair in pairs if pair.champion is not None]
    before, after = ([judged.is_ok is errs_when_ok for judged in side] for side in zip(*compared, strict=True))
    return PairedCounts.of(before, after)


def scores_of(pairs: Sequence[Pair]) -> PairedScores:
    """Return the scores in thresholds of the parts that both models have a score for."""
    known = [pair.ratios for pair in pairs if pair.ratios]
    table: NDArray[np.float64] = np.array(known, np.float64).reshape(-1, 2)
    return PairedScores(table[:, 0], table[:, 1])
