"""What the gate says of two models whose scores are known: who is held back, why, and how often by accident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from mdss.method.calibration import Calibration, Statistics, Threshold
from mdss.method.grid import Grid
from mdss.method.recipe import FusionSettings
from mdss.settings import FusionSettings as RulesOfStation
from tests.parts import calibration as part_calibration
from trainer.champion import Champion
from trainer.gate_quality import Quality
from trainer.gate_scoring import Kind, Pair, Pairs, ScanJudgement, judgement
from trainer.gate_statistics import chance_of_rejects
from trainer.gate_terms import EvidencePart, GateCheck, GateLimits

PARTS = 40
CALIBRATED = 40
SPREAD = 0.2  # deviation of the logarithm of good scores
ROOM = 1.645 * SPREAD  # one good part in twenty lies above the threshold
SEEN = {"stain": 1.5, "dent": 1.5, "defect": 1.5}  # scores in thresholds of what a sound model sees
Ratios = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True)
class SeesAll(Champion):
    """Finds the same part in every scan."""

    part: Any

    def prepare(self, *_: object) -> Any:
        return self.part


def calibration() -> Calibration:
    """Return a conformal calibration of forty parts whose threshold is the second highest score."""
    scores = (*np.linspace(0.3, 1.05, CALIBRATED - 1), 1.2)
    limit = Threshold(value=1.06, method="conformal", asked_false_reject_rate=0.05, stated_false_reject_rate=0.05, parts=CALIBRATED)
    statistics = Statistics(0.0, 1.0)
    return Calibration(
        rgb=statistics,
        sdf=statistics,
        threshold=limit,
        map_level=1.0,
        fusion=FusionSettings(),
        calibrated_at="",
        validation_scores=scores,
    )


def pairs_of(kind: Kind, champion: Ratios | None, candidate: Ratios) -> list[Pair]:
    """Return pairs of one kind with these scores in thresholds."""
    before: Sequence[Any] = [None] * len(candidate) if champion is None else [ScanJudgement({}, ratio) for ratio in champion]
    return [
        Pair(kind, number, EvidencePart(f"{kind}-{number}", lambda: None), first, ScanJudgement({}, ratio))  # type: ignore[arg-type, return-value]  # never read
        for number, (first, ratio) in enumerate(zip(before, candidate, strict=True))
    ]


def good_ratios(random: np.random.Generator, count: int = PARTS, room: float = ROOM) -> NDArray[np.float64]:
    """Return the scores in thresholds of good parts."""
    return np.exp(random.normal(-room, SPREAD, count))


def sound(seed: int, count: int = PARTS, with_champion: bool = True) -> list[Pair]:
    """Return what two equally good models say of the same parts: much of a score is the part's own."""
    random = np.random.default_rng(seed)
    own, parts = random.normal(0, 0.8 * SPREAD, count), []
    both = [np.exp(own - ROOM + random.normal(0, 0.6 * SPREAD, count)) for _ in range(2)]
    parts += pairs_of("good", both[0] if with_champion else None, both[1])
    for kind in ("stain", "dent"):
        hot = [ratio * SEEN[kind] / np.exp(-ROOM) * np.exp(random.normal(0, 0.1, count)) for ratio in both]
        parts += pairs_of(kind, hot[0] if with_champion else None, hot[1])
    return parts


def swapped(pairs: list[Pair], kind: str, candidate: Ratios) -> list[Pair]:
    """Return the pairs with other scores by the candidate for one kind."""
    others = iter(candidate)
    return [replace(pair, candidate=ScanJudgement({}, next(others))) if pair.kind == kind else pair for pair in pairs]


def checks(pairs: list[Pair], limits: GateLimits | None = None, has_champion: bool = True) -> dict[str, GateCheck]:
    """Return every check of quality by its name."""
    quality = Quality(Pairs(pairs), calibration(), limits or GateLimits(), calibration() if has_champion else None)
    return {check.name: check for check in quality.checks()}


def failed(pairs: list[Pair], **named: Any) -> set[str]:
    """Return the names of the checks that a candidate does not pass."""
    return {name for name, check in checks(pairs, **named).items() if not check.is_passed}


