"""Whether a station can serve a candidate: times, memory and scores that are known, and processes that end badly."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from mdss.errors import BadPart, MdssError
from mdss.method.model_store import ModelFolder
from mdss.settings import BranchesSettings, BranchSettings, FusionSettings, Settings
from trainer import gate_fitness
from trainer.champion import Champion
from trainer.gate_fitness import Fitness, answer_of, is_near
from trainer.gate_probe import ProbeAnswer, ProbeOrder
from trainer.gate_scoring import ModelComparison, Pair, Pairs, ScanJudgement
from trainer.gate_terms import EvidencePart, GateCheck, GateEvidence, GateLimits, Serving

MODEL: Any = object()  # nobody looks at it: what is said of it is given


def fitness(ratio: float = 1.0, champion: Any = MODEL, **candidate: Any) -> Fitness:
    """Return sixty parts whose time differs by that ratio, but for the noise of a busy machine that both suffer."""
    random, pairs = np.random.default_rng(1), []
    for number in range(60):
        busy = float(np.exp(abs(random.normal(0, 0.6))))
        spent = [{branch: 100 * busy * factor * float(random.normal(1, 0.03)) for branch in ("rgb", "sdf")} for factor in (1.0, ratio)]
        before = ScanJudgement({"fused": 1.0}, 0.5, spent_ms=spent[0]) if champion else None
        after = ScanJudgement({"fused": 1.0}, 0.5, **{"spent_ms": spent[1], **candidate})
        pairs.append(
            Pair(
                "good",
                number,
                EvidencePart(f"p{number}", lambda: (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.float32))),
                before,
                after,
            )
        )
    return Fitness(champion, MODEL, Pairs(pairs), GateEvidence(good=()), "cpu")


def checks(given: Fitness, monkeypatch: pytest.MonkeyPatch, answers: list[ProbeAnswer | str]) -> dict[str, GateCheck]:
    """Return every check by its name; the processes' answers are given: the candidate's, the champion's."""
    monkeypatch.setattr(Fitness, "probed", lambda *_: answers.pop(0))
    return {check.name: check for check in given.checks()}


def answer(scores: float | None = 1.0, peak: float = 300.0, fault: str = "") -> ProbeAnswer:
    return ProbeAnswer(scores=(scores,) * 3, golden=3, fault=fault, load_s=0.5, peak_mib=peak)


def failed(found: dict[str, GateCheck]) -> set[str]:
    return {name for name, check in found.items() if not check.is_passed}


def test_a_candidate_as_fast_and_as_small_as_the_champion_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checks(fitness(), monkeypatch, [answer(), answer()])
    assert failed(found) == set() and len(found) == 7
    low, high = found["time for a part: colour"].interval or (0, 0)
    assert 0.97 < low < 1.0 < high < 1.03


def test_a_slower_candidate_is_held_back_and_a_little_slower_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"time for a part: colour", "time for a part: shape"}
    assert failed(checks(fitness(1.5), monkeypatch, [answer(), answer()])) == slow
    assert failed(checks(fitness(1.15), monkeypatch, [answer(), answer()])) == set()


def test_a_candidate_that_may_be_as_fast_as_is_allowed_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    found, limit = checks(fitness(1.25), monkeypatch, [answer(), answer()]), GateLimits().slowest_ratio
    low, high = found["time for a part: colour"].interval or (0, 0)
    assert low < limit < high and failed(found) == set()


def test_a_larger_candidate_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checks(fitness(), monkeypatch, [answer(peak=400), answer(peak=300)])
    assert failed(found) == {"memory"} and "1.33 of the champion's" in found["memory"].says


def test_other_scores_in_the_fresh_process_and_golden_scans_that_differ_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checks(fitness(), monkeypatch, [answer(scores=1.05, fault="golden/0.tiff: found the score 2"), answer()])
    assert failed(found) == {"same scores in a fresh process", "golden scans reproduced"}
    assert "p0, p1, p2 scored differently" in found["same scores in a fresh process"].says


def test_a_map_that_holds_no_numbers_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "maps are numbers" in failed(checks(fitness(is_finite=False), monkeypatch, [answer(), answer()]))


def test_a_model_that_does_not_load_is_held_back_with_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checks(fitness(), monkeypatch, ["exit code 1: rgb.safetensors: damaged"])
    assert failed(found) == {"loads in a fresh process"} and "rgb.safetensors" in found["loads in a fresh process"].says


def test_a_first_model_has_nothing_to_be_slower_than(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(checks(fitness(champion=None), monkeypatch, [answer()])) == set()


def test_a_model_of_which_no_part_could_be_timed_is_held_back_though_it_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    untimed = checks(fitness(champion=None, spent_ms={}), monkeypatch, [answer()])
    assert failed(untimed) == {"time for a part: colour", "time for a part: shape"}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("import sys; sys.exit('mdss: no such model')", "exit code 1: mdss: no such model"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9: it said nothing"),
        ("import time; time.sleep(600)", "no answer within 1 s"),
    ],
)
def test_a_process_that_ends_badly_or_never_is_a_sentence(script: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_fitness, "PROBE", (sys.executable, "-c", script))
    assert answer_of(ProbeOrder("model", "cpu", None, "scans", 0), timeout_s=1 if "answer" in expected else 60) == expected


