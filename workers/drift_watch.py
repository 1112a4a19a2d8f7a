"""Compares live parts with those of calibration, after their verdicts are out; the result never changes a verdict."""

from __future__ import annotations

import math
from pathlib import Path

import structlog

from mdss.drift import LEAST_REFERENCE, DriftComparison, LivePart, WarningChange
from mdss.drift_record import QUANTITIES, Quantity, read_record, sentence_of, write_record
from mdss.errors import MdssError
from mdss.method.model_store import ModelFolder
from mdss.method.reference import Conditions
from mdss.settings import DriftSettings
from mdss.wire.heartbeat import Tally
from workers.open_part import BRANCHES
from workers.part_join import JoinedPart

MOST_VERSIONS = 2  # per recipe: during a change of model, the last parts of the old version come mixed with those of the new one
log = structlog.get_logger()


class DriftWatch:
    """Compares judged parts with the reference, per recipe and model version, and keeps one record per recipe in the state directory.

    It remembers the two versions of each recipe that judged last, so memory grows only with the number of recipes named in models.recipes
    since the start. Parts of several recipes in turn do not make it forget the unfinished block of any of them.
    """

    def __init__(self, state: Path, settings: DriftSettings, tally: Tally) -> None:
        self._state, self._rate, self._tally = state, settings.false_alarms_per_10000, tally
        self._comparisons: dict[str, dict[str, DriftComparison | None]] = {}  # recipe -> version; None: nothing to compare with
        self._is_disk_full = False

    def reconfigure(self, settings: DriftSettings) -> None:
        """Apply another rate of false warnings from the next block on."""
        self._rate = settings.false_alarms_per_10000
        for comparison in (each for versions in self._comparisons.values() for each in versions.values()):
            if comparison is not None:
                comparison.set_false_alarm_rate(self._rate)

    def see(self, part: JoinedPart, model: ModelFolder | None, now_ns: int) -> None:
        """Take one part whose verdict is out; a part that was not scored completely by this model is ignored."""
        values = None if model is None else values_of(part, model.version)
        if model is None or values is None:
            return
        comparison = self._comparison(model)
        if comparison is None:
            return
        changes = comparison.add(LivePart(part.accepted.identity.part_id, part.accepted.result_id, now_ns, values))
        if changes is not None:
            self._tell(model, comparison, changes)

    def _comparison(self, model: ModelFolder) -> DriftComparison | None:
        """Return the comparison with a model's reference, None if it has none; it becomes the recipe's most recent one."""
        versions = self._comparisons.setdefault(model.name, {})
        comparison = versions.pop(model.version) if model.version in versions else self._begin(model)
        versions[model.version] = comparison
        if len(versions) > MOST_VERSIONS:
            del versions[next(iter(versions))]
        return comparison

    def _begin(self, model: ModelFolder) -> DriftComparison | None:
        """Start a comparison, or resume the one that an earlier process stored."""
        reference = model.calibration.reference
        if reference is None or len(reference.rgb) < LEAST_REFERENCE:
            log.info("no drift can be told: the model keeps too few reference parts", recipe=model.name, model=model.version)
            return None
        comparison = DriftComparison(model.name, model.version, {name: getattr(reference, name) for name in QUANTITIES}, self._rate)
        try:
            record = read_record(self._state, model.name)
            if record is not None:
                comparison.resume(record)
        except MdssError as error:
            log.error("the record of drift begins anew", reason=str(error))
        self._keep(model, comparison)
        return comparison

    def _tell(self, model: ModelFolder, comparison: DriftComparison, changes: list[WarningChange]) -> None:
        """Log each change once; then publish and store the state."""
        for change in changes:
            sentence = sentence_of(comparison.record(), change.quantity, change.since)
            if change.is_onset:
                log.warning("drift", recipe=model.name, model=model.version, reason=sentence)
            else:
                log.info("drift is over", recipe=model.name, model=model.version, reason=sentence)
        self._keep(model, comparison)

    def _keep(self, model: ModelFolder, comparison: DriftComparison) -> None:
        """Publish the comparison's metrics and store its record; a full disk costs the record and is logged once."""
        for name in QUANTITIES:
            labels = f'{{recipe="{model.name}",quantity="{name}"}}'
            self._tally.counters[f"mdss_drift{labels}"] = comparison.drift(name)
            self._tally.counters[f"mdss_drift_warning{labels}"] = float(comparison.is_warned_of(name))
        try:
            write_record(self._state, comparison.record())
            self._is_disk_full = False
        except OSError as error:
            if not self._is_disk_full:
                log.error("record of drift not written", reason=str(error))
            self._is_disk_full = True


def values_of(part: JoinedPart, version: str) -> dict[Quantity, float] | None:
    """Return a part's five compared values; None if a score or the preparation is missing, from another version, or not finite."""
    prepared, scores = part.prepared, part.scores
    if prepared is None or any(name not in scores for name in BRANCHES):
        return None
    if {prepared.model_version, *(score.model_version for score in scores.values())} != {version}:
        return None
    seen = Conditions.of(prepared)
    values: dict[Quantity, float] = {
        "rgb": scores["rgb"].score,
        "sdf": scores["sdf"].score,
        "brightness": seen.brightness,
        "valid_point_ratio": seen.valid_point_ratio,
        "distance_mm": seen.distance_mm,
    }
    return values if all(math.isfinite(value) for value in values.values()) else None
