"""The method as the cited code runs it: what is divided by must not become cheaper with the presets."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mdss.method import point_cloud
from mdss.method.grid import Grid
from mdss.method.patches import cut_patches
from mdss.method.point_cloud import Prepared
from mdss.method.signed_distance import PartPoints
from measure import reference
from measure.operations import operations_of
from measure.reference import ReferenceNetworks
from measure.subject import Size
from tests.plates import plate

WHOLE_IMAGE_GFLOP = 61.2  # teacher and student of the published size on 256 x 256 px
ENCODER, WIDTH, LAYERS = (3, 64, 128, 1024), 512, 8
POINTS = 500


def part() -> Prepared:
    """Return a plate of 40 x 40 px on an image that it fills a fortieth of."""
    xyz = plate()
    return Prepared(np.zeros((256, 256, 3), np.uint8), xyz, np.isfinite(xyz[..., 0]), Grid.filled(len(xyz)), 0.0, has_table=True)


def of_a_patch() -> float:
    """Return the billion operations that a patch's points and as many questions come to."""
    encoder = sum(inner * outer for inner, outer in pairwise(ENCODER))
    return 2 * POINTS * (encoder + 3 * WIDTH + (LAYERS - 1) * WIDTH**2 + 2 * WIDTH) / 1e9


def test_the_whole_image_is_computed_and_ten_patches_for_each_point_all_in_float32() -> None:
    cited, plated = ReferenceNetworks(), part()
    networks = [each for each in vars(cited).values() if isinstance(each, nn.Module)]
    assert {value.dtype for network in networks for value in network.parameters()} == {torch.float32} and len(networks) == 2
    colour = operations_of(lambda: cited.colour_map(plated), "float").wide
    assert colour == pytest.approx(WHOLE_IMAGE_GFLOP, rel=0.01)
    points = PartPoints.of(plated.xyz).points
    patches = len(cut_patches(points, POINTS, 10))
    assert patches >= 10 * len(points) / POINTS
    assert operations_of(lambda: cited.shape_distances(plated), "float").wide == pytest.approx(patches * of_a_patch(), rel=0.01)


def test_how_much_longer_the_cited_code_takes_counts_from_the_second_scan_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]

    def spends(*seconds: float) -> Callable[..., None]:
        left = iter(seconds)

        def act(*_: object) -> None:
            now_s[0] += next(left)

        return act

    theirs = SimpleNamespace(colour_map=spends(100, 4, 5), shape_distances=spends(100, 2, 1))
    subject = SimpleNamespace(scans_at=lambda _: range(4), received=lambda scan: (scan, scan))
    ours = {"colour": SimpleNamespace(map_of=spends(50, 1, 1)), "shape": SimpleNamespace(map_of=spends(50, 0.5, 0.5))}
    bench: Any = SimpleNamespace(subject=subject, model=SimpleNamespace(recipe=SimpleNamespace(point_cloud=None)), **ours)
    monkeypatch.setattr(reference, "ReferenceNetworks", lambda: theirs)
    monkeypatch.setattr(point_cloud, "prepare", lambda *_: None)
    monkeypatch.setattr(reference, "time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    assert reference.speedup(bench, Size(64, 64)) == 4.0
