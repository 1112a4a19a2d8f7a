"""What a scan holds beside the part, and is not looked at: thin pieces, small ones, and numbers that stand for missing points."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from mdss.errors import BadInput
from mdss.method.grid import is_measured
from mdss.method.presets import preset
from mdss.method.recipe import PointCloudSettings
from mdss.scans import read_cloud
from tests.lines import write_tiny_line
from tests.scenes import DEFAULT, BlockScan, grey
from trainer.dataset import GOOD, Dataset, LoadedScan, Scan, to_millimetres
from trainer.ignored_content import MOST_SCANS, IgnoredContent, ignored_content_sentences, sentences_on_some
from trainer.missing_marks import mark_in
from trainer.model_maker import Parts
from trainer.parts_found import advice
from trainer.train import TrainingOrder, train_and_store

Float = NDArray[np.float32]
SCENE = BlockScan(300, 300)
THIN = (
    "% of the image lies 0.3 to 1 mm off the table and counts as table; if that belongs to the part, set "
    "point_cloud.plane_removal_mm to less"
)


def loaded(cloud: Float, name: str = "000") -> LoadedScan:
    """Return a scan in memory whose image does not matter."""
    scan = Scan("train", GOOD, name, Path("rgb"), Path(f"{name}.tiff"))
    return LoadedScan(scan, grey(cloud), cloud, np.zeros(cloud.shape[:2], np.bool_))


def sheet(thick_mm: float = 0.6, rows: int = 60) -> Float:
    """Return the block, and beside it a sheet that lies on the table."""
    cloud = SCENE.cloud()
    cloud[10 : 10 + rows, 50:250, 2] -= thick_mm
    return cloud


def look(cloud: Float, settings: PointCloudSettings = DEFAULT) -> IgnoredContent:
    """Return what is passed over in a cloud."""
    return IgnoredContent.of(loaded(cloud), settings)


def test_a_sheet_thinner_than_what_counts_as_table_is_said_with_what_to_set() -> None:
    found = look(sheet())
    assert f"13.2 {THIN}" in found.thin_sentence()
    assert replace(found, part_px=9 * found.thin_px).thin_sentence()
    assert replace(found, part_px=11 * found.thin_px).thin_sentence() == "", "no more than the foot of a round part"
    assert look(sheet(), PointCloudSettings(plane_removal_mm=0.3)).thin_sentence() == "", "it is of the part"
    assert look(sheet(1.2)).thin_sentence() == "", "likewise"
    assert look(sheet(0.1)).thin_sentence() == "", "the table's own noise"
    stripes = SCENE.cloud()
    stripes[4::8, :, 2] -= 0.6
    stripes[5::8, :, 2] -= 0.6
    assert look(stripes).thin_sentence() == "", "no wider than slopes"
    assert look(sheet(), PointCloudSettings(table="none")).thin_sentence() == ""


@pytest.mark.parametrize("tilt_deg", [0.0, 5.0])
@pytest.mark.parametrize("step_mm", [0.0, 0.1, 0.5])
def test_nothing_is_said_of_a_table_and_a_block(tilt_deg: float, step_mm: float) -> None:
    cloud = BlockScan(300, 300, tilt_deg).cloud()
    if step_mm:
        cloud[..., 2] = np.round(cloud[..., 2] / step_mm) * step_mm
    found = look(cloud)
    assert [found.thin_sentence(), found.specks_sentence(), found.mark_sentence()] == ["", "", ""]


def test_small_pieces_away_from_the_part_are_counted() -> None:
    cloud = SCENE.cloud()
    for column in (40, 120, 200):
        cloud[20:24, column : column + 4, 2] -= 4
    cloud[60:62, 60, 2] -= 4  # a speck
    cloud[140:150, 96:98, 2] -= 4  # beside the part, where the image is looked at
    assert look(cloud).specks_sentence() == (
        "pieces off the table of fewer than 24 pixels of the grid are left out as specks: 3; if they belong to the part, set "
        "point_cloud.min_component_px to less"
    )
    assert look(cloud, PointCloudSettings(min_component_px=8)).specks_sentence() == ""


@pytest.mark.parametrize("value", [0.0, -300.0, 1500.0])
@pytest.mark.parametrize("axis", "xyz")
def test_a_number_that_stands_for_missing_points_in_one_coordinate_is_said(axis: str, value: float) -> None:
    cloud = SCENE.cloud()
    cloud[..., 2] = np.round(cloud[..., 2], 1)
    cloud = np.roll(cloud, "xyz".index(axis) + 1, axis=2)  # whichever the camera looks along
    lost = SCENE.block() & (np.random.default_rng(1).random(cloud.shape[:2]) < 0.3)
    cloud[lost, "xyz".index(axis)] = value
    share = r"3\.\d+ % of the points, far from all others; expected a point that was not measured to be NaN, or 0 in x, y and z"
    assert re.fullmatch(f"{axis} is {value:g} in {share}", look(cloud).mark_sentence())


def test_a_plate_of_one_height_is_no_mark() -> None:
    cloud = SCENE.cloud()
    cloud[SCENE.block(), 2] = 470
    assert look(cloud).mark_sentence() == ""
    far = SCENE.cloud() - np.float32(400) * SCENE.block()[..., None] * np.array([0, 0, 1], np.float32)
    far[~SCENE.block(), 2] = 500
    assert look(far).mark_sentence() == "", "a table of one height"
    points = cloud.reshape(-1, 3)
    assert mark_in(points, is_measured(points)) is None
    assert mark_in(points[:0], is_measured(points[:0])) is None


def test_who_gets_another_extent_for_such_a_number_is_told_of_it_and_of_no_unit() -> None:
    cloud = SCENE.cloud()
    cloud[:40, :, 2] = -32768
    with pytest.raises(BadInput, match=r"5 m; z is -32768 in 13.3 % of the points, far from all others; expected a point") as refused:
        to_millimetres(cloud, "mm", Path("000.tiff"))
    assert "fits" not in str(refused.value)


def test_a_scan_of_nothing_but_a_sheet_gets_advice_on_it_and_not_to_do_without_a_table() -> None:
    cloud = BlockScan(300, 300, block_mm=0.6).cloud()
    assert THIN in advice(loaded(cloud), DEFAULT)
    assert "table=none" not in advice(loaded(cloud), DEFAULT)


def test_what_most_scans_show_is_said_once_with_one_of_them() -> None:
    scans = [loaded(sheet() if number > 1 else SCENE.cloud(), f"{number:03d}") for number in range(5)]
    found = [IgnoredContent.of(each, DEFAULT) for each in scans]
    (said,) = sentences_on_some(found)
    assert said.startswith("in 3 of 5 scans that were looked at, as in 002.tiff, 13.2 % of the image lies ")
    assert sentences_on_some(found[:4]) == sentences_on_some([]) == [], "half of them"


class Folder:
    """A dataset of clouds in memory that notes what was read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def load(self, scan: Scan) -> LoadedScan:
        """Return a scan with a sheet."""
        self.read.append(scan.name)
        return loaded(sheet(), scan.name)


