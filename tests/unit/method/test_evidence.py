"""What a missing point is evidence of: nothing where none is to be expected, and what the patches that were asked say together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mdss.method.signed_distance import Readings, evidence_of


def of_voids(probabilities: list[float], voids: list[int]) -> Readings:
    """Return readings of voids alone."""
    return Readings(torch.empty(0), torch.empty(0).long(), torch.tensor(probabilities).logit(), torch.tensor(voids))


@pytest.mark.parametrize("overlap", ["mean", "log_odds"])
@pytest.mark.parametrize(("presence", "expected"), [(0.5, 0.0), (0.2, 0.0), (0.75, np.log(2)), (1.0, np.log(500))])
def test_a_void_says_nothing_unless_a_point_is_more_likely_than_not(presence: float, expected: float, overlap: str) -> None:
    assert evidence_of(of_voids([presence], [0]), 1, overlap).tolist() == pytest.approx([expected], abs=1e-6)


def test_a_void_in_two_patches_has_their_mean_and_one_in_none_says_nothing() -> None:
    assert evidence_of(of_voids([0.9, 0.6], [1, 1]), 3, "mean").tolist() == pytest.approx([0, np.log(2), 0], abs=1e-6)
    odds = np.sqrt(9 * 1.5)
    assert evidence_of(of_voids([0.9, 0.6], [1, 1]), 3, "log_odds").tolist() == pytest.approx([0, np.log1p(odds) - np.log(2), 0], abs=1e-6)


def test_no_patch_is_so_sure_that_others_have_no_say() -> None:
    readings = Readings(torch.empty(0), torch.empty(0).long(), torch.tensor([50.0, -5.0]), torch.tensor([0, 0]))
    assert evidence_of(readings, 1, "log_odds").tolist() == pytest.approx([np.log1p(np.sqrt(1000 / np.exp(5))) - np.log(2)], rel=1e-3)