def test_an_equally_good_candidate_passes_and_is_held_back_by_accident_at_most_once_in_twelve() -> None:
    assert sum(bool(failed(sound(seed))) for seed in range(36)) <= 3


def test_the_same_model_always_passes() -> None:
    for seed in range(6):
        pairs = [replace(pair, candidate=pair.champion or pair.candidate) for pair in sound(seed)]
        assert failed(pairs) <= {"promise of the threshold"} and "good parts rejected" not in failed(pairs)


def test_a_candidate_that_misses_a_confirmed_defect_is_held_back_and_the_part_is_named() -> None:
    defects = pairs_of("defect", [1.4, 1.2, 0.9], [1.3, 0.9, 0.8])
    check = checks(sound(1) + defects)["confirmed defects caught"]
    assert not check.is_passed and "misses defect-1" in check.says and "defect-2" not in check.says
    assert check.interval is not None and check.interval[0] < 1 / 3 < check.interval[1]


@pytest.mark.parametrize(("moved", "missed"), [(1.0, {"defect-0", "defect-1"}), (1.5, {"defect-0"})])
def test_a_defect_that_the_champion_catches_only_because_good_parts_have_moved_is_not_asked_for(moved: float, missed: set[str]) -> None:
    then = [0.6 * moved] * PARTS + [3.0] * 8  # the newest first, but for some defects that somebody marked as good
    good, defects = pairs_of("good", [*then[-8:], *then[:PARTS]], [0.6] * (PARTS + 8)), pairs_of("defect", [1.8, 1.3], [0.9, 0.8])
    check = checks(good + defects)["confirmed defects caught"]
    assert not check.is_passed and {name for name in ("defect-0", "defect-1") if name in check.says.split(";")[1]} == missed
    assert ("1.4 times what they did: that alone lifts defect-1" in check.says) == (moved > 1)


def test_whether_good_parts_have_moved_is_asked_of_the_newest_alone() -> None:
    newest = GateLimits().fewest_good
    ratios = [0.9] * newest + [0.6] * 2 * newest
    check = checks(pairs_of("good", ratios, ratios) + pairs_of("defect", [1.3], [0.8]))["confirmed defects caught"]
    assert check.is_passed and "that alone lifts defect-0" in check.says


def test_where_good_parts_score_less_than_they_did_a_champion_catches_no_more_than_it_rejects() -> None:
    pairs = pairs_of("good", [0.3] * PARTS, [0.3] * PARTS) + pairs_of("defect", [0.9, 1.1], [0.8, 0.8])
    check = checks(pairs)["confirmed defects caught"]
    assert not check.is_passed and "misses defect-1" in check.says and "defect-0" not in check.says


def test_a_candidate_by_which_the_station_decides_less_is_held_back_however_low_its_scores_are() -> None:
    pairs, lost = sound(1) + pairs_of("golden", [0.5], [0.5]), "the part covers 60.0% of what the smallest good one of the validation does"
    unsure = [replace(each, candidate=replace(each.candidate, undecided=lost)) if each.number % 2 == 0 else each for each in pairs]
    assert failed(pairs) == set() and {"golden parts accepted", "good parts rejected"} <= failed(unsure)
    defects = [replace(each, champion=replace(each.candidate, undecided=lost)) for each in pairs_of("defect", [0.9], [0.9])]
    assert "misses defect-0" in checks(pairs + defects)["confirmed defects caught"].says


@pytest.mark.parametrize(
    ("invalid", "covered", "said"),
    [(0.5, 0.7, ""), (0.6, 1.0, "60.0% of the part's points are missing"), (0.1, 0.6, "the part covers 60.0% of")],
)
def test_what_a_station_would_not_decide_is_said_of_each_part(invalid: float, covered: float, said: str) -> None:
    folder: Any = SimpleNamespace(calibration=part_calibration(smallest_part_px=100))
    mask = np.arange(32 * 32).reshape(32, 32) < covered * 100
    heat, part = np.zeros((2, 2), np.float32), SimpleNamespace(invalid_point_ratio=invalid, mask=mask, grid=Grid.filled(32))
    fused: Any = SimpleNamespace(score=0.5, map=heat)
    model = SeesAll(folder, lambda _: heat, lambda _: heat, lambda *_: fused, part)
    found = judgement(model, (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.float32)), RulesOfStation(min_part_ratio=0.7))
    assert found.undecided.startswith(said) and found.is_ok == (not said) and found.ratio == 0.25


