"""Folders of scans: what is read, and each fault's sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from mdss.errors import BadInput, BadPart
from mdss.method.point_cloud import prepare
from mdss.method.presets import preset
from trainer.dataset import Dataset, Scan, Unit, to_millimetres

SHAPE = (70, 90)


def image(shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    """Return an image whose red, green and blue differ."""
    rgb = np.zeros((*shape, 3), np.uint8)
    rgb[...] = (200, 100, 50)
    return rgb


def cloud(shape: tuple[int, int] = SHAPE) -> NDArray[np.float32]:
    """Return a plate of 140 mm in metres with one point that was not measured."""
    rows, columns = np.indices(shape)
    xyz = np.stack([columns * 0.002, rows * 0.002, np.full(shape, 0.5)], axis=-1).astype(np.float32)
    xyz[0, 0] = 0
    return xyz


def write_image(path: Path, pixels: NDArray[np.integer]) -> Path:
    """Write an image whose channels are in the order R, G, B."""
    path.parent.mkdir(parents=True, exist_ok=True)
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    assert cv2.imwrite(str(path), pixels[..., order[pixels.shape[2]]] if pixels.ndim == 3 else pixels)
    return path


def write_cloud(path: Path, points: NDArray[np.generic]) -> Path:
    """Write a cloud as the recorded ones are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photometric = "rgb" if points.ndim == 3 else "minisblack"
    tifffile.imwrite(path, points, photometric=photometric)
    return path


def write_scan(folder: Path, name: str, truth: NDArray[np.uint8] | None = None) -> None:
    """Write one sound scan."""
    write_image(folder / "rgb" / f"{name}.png", image())
    write_cloud(folder / "xyz" / f"{name}.tiff", cloud())
    if truth is not None:
        write_image(folder / "gt" / f"{name}.png", truth)


