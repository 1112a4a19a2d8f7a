"""A memory bank: how much it keeps, from where, and in which order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.memory_bank import PROJECTED, MemoryBank, candidates_of, coreset, projected


@pytest.mark.parametrize(("share", "kept"), [(0.1, 4), (0.19, 8), (1e-6, 1), (1.0, 40)])
def test_a_bank_keeps_the_share_of_the_candidates_nearest_to_what_was_asked_and_never_nothing(share: float, kept: int) -> None:
    random = np.random.default_rng(0)
    parts = [random.random((10, 3)).astype(np.float32) for _ in range(4)]
    bank = MemoryBank.of(iter(parts), len(parts), share)
    assert len(bank.entries) == kept
    assert bank.size_mb == kept * 3 * 4 / 1e6


def test_candidates_are_as_many_as_may_be_though_the_parts_do_not_divide_them() -> None:
    parts = [np.full((100, 2), number, np.float32) for number in range(3)]
    assert len(candidates_of(iter(parts), len(parts), most=40)) == 40


def test_candidates_come_from_everywhere_on_a_part_and_are_the_same_again() -> None:
    part = np.arange(1000, dtype=np.float32)[:, None]
    found, again = (candidates_of([part], 1, most=100) for _ in range(2))
    assert np.histogram(found, 10, (0, 1000))[0].min() > 0
    assert (found == again).all()


def test_a_coreset_begins_with_the_oddest_and_goes_on_with_the_farthest_from_all_before() -> None:
    points = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    chosen = coreset(torch.from_numpy(points), 0.2).tolist()
    assert len(chosen) == 12
    assert chosen[0] == np.linalg.norm(points - points.mean(axis=0), axis=1).argmax()
    for number in range(1, len(chosen)):
        before = points[chosen[:number]]
        assert chosen[number] == np.linalg.norm(points[:, None] - before, axis=2).min(axis=1).argmax()


def test_a_projection_nearly_keeps_distances_and_is_the_same_again() -> None:
    points = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 512)).astype(np.float32))
    found = projected(points)
    assert found.shape == (40, PROJECTED)
    ratios = torch.pdist(found) / torch.pdist(points)
    assert ratios.min() > 0.7 and ratios.max() < 1.3
    assert torch.equal(found, projected(points))


def test_points_of_few_dimensions_are_left_as_they_are() -> None:
    points = torch.rand(5, PROJECTED)
    assert projected(points) is points