def test_a_process_that_answers_something_else_is_no_fault_of_the_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_fitness, "PROBE", (sys.executable, "-c", "print('[1, 2]')"))
    with pytest.raises(MdssError, match="gate probe: found an answer that is none"):
        answer_of(ProbeOrder("model", "cpu", None, "scans", 0), timeout_s=60)


@pytest.mark.parametrize(
    ("champion", "beside", "says", "peak"),
    [
        (MODEL, answer(peak=250), "peak; 1.20 of the champion's, up to 1.25 is allowed", 250),
        (MODEL, "exit code 1: damaged", "peak; exit code 1: damaged", None),
        (None, "not asked", "peak; there is no champion to compare with", None),
    ],
)
def test_memory_is_shown_beside_the_champion_s_where_that_is_known(
    monkeypatch: pytest.MonkeyPatch, champion: Any, beside: ProbeAnswer | str, says: str, peak: float | None
) -> None:
    found = checks(fitness(champion=champion), monkeypatch, [answer(), beside])["memory"]
    assert (found.champion, found.candidate, found.unit, found.says, found.is_passed) == (peak, 300, "MiB", says, True)


def test_times_are_medians_of_the_parts_that_both_models_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    given = fitness(1.15)
    first, second, *others = given.pairs.all
    untimed = replace(first, champion=ScanJudgement({}, None)), replace(second, candidate=ScanJudgement({}, None))
    late = replace(first, candidate=replace(first.candidate, spent_ms={"rgb": 1e9, "sdf": 1e9}))
    found = checks(replace(given, pairs=Pairs([*untimed, late, *others])), monkeypatch, [answer(), answer()])["time for a part: colour"]
    both = [(pair.champion.spent_ms["rgb"], pair.candidate.spent_ms["rgb"]) for pair in [late, *others] if pair.champion]
    assert (found.champion, found.candidate) == pytest.approx(np.median(both, axis=0))
    assert found.says.startswith("median of 59 scans;") and found.unit == "ms" and found.is_passed
    alone = checks(fitness(champion=None, spent_ms={"rgb": 7.0, "sdf": 9.0}), monkeypatch, [answer()])["time for a part: colour"]
    assert (alone.champion, alone.candidate, alone.says) == (None, 7, "nothing to compare with")
    never = [replace(pair, champion=ScanJudgement({}, None)) for pair in given.pairs.all]
    assert "time for a part: shape" in failed(checks(replace(given, pairs=Pairs(never)), monkeypatch, [answer(), answer()]))


def test_what_was_reproduced_and_what_is_no_number_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = checks(fitness(), monkeypatch, [answer(), answer()])
    assert found["golden scans reproduced"].says == "3 golden scans give their stored scores"
    assert found["same scores in a fresh process"].says == "3 parts, within 2%"
    assert found["maps are numbers"].says == "60 scans"
    none = checks(fitness(is_finite=False), monkeypatch, [msgspec.structs.replace(answer(fault="golden/0.tiff: off"), golden=0), answer()])
    assert none["golden scans reproduced"].says == "golden/0.tiff: off"
    assert none["maps are numbers"].says.startswith("60 scans; not finite on p0, p1, p2")
    without = checks(fitness(), monkeypatch, [msgspec.structs.replace(answer(), golden=0), answer()])
    assert without["golden scans reproduced"].says == "it has no golden scans"


def test_scores_are_near_by_their_share_and_two_missing_ones_are_the_same() -> None:
    assert is_near(2.0, 2.03, 0.02) and not is_near(2.0, 2.05, 0.02)
    assert (
        is_near(None, None, 0.02) and not is_near(None, 1.0, 0.02) and not is_near(1.0, None, 0.02) and not is_near(1.0, float("nan"), 0.02)
    )


def test_a_candidate_is_timed_and_judged_as_the_station_would_serve_it() -> None:
    rules = FusionSettings(min_part_ratio=0.7)
    served = Serving.at(Settings(branches=BranchesSettings(rgb=BranchSettings(threads=3)), fusion=rules))
    assert (served.threads, served.rules) == (3, rules)


class SeesNothing:
    """A model that finds no part, and says so under its name."""

    def __init__(self, name: str, asked: list[str]) -> None:
        self._name, self._asked = name, asked

    def prepare(self, *_: object) -> Any:
        self._asked.append(self._name)
        raise BadPart(self._name)


def test_every_other_part_is_shown_to_the_candidate_first_so_that_neither_is_timed_warmer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    monkeypatch.setattr(Champion, "of", lambda name, _: SeesNothing(name, asked))
    champion, candidate = cast(ModelFolder, "champion"), cast(ModelFolder, "candidate")
    comparison = ModelComparison(champion, candidate, "cpu", GateEvidence(good=()))
    scan = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.float32)
    said = [tuple(each.reason if each else "" for each in comparison.judge(scan, number)) for number in range(4)]
    assert said == [("BAD_CLOUD: champion", "BAD_CLOUD: candidate")] * 4
    assert asked == ["champion", "candidate", "candidate", "champion"] * 2