def mask() -> NDArray[np.uint8]:
    """Return a ground truth with six marked pixels."""
    truth = np.zeros(SHAPE, np.uint8)
    truth[10:12, 20:23] = 255
    return truth


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a sound dataset of two training scans, one validation scan and two test scans."""
    for folder, name in (("train", "000"), ("train", "001"), ("validation", "000"), ("test", "000")):
        write_scan(tmp_path / folder / "good", name)
    write_scan(tmp_path / "test" / "bent", "004", mask())
    return tmp_path


def bent(root: Path) -> tuple[Dataset, Scan]:
    """Return the dataset and its scan with a defect."""
    dataset = Dataset.open(root, "m", needs=("train", "test"))
    return dataset, dataset.test[0]


def refusal(root: Path, unit: Unit = "m") -> str:
    """Return the sentence with which opening or loading ends."""
    with pytest.raises(BadInput) as refused:
        read_all(root, unit)
    return str(refused.value)


def read_all(root: Path, unit: Unit) -> None:
    """Open the dataset and load every scan."""
    dataset = Dataset.open(root, unit, needs=("train", "validation", "test"))
    for scan in (*dataset.train, *dataset.validation, *dataset.test):
        dataset.load(scan)


def test_scans_are_found_by_split_and_kind(root: Path) -> None:
    dataset = Dataset.open(root, "m")
    assert [scan.name for scan in dataset.train] == ["000", "001"]
    assert [(scan.part_id, scan.is_good) for scan in dataset.test] == [("bent/004", False), ("good/000", True)]
    assert dataset.has_truth


def test_a_scan_is_loaded_in_millimetres_with_nan_for_what_was_not_measured(root: Path) -> None:
    dataset, scan = bent(root)
    loaded = dataset.load(scan)
    assert loaded.rgb[5, 5].tolist() == [200, 100, 50]
    assert loaded.rgb.dtype == np.uint8
    assert loaded.xyz_mm.dtype == np.float32
    np.testing.assert_allclose(loaded.xyz_mm[3, 4], [8, 6, 500], rtol=1e-6)
    assert np.isnan(loaded.xyz_mm[0, 0]).all()
    assert np.argwhere(loaded.truth).tolist() == [[10, 20], [10, 21], [10, 22], [11, 20], [11, 21], [11, 22]]


def test_points_that_are_not_finite_were_not_measured() -> None:
    points = cloud()
    points[1, 1, 2], points[2, 2, 0], points[3, 3, 0] = np.nan, np.inf, 3e38
    missing = np.argwhere(np.isnan(to_millimetres(points, "m", Path("x.tiff"))).all(axis=2))
    assert missing.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]


def test_points_too_far_away_to_be_any_were_not_measured_as_at_the_station() -> None:
    xyz = cloud()
    xyz[3:6] *= np.float32(1e20)
    found = to_millimetres(xyz, "m", Path("000.tiff"))
    assert np.isnan(found).all(axis=2).sum() == 1 + 3 * SHAPE[1]
    with pytest.raises(BadInput, match="5 m; neither m nor mm fits"):
        to_millimetres(cloud() * np.float32(1e20), "m", Path("000.tiff"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".PNG"])
def test_images_of_every_named_kind_are_read(root: Path, suffix: str) -> None:
    (root / "train/good/rgb/000.png").unlink()
    write_image(root / f"train/good/rgb/000{suffix}", image())
    dataset = Dataset.open(root, "m")
    assert np.abs(dataset.load(dataset.train[0]).rgb[5, 5].astype(int) - [200, 100, 50]).max() <= 2


def test_clouds_of_double_precision_and_compressed_ones_are_read(root: Path) -> None:
    tifffile.imwrite(root / "train/good/xyz/000.tiff", cloud().astype(np.float64), photometric="rgb", compression="zlib")
    dataset = Dataset.open(root, "m")
    assert dataset.load(dataset.train[0]).xyz_mm.dtype == np.float32


def test_masks_of_zero_and_one_are_read(root: Path) -> None:
    write_image(root / "test/bent/gt/004.png", (mask() > 0).astype(np.uint8))
    dataset, scan = bent(root)
    assert dataset.load(scan).truth.sum() == 6


def test_good_scans_need_no_truth_and_may_have_an_empty_one_but_where_the_test_is_needed_none_is_without_a_scan(root: Path) -> None:
    write_image(root / "test/good/gt/000.png", np.zeros(SHAPE, np.uint8))
    dataset = Dataset.open(root, "m")
    assert not dataset.load(dataset.test[1]).truth.any()
    write_image(root / "test/good/gt/001.png", np.zeros(SHAPE, np.uint8))
    assert f"test/good/gt/001.png: found no partner, expected {root}/test/good/rgb/001 with .png, .jpg" in refusal(root)
    (root / "test/bent/gt/004.png").unlink()
    assert len(Dataset.open(root, "m").test) == 2  # a training looks at no masks


def test_a_dataset_without_any_truth_is_read(root: Path) -> None:
    (root / "test/bent/gt/004.png").unlink()
    (root / "test/bent/gt").rmdir()
    dataset, scan = bent(root)
    assert not dataset.has_truth
    assert not dataset.load(scan).truth.any()


def test_a_test_split_is_needed_only_where_it_is_asked_for(root: Path) -> None:
    (root / "test").rename(root / "elsewhere")
    assert Dataset.open(root, "m").test == []
    with pytest.raises(BadInput, match=r"test: no such folder; expected KIND/\{rgb,xyz,gt\} in it"):
        Dataset.open(root, "m", needs=("test",))


def test_an_unknown_unit_is_refused(root: Path) -> None:
    assert refusal(root, "inch") == "unit: found 'inch', expected m or mm"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("", "no such folder; expected train/good, validation/good and test/KIND"),
        ("train", "train: no such folder; expected good/{rgb,xyz} in it"),
        ("validation/good", "validation/Good: found 'Good', expected 'good' in small letters: any other name is that of a kind of defect"),
        ("test/good", "test/Good: found 'Good', expected 'good' in small letters"),
        ("train/good/rgb", "train/good/rgb: no such folder"),
        ("train/good/xyz", "train/good/xyz: no such folder; expected .tif, .tiff files in it"),
    ],
)
def test_a_missing_folder_is_named_and_so_is_one_in_capitals(root: Path, missing: str, sentence: str) -> None:
    (root / missing).rename((root / missing).with_name("Good"))
    assert sentence in refusal(root)


@pytest.mark.parametrize(
    ("lost", "sentence"),
    [
        ("train/good/xyz/001.tiff", "train/good/rgb/001.png: found no partner, expected"),
        ("train/good/rgb/001.png", "train/good/xyz/001.tiff: found no partner, expected"),
        ("validation/good/rgb/000.png", "validation/good/rgb: found no files, expected .png, .jpg"),
        ("test/bent/gt/004.png", "gt/004.png: no such file; expected the ground truth of"),
    ],
)
def test_a_file_without_its_partner_is_named(root: Path, lost: str, sentence: str) -> None:
    (root / lost).unlink()
    assert sentence in refusal(root)


def test_two_images_of_one_scan_are_refused(root: Path) -> None:
    write_image(root / "train/good/rgb/000.jpg", image())
    assert "000.png: found 000.jpg beside it, expected one file per scan" in refusal(root)


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (image().astype(np.uint16) * 256, "16-bit RGB"),
        (image()[..., 0], "8-bit grey"),
        (np.dstack([image(), image()[..., 0]]), "8-bit RGBA"),
        (image((60, 90)), "60 x 90 px, expected 64 to 2000 on each side"),
        (image((70, 2001)), "70 x 2001 px, expected 64 to 2000 on each side"),
    ],
)
def test_an_image_of_another_kind_is_refused(root: Path, pixels: NDArray[np.integer], found: str) -> None:
    write_image(root / "train/good/rgb/000.png", pixels)
    write_cloud(root / "train/good/xyz/000.tiff", cloud((pixels.shape[0], pixels.shape[1])))
    sentence = refusal(root)
    assert sentence.startswith(f"{root}/train/good/rgb/000.png: found {found}")
    assert "expected" in sentence


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (cloud().astype(np.uint16), "found uint16 of shape (70, 90, 3), expected float32 of shape (H, W, 3)"),
        (cloud()[..., 2], "found float32 of shape (70, 90), expected float32 of shape (H, W, 3)"),
        (cloud((70, 80)), "found 70 x 80 px, expected 70 x 90 px as"),
        (cloud() * 1000, "found a scene of 178 m, expected 1 mm to 5 m; unit mm would fit"),
        (cloud() * 1e-7, "expected 1 mm to 5 m; neither m nor mm fits"),
    ],
)
def test_a_cloud_of_another_kind_is_refused(root: Path, points: NDArray[np.generic], sentence: str) -> None:
    write_cloud(root / "train/good/xyz/000.tiff", points)
    assert refusal(root).startswith(f"{root}/train/good/xyz/000.tiff: found")
    assert sentence in refusal(root)


@pytest.mark.parametrize("points", [cloud() * 0, cloud() * np.float32(np.nan), np.full((*SHAPE, 3), 0.5, np.float32)])
def test_a_cloud_without_a_part_is_loaded_and_refused_by_who_looks_for_one(root: Path, points: NDArray[np.float32]) -> None:
    write_cloud(root / "test/bent/xyz/004.tiff", points)
    dataset, scan = bent(root)
    loaded = dataset.load(scan)
    with pytest.raises(BadPart, match=r"the cloud is (empty: no pixel has a measured point|constant: all 6300 points are the same)"):
        prepare(loaded.rgb, loaded.xyz_mm, preset("edge").point_cloud)


def test_metres_said_to_be_millimetres_are_refused(root: Path) -> None:
    assert "found a scene of 0.178 mm, expected 1 mm to 5 m; unit m would fit" in refusal(root, "mm")


@pytest.mark.parametrize("name", ["rgb/000.png", "xyz/000.tiff"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_a_file_cut_short_is_refused(root: Path, name: str, kept: float) -> None:
    path = root / "train/good" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    assert refusal(root).startswith(f"{path}: cannot be read as")


def test_a_compressed_cloud_with_damage_is_refused(root: Path) -> None:
    path = root / "train/good/xyz/000.tiff"
    tifffile.imwrite(path, cloud(), photometric="rgb", compression="zlib")
    content = bytearray(path.read_bytes())
    content[-400:-200] = bytes(200)
    path.write_bytes(content)
    assert refusal(root).startswith(f"{path}: cannot be read as a TIFF")


@pytest.mark.parametrize(
    ("truth", "sentence"),
    [
        (mask()[:60], "found 60 x 90 px, expected 70 x 90 px as"),
        (mask().astype(np.uint16) * 256, "found 16-bit grey, expected an 8-bit grey mask"),
    ],
)
def test_a_truth_of_another_kind_is_refused(root: Path, truth: NDArray[np.integer], sentence: str) -> None:
    write_image(root / "test/bent/gt/004.png", truth)
    assert sentence in refusal(root)


def test_a_good_part_with_marked_pixels_is_refused(root: Path) -> None:
    write_image(root / "test/good/gt/000.png", mask())
    assert "found 6 marked pixels, expected none on a good part" in refusal(root)


def test_scans_of_different_sizes_are_read_from_one_folder(root: Path) -> None:
    write_image(root / "train/good/rgb/000.png", image((64, 400)))
    write_cloud(root / "train/good/xyz/000.tiff", cloud((64, 400)))
    dataset = Dataset.open(root, "m")
    assert [dataset.load(scan).rgb.shape[:2] for scan in dataset.train] == [(64, 400), SHAPE]
