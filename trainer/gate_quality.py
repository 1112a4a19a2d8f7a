"""Does a candidate judge parts as well as the champion? Each check compares both on the same parts and states an interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mdss.errors import some_of
from mdss.method.calibration import SMALLEST_SCORE, Calibration
from trainer.gate_scoring import Kind, Pair, Pairs, ScanJudgement, counts_of, scores_of
from trainer.gate_statistics import (
    Values,
    auroc_interval,
    auroc_loss,
    chance_of_rejects,
    margin_in_deviations,
    margin_lost,
    median_interval,
    parts_needed,
)
from trainer.gate_terms import Figures, GateCheck, GateLimits
from trainer.standard_damage import DAMAGES, DamageKind

FEWEST_SPREAD = 5  # parts that a deviation needs
NAMED = 8  # parts named in a sentence
INTERVAL = "the interval is what the candidate loses"  # which only the table shows
check = partial(GateCheck.of, "quality")


@dataclass(frozen=True)
class Quality:
    """The checks of quality, and what they look at."""

    pairs: Pairs
    calibration: Calibration  # the candidate's
    limits: GateLimits
    before: Calibration | None  # the champion's

    def checks(self) -> Iterator[GateCheck]:
        """Yield every check that the evidence allows."""
        yield self.enough()
        yield self.golden()
        yield self.defects()
        if not self.pairs.of("good"):
            return
        yield self.promise()
        if self.has_champion:
            yield self.rejects()
            yield self.shift()
        for kind in DAMAGES:
            yield from self.damage(kind)
        if len(self.pairs.of("defect")) >= self.limits.fewest_defects:
            yield self.separation("defect", "confirmed defects: separation")

    @property
    def has_champion(self) -> bool:
        """Return whether there is a champion to compare with."""
        return self.before is not None

    @property
    def good_score_rise(self) -> float:
        """Return the factor by which good parts' scores have risen since the champion's threshold was set; 1 if not beyond chance.

        It compares the newest good parts with those of the champion's calibration, by medians: some parts may be defects marked as good
        by mistake.
        """
        newest = [pair.champion.ratio for pair in self.pairs.of("good")[: self.limits.fewest_good] if pair.champion is not None]
        known = [ratio for ratio in newest if ratio is not None]
        if self.before is None or len(known) < FEWEST_SPREAD:
            return 1.0
        then = float(np.median(self.before.validation_scores)) / self.before.threshold.value
        return max(1.0, median_interval(known, self.limits.confidence)[0] / then)

    @property
    def random(self) -> np.random.Generator:
        """Return the random generator of the bootstraps; the same evidence gives the same answer."""
        return np.random.default_rng(self.limits.seed)

    def enough(self) -> GateCheck:
        """Require enough recent good parts to show whether a candidate is worse."""
        found, needed = len(self.pairs.of("good")), self.limits.fewest_good
        says = f"{found} recent good parts that the candidate has not learned from"
        if found < needed:
            says += f"; {needed} are needed to tell, {needed - found} more"
        return check("enough evidence", is_passed=found >= needed, found=Figures(None, float(found), "parts"), says=says)

    def golden(self) -> GateCheck:
        """Require that the candidate accepts every golden part that the champion accepts."""
        pairs = self.pairs.of("golden")
        lost = [pair for pair in pairs if not pair.candidate.is_ok and (pair.champion is None or pair.champion.is_ok)]
        says = f"{len(pairs)} golden parts of the champion" if pairs else "the champion has no golden parts"
        if lost:
            says += f"; the candidate does not accept {names_of(lost)}"
        return check("golden parts accepted", is_passed=not lost, found=shares_accepted(pairs), says=says)

    def defects(self) -> GateCheck:
        """Require that the candidate catches every confirmed defect that the champion catches by its own merit; all without a champion."""
        pairs, moved = self.pairs.of("defect"), self.good_score_rise
        if not pairs:
            return check("confirmed defects caught", is_passed=True, says="no confirmed defect is known; standard damage stands in")
        lost = [pair for pair in pairs if pair.candidate.is_ok and catches(pair.champion, moved)]
        by_drift = [pair for pair in pairs if catches(pair.champion, 1.0) and not catches(pair.champion, moved)]
        says = f"{len(pairs)} confirmed defect{'' if len(pairs) == 1 else 's'}"
        says += f"; the candidate misses {names_of(lost)}" if lost else ", none missed that the champion catches"
        if by_drift:
            says += f"; good parts score {moved:.2g} times what they did: that alone lifts {names_of(by_drift)} above the threshold"
        interval = counts_of(pairs, errs_when_ok=True).excess(self.limits.confidence) if self.has_champion else None
        figures = Figures(*shares_caught(pairs), "share", interval)
        return check("confirmed defects caught", is_passed=not lost, found=figures, says=says)

    def promise(self) -> GateCheck:
        """Require that the rejected good parts are consistent with the threshold's promise, or no more than the champion rejects."""
        pairs, scores = self.pairs.of("good"), np.asarray(self.calibration.validation_scores)
        lost = [pair for pair in pairs if not pair.candidate.is_ok]
        rank = max(1, int(np.count_nonzero(scores <= self.calibration.threshold.value)))
        chance = chance_of_rejects(len(lost), len(pairs), rank, len(scores))
        as_champion = counts_of(pairs, errs_when_ok=False).champion if self.has_champion else None
        is_kept = chance >= self.limits.broken_promise
        share = len(lost) / len(pairs)
        no_worse = as_champion is not None and share <= as_champion  # compares quotients: 12 / 47 times 47 is less than 12
        says = f"{len(lost)} of {len(pairs)} recent good parts rejected; probability of so many or more with this threshold: {chance:.2g}"
        says += f", at least {self.limits.broken_promise:g} is needed" if is_kept or not no_worse else ", but the champion rejects no fewer"
        figures = Figures(as_champion, share, "share")
        return check("promise of the threshold", is_passed=is_kept or no_worse, found=figures, says=says)

    def rejects(self) -> GateCheck:
        """Require that the interval of additional rejects begins within `allowed_rejects` and ends within `tolerated_rejects`."""
        limits, pairs = self.limits, self.pairs.of("good")
        counts = counts_of(pairs, errs_when_ok=False)
        low, high = counts.excess(limits.confidence)
        new = [pair for pair in pairs if pair.champion_accepts and not pair.candidate.is_ok]
        says = f"{counts.candidate_only} good parts are newly rejected, {counts.champion_only} no longer"
        is_passed = low <= limits.allowed_rejects and high <= limits.tolerated_rejects
        if low > limits.allowed_rejects:
            says += f": worse beyond chance by more than {limits.allowed_rejects:g}: {names_of(new)}"
        elif not is_passed:
            needed = parts_needed(limits.tolerated_rejects, limits.confidence)
            says += f": too little to exclude {limits.tolerated_rejects:g} more; {max(needed, 2 * len(pairs))} parts would tell better"
        figures = Figures(counts.champion, counts.candidate, "share", (low, high))
        return check("good parts rejected", is_passed=is_passed, found=figures, says=says)

    def shift(self) -> GateCheck:
        """Require that good parts have not come nearer to the threshold by more than `allowed_shift` beyond chance."""
        limits, scores = self.limits, scores_of(self.pairs.of("good"))
        if len(scores.champion) < FEWEST_SPREAD:
            says = f"fewer than {FEWEST_SPREAD} good parts have a score from both models"
            return check("room below the threshold", is_passed=False, says=says)
        before, after = (np.log(np.maximum(side, SMALLEST_SCORE)) for side in (scores.champion, scores.candidate))
        low, high = margin_lost(before, after, limits.confidence, self.random)
        figures = Figures(float(margin_in_deviations(before)), float(margin_in_deviations(after)), "", (low, high))
        is_passed = low <= limits.allowed_shift
        lost = INTERVAL if is_passed else loss(figures, limits.allowed_shift)
        says = f"how far good parts lie below the threshold, in their own deviations; {lost}"
        return check("room below the threshold", is_passed=is_passed, found=figures, says=says)

    def damage(self, kind: DamageKind) -> Iterator[GateCheck]:
        """Require that standard damage on good parts is caught as often, and scores as far from good parts."""
        pairs = self.pairs.of(kind)
        if not pairs:
            yield check(f"standard {kind}", is_passed=False, says="no good part has a place for it")
            return
        if self.has_champion:
            yield self.damage_caught(kind)
        yield self.separation(kind, f"standard {kind}: separation")

    def damage_caught(self, kind: DamageKind) -> GateCheck:
        """Require at most `allowed_misses` more misses, beyond chance; parts that the champion rejects even undamaged do not count."""
        accepted = {pair.number for pair in self.pairs.of("good") if pair.champion_accepts}
        pairs = [pair for pair in self.pairs.of(kind) if pair.number in accepted]
        if not pairs:
            says = "the champion accepts none of the good parts that it was drawn onto"
            return check(f"standard {kind}: caught", is_passed=True, says=says)
        counts = counts_of(pairs, errs_when_ok=True)
        low, high = counts.excess(self.limits.confidence)
        is_passed = low <= self.limits.allowed_misses
        says = f"drawn onto {len(pairs)} good parts that the champion accepts; "
        says += f"{counts.candidate_only} newly missed, {counts.champion_only} no longer"
        if not is_passed:
            says += f": worse beyond chance by more than {self.limits.allowed_misses:g}"
        elif all(pair.candidate.is_ok and pair.champion_accepts for pair in pairs):
            says += "; neither model catches any, so passing says nothing about either"
        figures = Figures(1 - counts.champion, 1 - counts.candidate, "share", (low, high))
        return check(f"standard {kind}: caught", is_passed=is_passed, found=figures, says=says)

    def separation(self, kind: Kind, name: str) -> GateCheck:
        """Require that scores separate such parts from good ones as well as the champion's; for a first model, that they do so at all."""
        if not self.has_champion:
            return self.first_separation(kind, name)
        good, bad = (scores_of(self.pairs.of(each)) for each in ("good", kind))
        if min(len(good.champion), len(bad.champion)) == 0:
            return check(name, is_passed=False, says="no part has a score from both models")
        before, after, (low, high) = auroc_loss(good, bad, self.limits.confidence, self.random)
        figures = Figures(before, after, "AUROC", (low, high))
        is_passed = low <= self.limits.allowed_auroc
        lost = INTERVAL if is_passed else loss(figures, self.limits.allowed_auroc)
        says = f"probability that such a part scores above a good one; {lost}"
        return check(name, is_passed=is_passed, found=figures, says=says)

    def first_separation(self, kind: Kind, name: str) -> GateCheck:
        """Require that a model without a champion separates such parts from good ones better than chance."""
        good, bad = (candidate_scores(self.pairs.of(each)) for each in ("good", kind))
        if min(len(good), len(bad)) == 0:
            return check(name, is_passed=False, says="no part has a score")
        found, (low, high) = auroc_interval(good, bad, self.limits.confidence, self.random)
        says = "probability that such a part scores above a good one; of a first model more than 0.5, beyond chance, is required"
        return check(name, is_passed=low > 0.5, found=Figures(None, found, "AUROC", (low, high)), says=says)


