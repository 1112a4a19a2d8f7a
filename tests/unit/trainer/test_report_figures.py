"""The pictures of reports: what a person is to read off them is there, and none is drawn with a warning."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from tests.source import MODULES, tree_of
from trainer.report_figures import bars


@pytest.mark.parametrize(("lowest", "scale"), [(0.5, "log"), (0.0, "linear")])
def test_of_scores_on_either_side_of_the_threshold_each_has_its_bar_however_far_defects_are_and_none_is_lost(
    lowest: float, scale: str
) -> None:
    scores = [lowest, 0.7, 0.9, 1.1, 107.0]
    edges, found = bars(scores)
    counts = np.histogram(scores, edges)[0]
    assert (found, counts.sum(), counts.max() == 1) == (scale, len(scores), scale == "log")


def test_every_legend_says_where_it_lies_so_that_drawing_on_a_busy_machine_warns_of_nothing() -> None:
    calls = [(name, node) for name, path in MODULES.items() for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    legends = [(name, call) for name, call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "legend"]
    assert len(legends) > 5
    assert [name for name, call in legends if "loc" not in {keyword.arg for keyword in call.keywords}] == []
