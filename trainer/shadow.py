"""The shadow: a version scores live parts beside the champion, without a say, on the scans that the station collects."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from mdss.collection import Collection
from mdss.errors import BadInput, BadPart
from mdss.method.station_rules import InView, decide
from mdss.settings import FusionSettings
from trainer.champion import Champion
from trainer.gate_terms import RecordedArrays
from trainer.shadow_report import ShadowJudgement, ShadowPart

MS = 1000.0


@dataclass
class Shadow:
    """The candidate beside the champion. Only parts that are collected from now on count as live."""

    collection: Collection
    recipe: str
    candidate: Champion
    rules: FusionSettings
    parts: list[ShadowPart] = field(default_factory=list)
    skipped: int = 0
    newest: tuple[int, str] = (0, "")  # of the parts: when it was judged, and by which version; they are taken in another order
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._seen = self._names()

    def take(self, most: int) -> int:
        """Score the parts that came since the last call, at most `most`; return how many."""
        taken = 0
        for name in sorted(self._names() - self._seen):
            if taken == most:
                break
            self._seen.add(name)
            taken += self._compare(name)
        return taken

    def _names(self) -> set[str]:
        folder = self.collection.root / self.recipe
        return {path.name for path in folder.glob("[!.]*")} if folder.is_dir() else set()

    def _compare(self, name: str) -> bool:
        """Score one part; False if it is simulated, if the champion gave it no score, or if its scan is gone from the collection."""
        found = self.collection.find(name)
        if found is None or found.part.is_simulated or found.part.score is None or found.part.threshold is None:
            self.skipped += 1
            return False
        try:
            scan = found.read()
        except BadInput:
            self.skipped += 1
            return False
        part, began_s = found.part, time.perf_counter()
        self.newest = max(self.newest, (part.judged_ns, part.model_version))
        candidate = judgement_of(self.candidate, scan, self.rules)
        champion = ShadowJudgement(version=part.model_version, evaluation=part.evaluation, score=part.score, threshold=part.threshold)
        self.parts.append(
            ShadowPart(
                result_id=part.result_id,
                part_id=part.part_id,
                champion=champion,
                candidate=candidate,
                spent_ms=(time.perf_counter() - began_s) * MS,
            )
        )
        return True


def judgement_of(model: Champion, scan: RecordedArrays, rules: FusionSettings) -> ShadowJudgement:
    """Return what the station would say of a scan with this model, by the same rules and with both branches."""
    version, threshold = model.folder.version, model.threshold
    try:
        prepared = model.prepare(*scan)
    except BadPart as bad:
        return ShadowJudgement(version=version, evaluation="Undefined", score=None, threshold=threshold, reason=f"{bad.code}: {bad}")
    score = float(model.score(prepared)[0]["fused"])
    if not np.isfinite(score):
        return ShadowJudgement(version=version, evaluation="NotDecidable", score=None, threshold=threshold, reason=f"the score is {score}")
    evaluation, _ = decide(score, InView.of(prepared), model.folder.calibration, rules)
    return ShadowJudgement(version=version, evaluation=evaluation, score=score, threshold=threshold)