def catches(champion: ScanJudgement | None, moved: float) -> bool:
    """Return whether the champion rejects a part by its own merit: not only because good parts have moved up that far, too.

    Without a champion every part counts as caught.
    """
    return champion is None or champion.ratio is None or champion.ratio > moved or bool(champion.undecided)


def loss(figures: Figures, allowed: float) -> str:
    """Return what a candidate loses, in words that stand alone where no table is, as in `mdss status`."""
    return f"{figures.candidate:.3g} instead of {figures.champion:.3g}: more than {allowed:g} lost beyond chance"


def names_of(pairs: Sequence[Pair]) -> str:
    """Return the names of the first few parts."""
    return some_of([pair.part.part_id for pair in pairs], NAMED)


def shares_accepted(pairs: Sequence[Pair]) -> Figures:
    """Return the share of parts that each model accepts."""
    before, after = shares_caught(pairs)
    return Figures(None if before is None else 1 - before, None if after is None else 1 - after, "share")


def shares_caught(pairs: Sequence[Pair]) -> tuple[float | None, float | None]:
    """Return the share of parts that each model does not accept; None without any part, or without a champion."""
    return share_caught([pair.champion for pair in pairs]), share_caught([pair.candidate for pair in pairs])


def share_caught(judged: Sequence[ScanJudgement | None]) -> float | None:
    """Return the share of judgements by which a part is not accepted; None without any."""
    known = [each.is_ok for each in judged if each is not None]
    return known.count(False) / len(known) if known else None


def candidate_scores(pairs: Sequence[Pair]) -> Values:
    """Return the candidate's scores in thresholds (N,), where it has one."""
    return np.array([pair.candidate.ratio for pair in pairs if pair.candidate.ratio is not None], np.float64)