def test_defects_that_neither_catches_hold_nobody_back() -> None:
    assert "confirmed defects caught" not in failed(sound(1) + pairs_of("defect", [0.9] * 5, [0.8] * 5))


@pytest.mark.parametrize("kind", ["stain", "dent"])
def test_a_candidate_blind_to_one_standard_damage_is_held_back_without_any_known_defect(kind: str) -> None:
    pairs = sound(2)
    blind = swapped(pairs, kind, good_ratios(np.random.default_rng(3)).tolist())
    assert failed(blind) == {f"standard {kind}: caught", f"standard {kind}: separation"}


def test_a_candidate_that_rejects_good_parts_is_held_back() -> None:
    pairs = swapped(sound(4), "good", good_ratios(np.random.default_rng(5), room=-SPREAD).tolist())
    found = checks(pairs)
    for name in ("good parts rejected", "promise of the threshold", "room below the threshold"):
        assert not found[name].is_passed
    assert "worse beyond chance" in found["good parts rejected"].says and "good-" in found["good parts rejected"].says
    assert found["room below the threshold"].says.endswith("lost beyond chance")
    room = found["room below the threshold"]
    assert f"deviations; {room.candidate:.3g} instead of {room.champion:.3g}: more than" in room.says  # a history shows no other figures
    assert "lost beyond chance" not in checks(sound(4))["room below the threshold"].says


def test_of_rejected_good_parts_those_are_named_that_the_champion_accepts() -> None:
    rejected = pairs_of("good", [1.2] * 4 + [0.8] * 36, [1.2] * 20 + [0.8] * 20)
    names = ", ".join(f"good-{number}" for number in range(4, 12))
    assert checks(rejected)["good parts rejected"].says.endswith(f"more than 0.02: {names} and 8 more")


@pytest.mark.parametrize(("count", "is_enough"), [(4, False), (5, True)])
def test_of_so_few_good_parts_no_deviation_is_taken_that_a_check_or_a_drift_could_go_by(count: int, is_enough: bool) -> None:
    pairs = pairs_of("good", np.linspace(1.9, 2, count), np.linspace(1.9, 2, count))
    assert ("fewer than 5 good parts" in checks(pairs)["room below the threshold"].says) != is_enough
    assert (Quality(Pairs(pairs), calibration(), GateLimits(), calibration()).good_score_rise > 1) == is_enough


def test_a_promise_counts_the_part_whose_score_became_the_threshold_as_accepted() -> None:
    found = calibration()
    conformal = msgspec.structs.replace(
        found, threshold=msgspec.structs.replace(found.threshold, value=found.validation_scores[CALIBRATED - 2])
    )
    promise = Quality(Pairs(pairs_of("good", None, [0.9] * 17 + [1.1] * 3)), conformal, GateLimits(), None).promise()
    assert f"with this threshold: {chance_of_rejects(3, 20, CALIBRATED - 1, CALIBRATED):.2g}" in promise.says


def test_a_part_that_scores_just_the_threshold_is_accepted_where_the_station_would_decide() -> None:
    assert ScanJudgement({}, 1.0).is_ok and not ScanJudgement({}, 1.0001).is_ok and not ScanJudgement({}, None).is_ok
    assert not ScanJudgement({}, 0.5, undecided="too many points are missing").is_ok


