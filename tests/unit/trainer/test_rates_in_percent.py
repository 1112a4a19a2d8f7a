"""The threshold's rates as people read them, in the terminal and on the page of an evaluation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from trainer import report, report_figures
from trainer.evaluate import table
from trainer.evaluation import ThresholdFigures

SMALL = ThresholdFigures(0.5, 1e-6, 0.0, 2 / 3)


def evaluation(limit: ThresholdFigures) -> Any:
    """Return as much of an evaluation as says how its threshold decides."""
    metrics, baseline = SimpleNamespace(**dict.fromkeys(report.METRICS)), SimpleNamespace(i_auroc=None, direction=None)
    counts, timing = SimpleNamespace(undefined={}), SimpleNamespace(parts_per_s=0.0)
    return SimpleNamespace(of=lambda _: metrics, baseline_object_brightness=baseline, threshold=limit, counts=counts, timing=timing)


def test_a_small_rate_that_was_asked_for_is_no_nought_in_the_terminal() -> None:
    said = "threshold 0.5: good parts rejected 0% (asked 0.0001%), defective parts found 66.7%"
    assert said in table(evaluation(SMALL)).splitlines()


def page_without_pictures(limit: ThresholdFigures, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what the page of an evaluation says of its threshold."""
    for picture in ("curves", "histogram"):
        monkeypatch.setattr(report_figures, picture, lambda *_: "")
    scored: Any = SimpleNamespace(parts=())
    return "".join(report._curve_sections(evaluation(limit), scored))


def test_beside_what_was_asked_stands_what_so_few_validation_parts_can_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    of_twelve = ThresholdFigures(0.83, 0.05, 0.1, 1.0, stated_false_reject_rate=1 / 13)
    said = "threshold 0.83: good parts rejected 10% (asked 5%, stated 7.69%), defective parts found 100%"
    assert said in table(evaluation(of_twelve)).splitlines()
    page = page_without_pictures(of_twelve, monkeypatch)
    assert "good parts rejected, stated" in page and "<td>7.69%</td>" in page


def test_nor_on_the_page_which_says_what_sets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    page = page_without_pictures(SMALL, monkeypatch)
    assert "<td>0.5</td><td>0.0001%</td><td>0%</td><td>66.7%</td>" in page and "`mdss calibrate` sets another" in page


def test_of_no_parts_there_is_no_rate() -> None:
    assert ThresholdFigures(0.5, 0.05, None, None).in_percent == ("5%", "-", "-")
