"""The gate's page: what it says of two models and of the parts on which they differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mdss.method.calibration import Threshold
from mdss.method.recipe import Recipe
from trainer.gate import ComparedModels, outcome_of
from trainer.gate_report import answer, card_rows, checks_table, differing, differing_sections, verdicts
from trainer.gate_scoring import Kind, Pair, Pairs, ScanJudgement
from trainer.gate_terms import EvidencePart, GateCheck, figure_text


def model(version: str, **data: object) -> Any:
    """Return a model whose card says this of its data."""
    limit = Threshold(value=1.0, method="conformal", asked_false_reject_rate=0.05, stated_false_reject_rate=0.05, parts=20)
    card = SimpleNamespace(made_at="then", code_version="1", recipe=Recipe(), data=data, training={})
    return SimpleNamespace(version=version, card=card, calibration=SimpleNamespace(threshold=limit))


def test_what_only_one_of_the_two_cards_says_has_its_row() -> None:
    rows = card_rows(model("0001", unit="m", confirmed_parts=7), model("0002", unit="m", folder="data"))
    found = {str(name): said for name, *said in rows}
    assert found["data: unit"] == ["m", "m"]
    assert found["data: folder *"] == [None, "data"]
    assert found["data: confirmed parts *"] == ["7", None]
    assert found["false-reject rate asked"] == ["5%", "5%"]


@pytest.mark.parametrize(("value", "said"), [(None, "-"), (3124.6, "3125 ms"), (999.6, "1000 ms"), (583.2, "583 ms"), (0.17, "0.17 ms")])
def test_a_time_is_said_as_people_read_it(value: float | None, said: str) -> None:
    assert figure_text(value, "ms") == said


def test_what_is_nothing_but_for_rounding_is_said_to_be_nothing() -> None:
    assert [figure_text(value, "") for value in (-4.34e-20, 0.00125)] == ["0", "0.00125"]
    assert figure_text(-1e-16, "share") == "0.0 %"


@pytest.mark.parametrize(("champion", "said"), [(None, "it says what it should of every part"), (model("0001"), "both say the same")])
def test_where_nothing_is_to_be_shown_the_page_says_so_of_as_many_models_as_there_are(champion: Any, said: str) -> None:
    comparison: Any = SimpleNamespace(champion=champion, candidate=model("0002"))
    assert said in "".join(differing_sections(comparison, Pairs([])))


@pytest.mark.parametrize("passed", [(True, True), (True, False), (False, True), (False, False)])
def test_one_check_that_is_not_passed_holds_a_model_back_and_is_a_reason(passed: tuple[bool, bool]) -> None:
    sides = ComparedModels(None, SimpleNamespace(name="cap", version="0002"), Path("gates"))  # type: ignore[arg-type]
    outcome = outcome_of(sides, Pairs([]), [GateCheck.of("quality", f"{n}", "why", is_passed=each) for n, each in enumerate(passed)])
    assert outcome.is_passed == all(passed)
    assert outcome.reasons == tuple(f"{n}: why" for n, each in enumerate(passed) if not each)


def test_the_parts_that_the_models_evaluate_otherwise_are_shown_first_and_one_that_neither_judged_is_not() -> None:
    ratios = {
        "near": (0.5, 0.51),
        "neither": (None, None),
        "far": (0.2, 0.8),
        "split": (0.99, 1.01),
        "one": (None, 1.5),
        "less": (0.8, 0.4),
    }
    part: Any = EvidencePart
    pairs = [Pair("good", 0, part(name, None), ScanJudgement({}, old), ScanJudgement({}, new)) for name, (old, new) in ratios.items()]
    assert [pair.part.part_id for pair in differing(Pairs(pairs))] == ["split", "one", "far", "less"]


def test_the_page_begins_with_the_answer_the_parts_judged_and_the_reasons() -> None:
    sides = ComparedModels(model("0001"), SimpleNamespace(name="cap", version="0002"), Path("gates"))  # type: ignore[arg-type]
    part: Any = EvidencePart
    kinds: tuple[Kind, ...] = ("good", "good", "golden", "stain", "dent")
    pairs = Pairs([Pair(kind, 0, part("p", None), None, ScanJudgement({}, 0.5)) for kind in kinds])
    for passed, champion, said in ((True, sides.champion, "against champion 0001"), (False, None, "without a champion to compare with")):
        check = GateCheck.of("quality", "memory", "3 < 4", is_passed=passed)
        outcome = outcome_of(replace(sides, champion=champion), pairs if passed else Pairs([]), [check])
        heading, judged, *reasons = answer(outcome)
        assert heading == f'<h1>cap 0002: <span class="{"passed" if passed else "held"}">{"passed" if passed else "held back"}</span></h1>'
        assert f"Candidate 0002 {said}, {outcome.judged_at}" in judged
        assert ("Parts judged: 2 recent good parts, 1 golden part." if passed else "Parts judged: none.") in judged
        assert reasons == ([] if passed else ["<ul><li>memory: 3 &lt; 4</li></ul>"])


def test_failed_checks_are_marked_in_their_table() -> None:
    rows = checks_table([GateCheck.of("fitness", name, "3 < 4", is_passed=name == "sound") for name in ("sound", "slow")]).split("<tr")[2:]
    assert rows[0].startswith("><td>sound</td>") and rows[1].startswith(' class="failed"><td>slow</td>')
    assert all('<td class="says">3 &lt; 4</td>' in row for row in rows)


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        (ScanJudgement({}, 0.98765), "OK (0.988)"),
        (ScanJudgement({}, 1.2), "NotOK (1.2)"),
        (ScanJudgement({}, 0.5, undecided="too small"), "undecided: too small (0.5)"),
        (ScanJudgement({}, None, "BAD_CLOUD: empty"), "not judged: BAD_CLOUD: empty"),
    ],
)
def test_what_each_model_says_of_a_part_is_told_in_a_few_words(judged: ScanJudgement, said: str) -> None:
    part: Any = EvidencePart("p", lambda: None)  # type: ignore[arg-type, return-value]
    assert verdicts(Pair("good", 0, part, judged, ScanJudgement({}, 0.1))) == f"champion {said}, candidate OK (0.1)"
    assert verdicts(Pair("good", 0, part, None, judged)) == f"candidate {said}"


def test_of_a_first_model_the_parts_are_shown_that_it_judges_wrongly() -> None:
    part: Any = EvidencePart
    cases: tuple[tuple[Kind, float], ...] = (("good", 0.5), ("good", 1.5), ("golden", 0.5), ("golden", 1.5), ("defect", 0.5), ("dent", 1.5))
    pairs = [Pair(kind, 0, part(f"{kind} {ratio}", None), None, ScanJudgement({}, ratio)) for kind, ratio in cases]
    assert {pair.part.part_id for pair in differing(Pairs(pairs))} == {"good 1.5", "golden 1.5", "defect 0.5"}


def test_the_card_of_a_first_model_stands_alone_with_each_value_on_one_line() -> None:
    data = {"parts": ("a", "b"), "scans": [1, 2, 3], "share": 0.123456, "by_camera": {"left": 2, "right": 1}, "unit": "m"}
    found = {str(name): said for name, *said in card_rows(None, model("0002", **data))}
    assert [found[f"data: {name}"][1] for name in ("parts", "scans", "share", "by camera", "unit")] == [
        "2 entries", "3 entries", "0.1235", "left 2, right 1", "m"
    ]  # fmt: skip
    assert found["data: unit"][0] is None