@pytest.mark.parametrize(("rejected", "count"), [(PARTS // 2, PARTS), (16, 49), (29, 100)])
def test_a_threshold_that_breaks_its_promise_is_no_reason_where_the_champion_rejects_no_fewer(rejected: int, count: int) -> None:
    dear = [1.2] * rejected + [0.8] * (count - rejected)
    check = checks(pairs_of("good", dear, dear))["promise of the threshold"]
    assert check.is_passed and "the champion rejects no fewer" in check.says
    assert not checks(pairs_of("good", [0.8, *dear[1:]], dear))["promise of the threshold"].is_passed


def test_separation_that_is_lost_on_confirmed_defects_is_a_reason_once_there_are_enough() -> None:
    random = np.random.default_rng(8)
    lost = pairs_of("defect", [1.6] * 12, (0.99 * good_ratios(random, 12) / 1.2).tolist())
    assert "confirmed defects: separation" in failed(sound(7) + lost)
    assert "confirmed defects: separation" in checks(sound(7) + lost[:10])
    assert "confirmed defects: separation" not in checks(sound(7) + lost[:9])


def test_too_few_good_parts_hold_a_candidate_back_and_it_is_said_how_many_are_needed() -> None:
    check = checks(sound(9, count=12))["enough evidence"]
    assert not check.is_passed and "20 are needed to tell, 8 more" in check.says
    assert checks(sound(9, count=20))["enough evidence"].is_passed
    assert failed([]) == {"enough evidence"}


def test_what_too_few_parts_cannot_exclude_is_a_reason_even_where_nothing_is_worse() -> None:
    check = checks(sound(10, count=6))["good parts rejected"]
    assert not check.is_passed and "too little to exclude" in check.says


def test_golden_parts_that_the_champion_accepts_have_to_be_accepted() -> None:
    check = checks(sound(11) + pairs_of("golden", [0.8, 0.9, 1.1], [0.8, 1.3, 1.2]))["golden parts accepted"]
    assert not check.is_passed and check.says.endswith("does not accept golden-1")


def test_a_first_model_passes_by_what_it_promises_and_sees() -> None:
    pairs = sound(12, with_champion=False)
    assert failed(pairs, has_champion=False) == set()
    blind = swapped(pairs, "stain", good_ratios(np.random.default_rng(13)).tolist())
    assert failed(blind, has_champion=False) == {"standard stain: separation"}
    missed = pairs_of("defect", None, [1.4, 0.9])
    assert failed(pairs + missed, has_champion=False) == {"confirmed defects caught"}


def test_a_part_that_only_the_candidate_cannot_judge_counts_as_rejected() -> None:
    pairs = sound(14)
    broken = [
        replace(pair, candidate=ScanJudgement({}, None, "BAD_CLOUD: no part in view")) if pair.kind == "good" else pair for pair in pairs
    ]
    assert {"good parts rejected", "promise of the threshold", "room below the threshold"} <= failed(broken)


@pytest.mark.parametrize(("rejected", "is_passed"), [("by the champion without damage too", True), ("only with damage", False)])
def test_a_champion_that_rejects_what_it_should_accept_has_not_caught_damage_there(rejected: str, is_passed: bool) -> None:
    pairs, half = sound(1), PARTS // 2
    if is_passed:
        pairs = [replace(pair, champion=ScanJudgement({}, 2.0)) if pair.kind == "good" and pair.number < half else pair for pair in pairs]
    missed = [replace(pair, candidate=ScanJudgement({}, 0.5)) if pair.kind == "stain" and pair.number < half else pair for pair in pairs]
    found = checks(missed)["standard stain: caught"]
    assert found.is_passed == is_passed, rejected
    if is_passed:
        assert "good parts that the champion accepts; 0 newly missed" in found.says


@pytest.mark.parametrize("kind", ["stain", "dent"])
def test_it_is_said_where_neither_model_catches_any_damage_so_that_passing_tells_nothing(kind: Kind) -> None:
    quiet = [pair for pair in sound(3) if pair.kind != kind] + pairs_of(kind, [0.5] * PARTS, [0.6] * PARTS)
    said = checks(quiet)[f"standard {kind}: caught"]
    assert said.is_passed and said.says.endswith("; neither model catches any, so passing says nothing about either")
    some_caught = swapped(quiet, kind, [1.2] * 10 + [0.6] * (PARTS - 10))
    for pairs in (sound(3), some_caught):
        assert "neither" not in checks(pairs)[f"standard {kind}: caught"].says


def test_room_that_may_be_lost_by_chance_alone_is_no_reason() -> None:
    own = np.random.default_rng(3).normal(size=PARTS)
    limit = GateLimits().allowed_shift
    check = checks(pairs_of("good", np.exp(SPREAD * (own - 2)), np.exp(SPREAD * (own[::-1] - 2 + limit))))["room below the threshold"]
    assert check.interval is not None and check.interval[0] < limit < check.interval[1] and check.is_passed
