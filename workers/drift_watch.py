"""Watches, beside the verdicts, whether live parts are still like those of calibration; what it finds never changes a verdict."""

from __future__ import annotations

import math
from pathlib import Path

import structlog

from mdss.drift import LEAST_REFERENCE, Change, Comparison, Live
from mdss.drift_record import QUANTITIES, Quantity, read_record, sentence_of, write_record
from mdss.errors import MdssError
from mdss.method.model_store import ModelFolder
from mdss.method.reference import Conditions
from mdss.settings import DriftSettings
from mdss.wire.pulse import Tally
from workers.open_part import BRANCHES
from workers.part_join import JoinedPart

MOST_VERSIONS = 2  # of one recipe: in a change of model the last parts of the old one come between those of the new
log = structlog.get_logger()


class DriftWatch:
    """Compares what fusion judged, by recipe and version of the model, and keeps a record of each recipe in the state directory.

    It remembers two versions of each recipe, those that judged last: what bounds it is how many recipes models.recipes has named since
    the process began. In whichever turns recipes come, none makes it forget the open block of another.
    """

    def __init__(self, state: Path, settings: DriftSettings, tally: Tally) -> None:
        self._state, self._rate, self._tally = state, settings.false_alarms_per_10000, tally
        self._comparisons: dict[str, dict[str, Comparison | None]] = {}  # recipe -> version; None: nothing to compare with
        self._is_disk_full = False

    def reconfigure(self, settings: DriftSettings) -> None:
        """Keep to another rate of false warnings from the next block on."""
        self._rate = settings.false_alarms_per_10000
        for comparison in (each for versions in self._comparisons.values() for each in versions.values()):
            if comparison is not None:
                comparison.hold_to(self._rate)

    def see(self, part: JoinedPart, model: ModelFolder | None, now_ns: int) -> None:
        """Take one part whose verdict is out; what was not seen wholly, and by this model, says nothing of drift."""
        values = None if model is None else values_of(part, model.version)
        if model is None or values is None:
            return
        comparison = self._comparison(model)
        if comparison is None:
            return
        changes = comparison.add(Live(part.accepted.identity.part_id, part.accepted.result_id, now_ns, values))
        if changes is not None:
            self._tell(model, comparison, changes)

    def _comparison(self, model: ModelFolder) -> Comparison | None:
        """Return the comparison with a model's reference, None where it keeps none; it becomes the last of its recipe's."""
        versions = self._comparisons.setdefault(model.name, {})
        comparison = versions.pop(model.version) if model.version in versions else self._begin(model)
        versions[model.version] = comparison
        if len(versions) > MOST_VERSIONS:
            del versions[next(iter(versions))]
        return comparison

    def _begin(self, model: ModelFolder) -> Comparison | None:
        """Begin a comparison, or go on from where the process before this one was."""
        reference = model.calibration.reference
        if reference is None or len(reference.rgb) < LEAST_REFERENCE:
            log.info("no drift can be told: the model keeps too few reference parts", recipe=model.name, model=model.version)
            return None
        comparison = Comparison(model.name, model.version, {name: getattr(reference, name) for name in QUANTITIES}, self._rate)
        try:
            record = read_record(self._state, model.name)
            if record is not None:
                comparison.resume(record)
        except MdssError as error:
            log.error("the record of drift begins anew", reason=str(error))
        self._keep(model, comparison)
        return comparison

    def _tell(self, model: ModelFolder, comparison: Comparison, changes: list[Change]) -> None:
        """Log what has changed, once; the rest is shown and stored."""
        for change in changes:
            sentence = sentence_of(comparison.record(), change.quantity, change.since)
            if change.is_onset:
                log.warning("drift", recipe=model.name, model=model.version, reason=sentence)
            else:
                log.info("drift is over", recipe=model.name, model=model.version, reason=sentence)
        self._keep(model, comparison)

    def _keep(self, model: ModelFolder, comparison: Comparison) -> None:
        """Show and store how the comparison stands; a full disk costs the record, and is said once."""
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
    """Return what is compared of a part; None where a branch or the preparation is missing, of another version, or no number."""
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
