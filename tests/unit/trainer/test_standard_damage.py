"""The same stain and dent on any good part: on the part, where the seed says, as large as the part asks for, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mdss.method.grid import Grid
from mdss.method.point_cloud import Prepared, prepare
from mdss.method.recipe import PointCloudSettings
from tests.small_models import synthetic
from trainer.gate_terms import RecordedArrays
from trainer.standard_damage import DamageKind, damaged_scan, spot_on
from trainer.synthetic_products import PRODUCTS


def good(product: str) -> tuple[RecordedArrays, Prepared]:
    """Return a good part, as recorded and as a model finds it."""
    scan = synthetic(product, "good", "one")
    return (scan.rgb, scan.xyz_mm), prepare(scan.rgb, scan.xyz_mm, PointCloudSettings(size_px=96))


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("kind", ["stain", "dent"])
def test_the_damage_shows_on_the_part_and_only_there(product: str, kind: DamageKind) -> None:
    scan, part = good(product)
    for seed in range(5):
        spot = spot_on(part, np.random.default_rng(seed))
        rgb, xyz_mm = damaged_scan(kind, scan, spot)
        rows, columns = np.indices(rgb.shape[:2])
        around = np.hypot(rows - spot.row, columns - spot.column) < spot.radius_px
        recoloured = (rgb != scan[0]).any(axis=2)
        moved = np.nan_to_num(np.abs(xyz_mm - scan[1]).max(axis=2)) > 1e-3
        assert np.isfinite(part.xyz[spot.row, spot.column]).all()
        changed, untouched = (recoloured, moved) if kind == "stain" else (moved, recoloured)
        assert changed[around].mean() > 0.4 and not changed[~around].any() and not untouched.any()


def test_a_dent_goes_away_from_the_camera_and_is_half_as_deep_as_wide() -> None:
    scan, part = good("flange")
    spot = spot_on(part, np.random.default_rng(1))
    _, xyz_mm = damaged_scan("dent", scan, spot)
    deeper = np.nan_to_num(xyz_mm[..., 2] - scan[1][..., 2])
    radius_mm = spot.radius_px * 100 / 96
    assert deeper.min() > -1e-3 and deeper.max() == pytest.approx(radius_mm / 2, rel=0.25)


def test_a_stain_is_dark_on_light_parts_and_light_on_dark_ones() -> None:
    (rgb, xyz_mm), part = good("potato")
    spot = spot_on(part, np.random.default_rng(2))
    for brightness in (30, 200):
        plain = np.full_like(rgb, brightness)
        stained = damaged_scan("stain", (plain, xyz_mm), spot)[0]
        assert abs(float(stained[spot.row, spot.column].mean()) - brightness) > 90


def test_damage_is_as_large_on_the_part_however_finely_it_was_recorded() -> None:
    _, part = good("flange")
    finer = replace(part, grid=Grid(3 * part.grid.height, 3 * part.grid.width, part.grid.size))
    one, other = (spot_on(each, np.random.default_rng(1)) for each in (part, finer))
    assert other.radius_px == pytest.approx(3 * one.radius_px)
    assert [other.row, other.column] == pytest.approx([3 * one.row, 3 * one.column], abs=3)


def test_the_same_seed_gives_the_same_place() -> None:
    _, part = good("mat")
    first, again, other = (spot_on(part, np.random.default_rng((7, number))) for number in (1, 1, 2))
    assert first == again != other
