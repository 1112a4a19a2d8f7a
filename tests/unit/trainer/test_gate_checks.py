"""What each check of the gate shows and says: figures of both models, and sentences that fit what was found."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tests.unit.trainer.test_gate_quality import PARTS, calibration, checks, failed, pairs_of, sound
from trainer.gate_quality import Quality
from trainer.gate_scoring import Pairs
from trainer.gate_statistics import PairedCounts, median_interval
from trainer.gate_terms import Figures, GateCheck, GateLimits

CONFIDENCE = GateLimits().confidence


def test_every_check_shows_the_figures_of_both_models_and_what_the_candidate_is_worse_by() -> None:
    good = pairs_of("good", [1.2] * 2 + [0.8] * 18, [0.8] * 19 + [1.2])
    found = checks(good + pairs_of("golden", [0.8, 0.8, 1.2], [0.8, 1.2, 1.2]) + pairs_of("defect", [1.2, 1.3, 0.9], [1.1, 0.9, 0.8]))
    rejected, missed = PairedCounts(0, 1, 2, 17).excess(CONFIDENCE), PairedCounts(1, 1, 0, 1).excess(CONFIDENCE)
    expected = {
        "enough evidence": (None, 20, "parts", None),
        "golden parts accepted": (2 / 3, 1 / 3, "share", None),
        "confirmed defects caught": (2 / 3, 1 / 3, "share", missed),
        "promise of the threshold": (0.1, 0.05, "share", None),
        "good parts rejected": (0.1, 0.05, "share", rejected),
    }
    for name, (champion, candidate, unit, interval) in expected.items():
        check = found[name]
        assert check.champion == (None if champion is None else pytest.approx(champion)), name
        assert check.candidate == pytest.approx(candidate), name
        assert (check.unit, check.interval) == (unit, interval), name


def test_a_candidate_that_is_worse_beyond_chance_is_held_back_however_many_parts_exclude_the_worst() -> None:
    check = checks(pairs_of("good", [1.2] * 10 + [0.8] * 190, [1.2] * 30 + [0.8] * 170))["good parts rejected"]
    assert (
        check.interval is not None
        and check.interval[0] > GateLimits().allowed_rejects
        and check.interval[1] < GateLimits().tolerated_rejects
    )
    assert not check.is_passed and "20 good parts are newly rejected, 0 no longer: worse beyond chance" in check.says


@pytest.mark.parametrize(("count", "would_tell"), [(3, 9), (6, 12)])
def test_where_parts_are_too_few_it_is_said_how_many_would_tell(count: int, would_tell: int) -> None:
    check = checks(pairs_of("good", [0.8] * count, [0.8] * count))["good parts rejected"]
    assert not check.is_passed and check.says.endswith(f": too little to exclude 0.3 more; {would_tell} parts would tell better")


def test_golden_parts_have_to_be_accepted_also_where_a_champion_is_judged_alone() -> None:
    pairs = sound(12, with_champion=False)
    accepted, lost = (checks(pairs + pairs_of("golden", None, ratios), has_champion=False) for ratios in ([0.8, 0.9], [0.8, 1.3]))
    assert accepted["golden parts accepted"].is_passed and accepted["golden parts accepted"].says == "2 golden parts of the champion"
    assert not lost["golden parts accepted"].is_passed and lost["golden parts accepted"].says.endswith("does not accept golden-1")
    assert checks(pairs, has_champion=False)["golden parts accepted"].says == "the champion has no golden parts"


def test_what_good_parts_score_is_told_by_medians_of_those_of_the_newest_that_have_a_score() -> None:
    before, newest = calibration(), [*[None] * 5, *np.linspace(0.8, 1.0, 15)]
    odd = msgspec.structs.replace(before, validation_scores=(*before.validation_scores[:-1], 1000.0))
    pairs = pairs_of("good", [*newest, *[0.5] * PARTS], [0.6] * (20 + PARTS))
    expected = median_interval(newest[5:], CONFIDENCE)[0] / (np.median(before.validation_scores) / before.threshold.value)
    assert expected > 1.2
    for then in (before, odd):
        assert Quality(Pairs(pairs), before, GateLimits(), then).good_score_rise == pytest.approx(expected)


def test_nothing_is_said_of_what_is_not_so() -> None:
    found = checks(sound(1) + pairs_of("defect", [1.4, 1.5], [1.3, 1.2]))
    assert found["enough evidence"].says == f"{PARTS} recent good parts that the candidate has not learned from"
    assert found["confirmed defects caught"].says == "2 confirmed defects, none missed that the champion catches"
    assert found["promise of the threshold"].says.endswith(", at least 0.01 is needed")
    assert found["good parts rejected"].says.endswith("no longer")
    quiet = checks(pairs_of("good", [0.8] * PARTS, [0.8] * PARTS) + pairs_of("stain", [1.2] + [0.9] * 39, [0.9] * PARTS))
    assert quiet["promise of the threshold"].says.endswith("this threshold: 1, at least 0.01 is needed")
    assert quiet["standard stain: caught"].is_passed and quiet["standard stain: caught"].says.endswith("1 newly missed, 0 no longer")
    worse = checks(pairs_of("good", [0.8] * PARTS, [1.2] * 20 + [0.8] * 20))["promise of the threshold"]
    assert not worse.is_passed and worse.says.endswith(", at least 0.01 is needed")
    assert failed(sound(1)) == set()


@pytest.mark.parametrize(
    ("figures", "cells"),
    [
        (Figures(), ("-", "-", "-")),
        (Figures(0.05, 0.1, "share", (-0.02, 0.15)), ("5.0 %", "10.0 %", "-2.0 % to 15.0 %")),
        (Figures(0.98, 0.9, "AUROC", (0.03, 0.12)), ("0.98 AUROC", "0.9 AUROC", "0.03 to 0.12")),
        (Figures(None, 140.0, "ms", (0.9, 1.3)), ("-", "140 ms", "0.9 to 1.3")),
    ],
)
def test_a_row_has_shares_in_percent_and_other_intervals_as_they_are(figures: Figures, cells: tuple[str, ...]) -> None:
    for is_passed, word in ((True, "yes"), (False, "NO")):
        row = GateCheck.of("quality", "a check", "what it says", is_passed=is_passed, found=figures).row
        assert row == ("a check", *cells, word, "what it says")


def test_without_a_place_for_standard_damage_a_candidate_is_held_back() -> None:
    for has_champion in (True, False):
        pairs = [pair for pair in sound(1, with_champion=has_champion) if pair.kind != "dent"]
        found = checks(pairs, has_champion=has_champion)["standard dent"]
        assert not found.is_passed and found.says == "no good part has a place for it"


def test_standard_damage_that_the_champion_catches_may_not_be_missed_more_often_beyond_chance() -> None:
    good = pairs_of("good", [0.8] * PARTS, [0.8] * PARTS)
    found = checks(good + pairs_of("stain", [1.2] * 30 + [0.9] * 10, [1.2] * 20 + [0.9] * 20))["standard stain: caught"]
    assert (found.champion, found.candidate, found.unit) == (0.75, 0.5, "share")
    assert found.interval == PairedCounts(10, 10, 0, 20).excess(CONFIDENCE)
    assert not found.is_passed
    assert found.says.endswith("that the champion accepts; 10 newly missed, 0 no longer: worse beyond chance by more than 0.05")
    none_left = checks(pairs_of("good", [1.2] * PARTS, [0.8] * PARTS) + pairs_of("stain", [1.2] * PARTS, [0.9] * PARTS))
    assert none_left["standard stain: caught"].is_passed
    assert none_left["standard stain: caught"].says == "the champion accepts none of the good parts that it was drawn onto"


def test_a_candidate_that_separates_well_but_worse_than_the_champion_is_held_back() -> None:
    falling = np.linspace(0.9, 0.5, PARTS)
    good, bad = pairs_of("good", falling, falling), pairs_of("stain", [1.2] * PARTS, [1.2] * 30 + [0.7] * 10)
    found = checks(good + bad)["standard stain: separation"]
    assert (found.champion, found.candidate) == pytest.approx((1.0, 0.875))
    assert not found.is_passed and found.says.endswith("; 0.875 instead of 1: more than 0.02 lost beyond chance")
    alike = checks(good + pairs_of("stain", [1.2] * PARTS, [1.2] * PARTS))["standard stain: separation"]
    assert alike.interval == (0.0, 0.0) and alike.is_passed
    assert alike.says.endswith("; the interval is what the candidate loses")


@pytest.mark.parametrize(("hits", "is_passed"), [(24, False), (30, True)])
def test_a_first_model_has_to_separate_better_than_chance_by_the_scores_that_there_are(hits: int, is_passed: bool) -> None:
    good = pairs_of("good", None, [*np.linspace(0.5, 0.9, PARTS), None])  # type: ignore[list-item]
    found = checks(good + pairs_of("dent", None, [1.2] * hits + [0.4] * (PARTS - hits)), has_champion=False)["standard dent: separation"]
    assert (found.champion, found.candidate, found.unit) == (None, hits / PARTS, "AUROC")
    assert found.interval is not None and found.interval[0] < hits / PARTS < found.interval[1]
    assert found.is_passed == is_passed
    assert "standard dent: caught" not in checks(sound(1, with_champion=False), has_champion=False)


@pytest.mark.parametrize("has_champion", [True, False])
def test_parts_without_any_score_are_not_separated(has_champion: bool) -> None:
    scored, unscored = [0.8] * PARTS, [None] * PARTS
    for good, bad in ((scored, unscored), (unscored, scored)):
        pairs = [
            each
            for kind, ratios in (("good", good), ("dent", bad))
            for each in pairs_of(kind, ratios if has_champion else None, ratios)  # type: ignore[arg-type]
        ]
        found = checks(pairs, has_champion=has_champion)["standard dent: separation"]
        assert not found.is_passed
        assert found.says == ("no part has a score from both models" if has_champion else "no part has a score")


def test_a_defect_that_the_champion_cannot_judge_counts_as_caught_and_a_score_of_nothing_has_its_room() -> None:
    defects = pairs_of("defect", [None], [0.8])  # type: ignore[list-item]
    assert "misses defect-0" in checks(sound(1) + defects)["confirmed defects caught"].says
    ratios = [0.0, *np.linspace(0.5, 0.9, PARTS - 1)]
    assert checks(pairs_of("good", ratios, ratios))["room below the threshold"].is_passed
