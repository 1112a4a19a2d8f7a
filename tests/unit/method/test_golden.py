"""Golden scans: kept to the last bit, chosen the same way each time, and what shows that a model is not the one it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mdss.errors import ModelRefused
from mdss.method import model_store
from mdss.method.golden import TOLERANCE, GoldenScan, Scored, choose_golden, mismatch, read_golden, reproduce, write_golden
from mdss.method.model_store import ModelCard, ModelFolder
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import Recipe
from tests.plates import SIZE_PX, plate
from tests.unit.method.test_model_store import CALIBRATION

SCORES: dict[Scored, float] = {"rgb": 0.5, "sdf": 3.0, "fused": 1.5}


def scan(name: str = "007") -> GoldenScan:
    """Return a part with an image in which no two pixels beside each other are the same."""
    rgb = np.arange(SIZE_PX * SIZE_PX * 3, dtype=np.uint32).reshape(SIZE_PX, SIZE_PX, 3) * 7 % 256
    return GoldenScan(name, rgb.astype(np.uint8), plate(), SCORES)


def store_with(store: Path, *scans: GoldenScan) -> ModelFolder:
    card = ModelCard(name="gland", recipe=Recipe(), made_at="now", code_version="0")
    return model_store.save(store, card, CALIBRATION, lambda folder: write_golden(folder, scans))


def test_a_golden_scan_is_read_back_to_the_last_bit(tmp_path: Path) -> None:
    written = scan()
    (read,) = read_golden(store_with(tmp_path, written).path)
    assert (read.name, read.scores) == ("007", SCORES)
    assert np.array_equal(read.rgb, written.rgb)
    assert read.xyz_mm.dtype == np.float32 and read.xyz_mm.tobytes() == written.xyz_mm.tobytes()


def test_a_model_of_a_release_without_golden_scans_has_none_and_nothing_to_reproduce(tmp_path: Path) -> None:
    model = store_with(tmp_path)
    assert read_golden(model.path) == () and not (model.path / "golden").exists()
    assert reproduce(model, lambda part: SCORES) == 0


def test_the_checksums_cover_golden_scans(tmp_path: Path) -> None:
    model = store_with(tmp_path, scan())
    (model.path / "golden" / "0.png").write_bytes(b"another picture")
    with pytest.raises(ModelRefused, match=r"golden/0\.png: found the checksum"):
        model_store.open_version(model.path)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([5.0, 1.0, 4.0, 2.0, 3.0], [3, 4, 2]),
        ([1.0, 1.0, 1.0, 1.0, 1.0], [1, 2, 3]),
        ([2.0, 1.0], [1, 0]),
        ([9.0], [0]),
        (list(range(9)), [2, 4, 6]),
    ],
)
def test_the_middle_of_the_scores_and_halfway_to_either_end_become_golden(scores: list[float], expected: list[int]) -> None:
    assert choose_golden(scores) == expected


def test_the_same_scores_are_reproduced_and_the_parts_are_prepared_by_the_models_recipe(tmp_path: Path) -> None:
    model = store_with(tmp_path, scan(), scan("008"))
    seen: list[Prepared] = []

    def scores_of(part: Prepared) -> Mapping[Scored, float]:
        seen.append(part)
        return SCORES

    assert reproduce(model, scores_of) == 2
    assert [part.rgb.shape[0] for part in seen] == [model.recipe.point_cloud.size_px] * 2


@pytest.mark.parametrize(("branch", "share"), [("rgb", TOLERANCE), ("sdf", TOLERANCE), ("fused", 2 * TOLERANCE)])
def test_a_process_with_one_branch_refuses_scores_of_its_own_that_are_off_and_names_scan_and_branch(
    tmp_path: Path, branch: Scored, share: float
) -> None:
    model = store_with(tmp_path, scan())
    assert reproduce(model, lambda part: {branch: SCORES[branch] * (1 + 0.9 * share)}) == 1
    for factor in (1 - 1.1 * share, 1 + 1.1 * share, float("nan"), 0.0):
        with pytest.raises(ModelRefused, match=rf"golden/0\.tiff: golden scan 007, {branch}: found the score"):
            reproduce(model, lambda part, factor=factor: {branch: SCORES[branch] * factor})  # type: ignore[misc]  # bound at once


def test_a_golden_scan_without_a_part_is_refused(tmp_path: Path) -> None:
    model = store_with(tmp_path, replace(scan(), xyz_mm=np.full_like(scan().xyz_mm, np.nan)))
    with pytest.raises(ModelRefused, match=r"golden/0\.tiff: the cloud is empty.*expected the good part"):
        reproduce(model, lambda part: SCORES)


@pytest.mark.parametrize("file", ["0.png", "0.tiff", "scores.json"])
def test_a_file_that_is_missing_or_damaged_is_refused_by_name(tmp_path: Path, file: str) -> None:
    path = store_with(tmp_path, scan()).path
    (path / "golden" / file).write_bytes(b"{")
    with pytest.raises(ModelRefused, match=file):
        read_golden(path)
    (path / "golden" / file).unlink()
    with pytest.raises(ModelRefused, match=file):
        read_golden(path)


def test_a_score_of_zero_is_only_reproduced_by_zero() -> None:
    assert mismatch("rgb", 0.0, 0.0) == ""
    assert mismatch("rgb", 0.0, 1e-6) == "found the score 1e-06, expected 0 within 2%"


def test_golden_scans_in_another_format_are_refused(tmp_path: Path) -> None:
    scores = store_with(tmp_path, scan()).path / "golden" / "scores.json"
    scores.write_text(scores.read_text().replace("mdss.golden.v1", "mdss.golden.v2"))
    with pytest.raises(ModelRefused, match=r"scores\.json: found format 'mdss\.golden\.v2', expected 'mdss\.golden\.v1'"):
        read_golden(scores.parents[1])
