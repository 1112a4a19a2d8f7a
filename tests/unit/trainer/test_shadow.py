"""A candidate beside the champion: live parts only, each once, by the station's own rules, and a report that says where they differ."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.stats import binom

from mdss import audit
from mdss.collect_request import LOOK_EVERY_S, CollectRequests
from mdss.collection import CollectedPart, Collection
from mdss.errors import BadPart
from mdss.method.grid import Grid
from mdss.settings import FusionSettings, load_settings
from tests.fakes import FakeClock
from tests.parts import calibration
from tests.retraining import write_config
from trainer import shadow_verb
from trainer.shadow import Shadow, judgement_of
from trainer.shadow_report import ShadowJudgement, ShadowPart, as_text, report_of
from trainer.shadow_verb import ShadowOrder, every_part, note

RGB, XYZ = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 500.0, np.float32)


def candidate(score: float = 1.0, threshold: float = 2.0, invalid: float = 0.1, covered: float = 1.0) -> Any:
    """Return a model that finds this score in every part."""
    found = calibration(smallest_part_px=100)
    found = msgspec.structs.replace(found, threshold=msgspec.structs.replace(found.threshold, value=threshold))
    mask = np.arange(32 * 32).reshape(32, 32) < covered * 100
    return SimpleNamespace(
        folder=SimpleNamespace(version="0002", calibration=found),
        threshold=threshold,
        prepare=lambda rgb, xyz: SimpleNamespace(invalid_point_ratio=invalid, mask=mask, grid=Grid.filled(32)),
        score=lambda prepared: ({"fused": score}, {}),
    )


class Line:
    """A collection that parts come into."""

    def __init__(self, root: Path) -> None:
        self.collection, self.count = Collection(root), 0

    def judge(self, count: int = 1, score: float | None = 1.0, recipe: str = "cap", is_simulated: bool = False, **changes: Any) -> None:
        for _ in range(count):
            self.count += 1
            part = CollectedPart(
                result_id=f"r-{self.count:03d}", part_id=f"part-{self.count}", source_id="cam", recipe_id=recipe, captured_ns=0,
                judged_ns=self.count, evaluation="OK" if score is not None and score <= 2 else "NotOK", score=score,
                threshold=None if score is None else 2.0, model_version="0001", is_simulated=is_simulated,
            )  # fmt: skip
            assert self.collection.add(msgspec.structs.replace(part, **changes), RGB, XYZ)

    def shadow(self, model: Any) -> Shadow:
        return Shadow(self.collection, "cap", model, FusionSettings())


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_only_what_comes_after_the_beginning_is_taken_each_part_once_and_of_this_recipe(line: Line) -> None:
    line.judge(3)
    shadow = line.shadow(candidate())
    assert shadow.take(10) == 0
    line.judge(2)
    line.judge(1, recipe="lid")
    assert (shadow.take(10), shadow.take(10)) == (2, 0)
    assert [part.part_id for part in shadow.parts] == ["part-4", "part-5"]


def test_no_more_are_taken_than_are_asked_for_and_the_rest_waits(line: Line) -> None:
    shadow = line.shadow(candidate())
    line.judge(3)
    assert (shadow.take(2), shadow.take(2)) == (2, 1)


def test_a_part_that_is_simulated_or_that_the_champion_did_not_score_or_whose_scan_is_gone_is_counted_and_left_out(line: Line) -> None:
    shadow = line.shadow(candidate())
    line.judge(1, score=None)
    line.judge(1)
    (line.collection.root / "cap" / "r-002" / "rgb.png").unlink()
    line.judge(1, is_simulated=True)
    assert (shadow.take(10), shadow.skipped) == (0, 3)
    said = as_text(report_of([], shadow.skipped, recipe="cap", candidate="0002", began="", ended=""))
    assert "3 more parts were left out: they were simulated, the champion gave them no score, or their scans were gone" in said


@pytest.mark.parametrize(
    ("model", "rules", "evaluation"),
    [
        (candidate(2.0), FusionSettings(), "OK"),
        (candidate(2.01), FusionSettings(), "NotOK"),
        (candidate(2.01), FusionSettings(guard_band_ratio=0.01), "NotDecidable"),
        (candidate(1.0, invalid=0.6), FusionSettings(), "NotDecidable"),
        (candidate(1.0, covered=0.6), FusionSettings(min_part_ratio=0.7), "NotDecidable"),
        (candidate(2.01, covered=0.6), FusionSettings(min_part_ratio=0.7), "NotOK"),
        (candidate(float("nan")), FusionSettings(), "NotDecidable"),
    ],
)
def test_a_candidate_is_held_to_the_rules_of_the_station(model: Any, rules: FusionSettings, evaluation: str) -> None:
    assert judgement_of(model, (RGB, XYZ), rules).evaluation == evaluation


def test_a_scan_in_which_the_candidate_finds_no_part_is_undefined_with_the_reason() -> None:
    def prepare(*_: object) -> None:
        raise BadPart("no part in view")

    model = candidate()
    model.prepare = prepare
    found = judgement_of(model, (RGB, XYZ), FusionSettings())
    assert (found.evaluation, found.score, found.reason) == ("Undefined", None, "BAD_CLOUD: no part in view")


def part(number: int, champion: float, candidate: float, thresholds: tuple[float, float] = (2.0, 4.0)) -> ShadowPart:
    sides = [
        ShadowJudgement(version=version, evaluation="OK" if score <= limit else "NotOK", score=score, threshold=limit)
        for version, score, limit in zip(("0001", "0002"), (champion, candidate), thresholds, strict=True)
    ]
    return ShadowPart(result_id=f"r-{number}", part_id=f"part-{number}", champion=sides[0], candidate=sides[1], spent_ms=float(number))


def test_the_report_counts_both_kinds_of_difference_and_names_their_parts() -> None:
    parts = [part(number, 1.0, 2.0) for number in range(8)] + [part(8, 3.0, 3.0), part(9, 1.0, 5.0)]
    found = report_of(parts, 2, recipe="cap", candidate="0002", began="a", ended="b")
    assert (found.parts, found.same, found.only_candidate_accepts, found.only_champion_accepts, found.skipped) == (10, 8, 1, 1, 2)
    assert [each.part_id for each in found.differing] == ["part-8", "part-9"]
    assert found.agreement is not None and found.agreement.low < 0.8 < found.agreement.high < 1
    said = as_text(found)
    assert "8 of 10 parts evaluated alike" in said and "part part-9 (r-9): 0001 OK 1/2, 0002 NotOK 5/4" in said


def test_the_audit_names_the_champion_that_was_in_office_at_the_end(line: Line, tmp_path: Path) -> None:
    store = tmp_path / "models"
    (store / "cap").mkdir(parents=True)
    order = ShadowOrder(load_settings(write_config(tmp_path / "station", store)), "cap", "0002", parts=3, minutes=1)
    shadow = line.shadow(candidate())
    for result_id, champion in (("b", "0001"), ("c", "0003"), ("a", "0001")):  # 0003 was promoted, and rolled back
        line.judge(result_id=result_id, model_version=champion)
    assert shadow.take(10) == 3
    found = report_of(shadow.parts, 0, recipe="cap", candidate="0002", began="", ended="")
    note(order, shadow, found)
    assert found.champions == ("0001", "0003")
    assert [(each.what, each.before, each.after) for each in audit.events(store / "cap")] == [("shadow", "0001", "0002")]


def test_of_two_shadows_of_a_recipe_the_one_that_goes_on_has_every_part_after_the_other_has_ended(tmp_path: Path) -> None:
    order = ShadowOrder(load_settings(write_config(tmp_path, tmp_path / "models")), "cap", "0002", parts=3, minutes=1)
    clock = FakeClock()
    station = CollectRequests(order.state, steady_s=clock)
    is_requested = []
    with every_part(order) as ask:
        ask()
        with every_part(order) as ask_for_another:
            ask_for_another()
        for _ in range(2):
            ask()
            clock.advance(LOOK_EVERY_S)
            is_requested.append(station.is_requested("cap"))
    clock.advance(LOOK_EVERY_S)
    assert (is_requested, station.is_requested("cap")) == ([True, True], False)


def test_a_shadow_to_which_no_part_comes_asks_once_whether_the_station_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order = ShadowOrder(load_settings(write_config(tmp_path, tmp_path / "models")), "cap", "0002", parts=1, minutes=0.01)
    monkeypatch.setattr(shadow_verb, "LOOK_EVERY_S", 0.01)
    line = Line(tmp_path / "collected")
    for quiet_s, times in ((0.1, 1), (30.0, 0)):
        monkeypatch.setattr(shadow_verb, "QUIET_S", quiet_s)
        shadow_verb.watch(order, line.shadow(candidate()))
        assert capsys.readouterr().err.count("is the station running, and do parts come?") == times


def test_scores_are_compared_in_thresholds_pair_by_pair() -> None:
    scores = np.exp(np.random.default_rng(0).standard_normal(40))
    found = report_of([part(n, s, 3 * s, (2.0, 4.0)) for n, s in enumerate(scores)], 0, recipe="cap", candidate="0002", began="", ended="")
    assert found.change is not None
    assert (found.change.low, found.change.value, found.change.high) == pytest.approx((1.5, 1.5, 1.5))


@pytest.mark.parametrize(("count", "confidence"), [(1, 0.0), (3, 0.75), (5, 0.9375), (6, 0.95), (40, 0.95)])
def test_of_few_parts_the_factor_is_not_said_to_be_surer_than_they_allow(count: int, confidence: float) -> None:
    assert count > 5 or confidence == pytest.approx(1 - 2 * binom.cdf(0, count, 0.5))  # the median outside of all of them
    found = report_of([part(n, 1.0, 2.0 + n) for n in range(count)], 0, recipe="cap", candidate="0002", began="", ended="")
    assert found.change is not None and found.agreement is not None
    assert (found.change.confidence, found.agreement.confidence) == pytest.approx((confidence, 0.95))
    assert f"with {100 * confidence:.3g} % confidence" in as_text(found).splitlines()[3]


def test_without_parts_there_is_nothing_to_agree_on() -> None:
    found = report_of([], 0, recipe="cap", candidate="0002", began="", ended="")
    assert (found.agreement, found.change, found.spent_ms, found.champions) == (None, None, {}, ())
