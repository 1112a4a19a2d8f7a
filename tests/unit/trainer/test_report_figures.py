"""The pictures of an evaluation's page: what a person is to read off them is there."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.report_figures import bars


@pytest.mark.parametrize(("lowest", "scale"), [(0.5, "log"), (0.0, "linear")])
def test_of_scores_on_either_side_of_the_threshold_each_has_its_bar_however_far_defects_are_and_none_is_lost(
    lowest: float, scale: str
) -> None:
    scores = [lowest, 0.7, 0.9, 1.1, 107.0]
    edges, found = bars(scores)
    counts = np.histogram(scores, edges)[0]
    assert (found, counts.sum(), counts.max() == 1) == (scale, len(scores), scale == "log")
