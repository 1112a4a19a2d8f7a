"""The gate's page: what it says of two models and of the parts on which they differ."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mdss.method.calibration import Threshold
from mdss.method.recipe import Recipe
from trainer.gate import ComparedModels, outcome_of
from trainer.gate_report import card_rows, differing, differing_sections
from trainer.gate_scoring import Pair, Pairs, ScanJudgement
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
