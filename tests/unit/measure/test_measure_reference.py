"""The method as the cited code runs it: what is divided by must not become cheaper with the presets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from mdss.method.grid import Grid
from mdss.method.patches import cut_patches
from mdss.method.point_cloud import Prepared
from mdss.method.signed_distance import PartPoints
from measure.operations import operations_of
from measure.reference import ReferenceNetworks
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
    reference, plated = ReferenceNetworks(), part()
    networks = [each for each in vars(reference).values() if isinstance(each, nn.Module)]
    assert {value.dtype for network in networks for value in network.parameters()} == {torch.float32} and len(networks) == 2
    colour = operations_of(lambda: reference.colour_map(plated), "float").wide
    assert colour == pytest.approx(WHOLE_IMAGE_GFLOP, rel=0.01)
    points = PartPoints.of(plated.xyz).points
    patches = len(cut_patches(points, POINTS, 10))
    assert patches >= 10 * len(points) / POINTS
    assert operations_of(lambda: reference.shape_distances(plated), "float").wide == pytest.approx(patches * of_a_patch(), rel=0.01)
