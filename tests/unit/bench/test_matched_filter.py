"""The matched filter: it tells spots that stand out from roughness, says which way they go, and cannot tell those that do not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bench.matched_filter import MatchedFilters, Relief, main, spot
from mdss.errors import BadInput
from mdss.method.heat import blurred
from mdss.method.metrics import image_auroc
from tests.station import Trained

SIDE, PITCH_MM, RADIUS_MM = 96, 0.4, 2.4
INSIDE = np.pad(np.ones((SIDE - 32, SIDE - 32), bool), 16)


def reliefs(seed: int, count: int, rise_mm: float = 0.0) -> list[Relief]:
    """Return rough parts (0.2 mm) with a spot somewhere on each."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        rough = blurred(random.standard_normal((SIDE, SIDE)).astype(np.float32), 2.0)
        placed = np.roll(spot(SIDE, RADIUS_MM / PITCH_MM), random.integers(24, SIDE - 24, 2), axis=(0, 1))
        found.append(Relief(0.2 * rough / rough.std() + rise_mm * placed, INSIDE, PITCH_MM))
    return found


@pytest.fixture(scope="module")
def filters() -> MatchedFilters:
    return MatchedFilters.of(reliefs(1, 20), (1.8, RADIUS_MM, 3.0))


@pytest.mark.parametrize(("rise_mm", "found", "missed"), [(1.0, 0, 1), (-1.0, 1, 0)])
def test_a_spot_above_the_roughness_stands_out_the_way_it_goes(filters: MatchedFilters, rise_mm: float, found: int, missed: int) -> None:
    good, bad = (np.array([filters.scores(each) for each in of]) for of in (reliefs(2, 20), reliefs(3, 20, rise_mm)))
    assert bad[:, found].min() > good.max()
    assert bad[:, missed].max() < bad[:, found].min()


def test_a_spot_lower_than_the_roughness_does_not(filters: MatchedFilters) -> None:
    good, bad = ([filters.scores(each)[0] for each in of] for of in (reliefs(2, 20), reliefs(3, 20, 0.02)))
    auroc = image_auroc([*good, *bad], [False] * 20 + [True] * 20)
    assert auroc is not None and 0.3 < auroc < 0.7


def test_the_command_says_both_ways_for_each_kind_and_names_one_that_is_not_there(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = next(each.name for each in sorted((trained.data / "test").iterdir()) if each.name != "good")
    assert main(["--data", str(trained.data), "--kind", kind]) == 0
    both_ways = r"image AUROC [01]\.\d\d upwards, [01]\.\d\d downwards"
    assert re.match(rf"{kind}: {both_ways} \(\d+ parts, \d+ good ones\)\n", capsys.readouterr().out)
    assert main(["--data", str(trained.data), "--kind", "rust"]) == 2
    assert "test: found no scans in rust, which was asked for" in capsys.readouterr().err


@pytest.mark.filterwarnings("error")
def test_parts_narrower_than_their_rims_are_refused() -> None:
    narrow = [Relief(each.heights, np.zeros_like(INSIDE), PITCH_MM) for each in reliefs(1, 2)]
    with pytest.raises(BadInput, match="found good parts without heights more than 7 px of the grid from a rim, expected some"):
        MatchedFilters.of(narrow, (RADIUS_MM,))