@pytest.mark.parametrize(("count", "read"), [(0, []), (1, ["0"]), (3, ["0", "1", "2"]), (21, ["0", "5", "10", "15", "20"])])
def test_some_scans_from_first_to_last_are_looked_at_each_once(count: int, read: list[str]) -> None:
    folder = Folder()
    scans = [(cast(Dataset, folder), Scan("train", GOOD, f"{number}", Path("rgb"), Path("xyz"))) for number in range(count)]
    assert len(ignored_content_sentences(scans, DEFAULT)) == min(count, 1)
    assert folder.read == read and len(read) <= MOST_SCANS


def test_who_trains_is_told_and_the_report_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_line(tmp_path / "data")
    for path in (tmp_path / "data").glob("*/good/xyz/*.tiff"):
        cloud = read_cloud(path).copy()
        cloud[20:40, 20:40, 2] = 0
        tifffile.imwrite(path, cloud, photometric="rgb")
    monkeypatch.setattr("trainer.model_maker.make_model", lambda store, card, parts, work, device: parts)
    dataset = Dataset.open(tmp_path / "data", "m")
    parts = cast(Parts, train_and_store(TrainingOrder(dataset.root, tmp_path, "cap", preset("edge")), [dataset], tmp_path, {}))
    said = next(each for each in parts.found if "z is 0 in" in each)
    assert said.startswith("in 3 of 3 scans that were looked at") and f"cap: {said}" in capsys.readouterr().err
