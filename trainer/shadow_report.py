"""How a candidate agrees with the champion on live parts: counts, differing parts, scores in thresholds, time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from mdss.errors import written_out
from trainer.gate_statistics import median_interval, wilson

FORMAT = "mdss.shadow.v1"
CONFIDENCE = 0.95
LEFT_OUT = "they were simulated, the champion gave them no score, or their scans were gone"
LEAST_RATIO = 1e-6  # gives a score of 0 a logarithm


class ShadowJudgement(msgspec.Struct, frozen=True, kw_only=True):
    """What one model says of a part."""

    version: str
    evaluation: str
    score: float | None
    threshold: float | None
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """Return the score in thresholds, the only unit in which two models compare; None without a score."""
        return None if self.score is None or not self.threshold else self.score / self.threshold


class ShadowPart(msgspec.Struct, frozen=True, kw_only=True):
    """One live part as both models see it."""

    result_id: str
    part_id: str
    champion: ShadowJudgement
    candidate: ShadowJudgement
    spent_ms: float | None = None  # of the candidate, from scan to score

    @property
    def agrees(self) -> bool:
        """Return whether both models give the same evaluation."""
        return self.champion.evaluation == self.candidate.evaluation


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A value and its interval, with a confidence of 95 % or the most that so few parts allow."""

    value: float
    low: float
    high: float
    confidence: float = CONFIDENCE


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True):
    """The content of shadow.json."""

    format: str = FORMAT
    recipe: str
    candidate: str
    champions: tuple[str, ...]  # several if the champion changed meanwhile
    began: str  # UTC, ISO 8601
    ended: str
    parts: int
    same: int
    only_candidate_accepts: int
    only_champion_accepts: int
    skipped: int  # simulated, without a score of the champion's, or without a scan
    agreement: Interval | None
    change: Interval | None  # median of the candidate's over the champion's score, both in thresholds
    spent_ms: dict[str, float]  # median and 95th percentile
    differing: tuple[ShadowPart, ...]


def report_of(parts: Sequence[ShadowPart], skipped: int, **identity: Any) -> ShadowReport:
    """Return the report on these parts; `identity` are recipe, candidate, began and ended."""
    same = sum(part.agrees for part in parts)
    spent = [part.spent_ms for part in parts if part.spent_ms is not None]
    return ShadowReport(
        **identity,
        champions=tuple(sorted({part.champion.version for part in parts})),
        parts=len(parts),
        same=same,
        only_candidate_accepts=sum(not part.agrees and part.candidate.evaluation == "OK" for part in parts),
        only_champion_accepts=sum(not part.agrees and part.champion.evaluation == "OK" for part in parts),
        skipped=skipped,
        agreement=_agreement(same, len(parts)),
        change=_change(parts),
        spent_ms={"median": float(np.median(spent)), "p95": float(np.quantile(spent, 0.95))} if spent else {},
        differing=tuple(part for part in parts if not part.agrees),
    )


def _agreement(same: int, count: int) -> Interval | None:
    if count == 0:
        return None
    low, high = wilson(same / count, count, CONFIDENCE)
    return Interval(value=same / count, low=low, high=high)


def _change(parts: Sequence[ShadowPart]) -> Interval | None:
    """Return the median over parts of the candidate's score divided by the champion's, both in thresholds.

    With fewer than six parts, even the outermost values enclose the median with less than 95 % confidence.
    """
    ratios = [(part.champion.ratio, part.candidate.ratio) for part in parts]
    pairs = [(before, after) for before, after in ratios if before is not None and after is not None]
    known = [np.log(max(after, LEAST_RATIO) / max(before, LEAST_RATIO)) for before, after in pairs]
    if not known:
        return None
    low, high = median_interval(known, CONFIDENCE)
    held = min(CONFIDENCE, 1 - 0.5 ** (len(known) - 1))
    return Interval(value=float(np.exp(np.median(known))), low=float(np.exp(low)), high=float(np.exp(high)), confidence=held)


def as_text(report: ShadowReport) -> str:
    """Return the report for a person."""
    champions = ", ".join(report.champions) or "none"
    lines = [
        f"{report.recipe}: candidate {report.candidate} beside champion {champions}, {report.began} to {report.ended}",
        f"{report.same} of {report.parts} parts evaluated alike{_shown(report.agreement, percent=True)}",
        f"{report.only_candidate_accepts} that only the candidate accepts, {report.only_champion_accepts} that only the champion accepts",
    ]
    if report.change is not None:
        lines.append(f"scores, in thresholds: {written_out(report.change.value, 3)} times the champion's{_shown(report.change)}")
    if report.spent_ms:
        median, most = report.spent_ms["median"], report.spent_ms["p95"]
        lines.append(f"time per part, at the lowest priority and with one thread: {median:.0f} ms, 95 in 100 below {most:.0f} ms")
    if report.skipped:
        lines.append(f"{report.skipped} more parts were left out: {LEFT_OUT}")
    return "\n".join([*lines, *(_line(part) for part in report.differing)])


def _shown(interval: Interval | None, *, percent: bool = False) -> str:
    if interval is None:
        return ""
    low, high = (f"{100 * value:.3g} %" if percent else written_out(value, 3) for value in (interval.low, interval.high))
    return f" ({low} to {high} with {100 * interval.confidence:.3g} % confidence)"


def _line(part: ShadowPart) -> str:
    sides = ", ".join(_said(side) for side in (part.champion, part.candidate))
    return f"differs: part {part.part_id} ({part.result_id}): {sides}"


def _said(side: ShadowJudgement) -> str:
    reason = f" ({side.reason})" if side.reason else ""
    return f"{side.version} {side.evaluation} {_number(side.score)}/{_number(side.threshold)}{reason}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
