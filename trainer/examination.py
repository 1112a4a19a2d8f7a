"""Examines collected parts one by one, newest first, until there are as many as a training wants."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from mdss.collection import CollectedScan
from mdss.errors import BadInput, BadPart
from mdss.method.golden import read_golden
from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared, prepare
from mdss.method.recipe import PointCloudSettings
from trainer.champion import Champion
from trainer.data_checks import Fault, GoodPartRange, Refused, Signatures, fault_of, score_fault
from trainer.dataset import GOOD, Dataset
from trainer.gathering import read_and_prepare
from trainer.part_measures import Measures
from trainer.progress import Meter, tracked

MOST_COMPARED = 400  # known parts, evenly chosen: enough to know what is usual; each is compared with each


@dataclass
class PartExamination:
    """The parts that passed, and the refused ones with their reasons."""

    accepted: list[CollectedScan] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def measure_curated(base: Dataset, settings: PointCloudSettings) -> list[tuple[str, Measures]]:
    """Return names and measures of the curated scans. BadInput names a scan that holds no part."""
    scans = [*base.train, *base.validation]
    found = []
    for scan in tracked(scans, "curated parts"):
        loaded = base.load(scan)
        try:
            found.append((f"{scan.split}/{scan.name}", Measures.of(prepare(loaded.rgb, loaded.xyz_mm, settings))))
        except BadPart as bad:
            raise BadInput(f"{scan.xyz_path}: {bad}") from bad
    return found


def measure_golden(champion: ModelFolder) -> list[Measures]:
    """Return the measures of a model's golden scans: few, but they exist as long as the model does."""
    settings = champion.recipe.point_cloud
    return [Measures.of(prepare(scan.rgb, scan.xyz_mm, settings)) for scan in read_golden(champion.path)]


class Examiner:
    """Checks each part against known parts, which are learned from already, and the champion.

    `curated` are the names of curated scans. Where no part is known, `golden` ones alone tell what a good part looks like; they may be
    learned from, as any other that the champion's threshold came from.
    """

    def __init__(
        self,
        known: Sequence[tuple[str, Measures]],
        champion: Champion | None,
        settings: PointCloudSettings,
        curated: Collection[str] = (),
        golden: Sequence[Measures] = (),
    ) -> None:
        self._champion, self._settings, self._curated = champion, settings, frozenset(curated)
        good = [each for _, each in known[:: max(1, -(-len(known) // MOST_COMPARED))]] or golden
        self._usual = GoodPartRange.of(good) if good else None
        self._signatures, self._defects = Signatures(self._usual), Signatures(self._usual)
        for name, each in known:
            self._signatures.add(name, each.signature)

    def add_defects(self, parts: Sequence[CollectedScan]) -> None:
        """Remember confirmed defects: another scan of the same part must not count as good only because nobody has reviewed it."""
        for part in parts:
            with suppress(BadInput, BadPart):  # an unreadable scan, or one without a part, cannot be recognised again
                self._defects.add(part.part.part_id or part.part.result_id, Measures.of(read_and_prepare(part, self._settings)).signature)

    def examine(self, parts: Sequence[CollectedScan], budget: int, max_invalid_ratio: float) -> PartExamination:
        """Return the parts that passed, at most as many as the budget, and those refused on the way.

        A part may lack this share of its points.
        """
        done = PartExamination()
        with Meter("collected parts", len(parts)) as meter:
            for part in parts:
                if len(done.accepted) == budget:
                    break
                fault = self._fault(part, max_invalid_ratio)
                if fault is None:
                    done.accepted.append(part)
                else:
                    done.refused.append(Refused(part.part.result_id, part.part.part_id, *fault))
                meter.step(f"{len(done.refused)} refused")
        return done

    def _fault(self, part: CollectedScan, max_invalid_ratio: float) -> Fault | None:
        if part.part.result_id in self._curated:  # it was exported before
            return "duplicate", "it is one of the curated scans, which are learned from already"
        try:
            return self._fault_in_scan(part, max_invalid_ratio)
        except BadPart as bad:
            return "no_part", str(bad)
        except BadInput as bad:
            return "unreadable", str(bad)

    def _fault_in_scan(self, part: CollectedScan, max_invalid_ratio: float) -> Fault | None:
        seen = read_and_prepare(part, self._settings)
        measures, is_marked_good = Measures.of(seen), part.label == GOOD
        if not is_marked_good and (twin := self._defects.twin_of(measures.signature)):
            return "defect", f"it is a second scan of {twin}, which somebody has called a defect; expected it to be marked as good"
        if twin := self._signatures.twin_of(measures.signature):
            return "duplicate", f"it is a second scan of {twin}, which is learned from already"
        fault = fault_of(measures, self._usual, max_invalid_ratio, is_marked_good=is_marked_good)
        if fault is None and self._champion is not None and not is_marked_good:
            fault = score_fault(self._score_of(self._champion, part, seen), self._champion.threshold)
        if fault is None:
            self._signatures.add(part.part.part_id or part.part.result_id, measures.signature)
        return fault

    def _score_of(self, champion: Champion, part: CollectedScan, seen: Prepared) -> float:
        """Return the score that the station noted, if this very model gave it; otherwise the champion's own score of the part."""
        if part.part.model_version == champion.folder.version and part.part.score is not None:
            return part.part.score
        own = champion.folder.recipe.point_cloud
        return champion.score(seen if own == self._settings else read_and_prepare(part, own))[0]["fused"]
