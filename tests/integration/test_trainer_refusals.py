"""What `mdss train` refuses: exit code 2 and one line that names the file, what was found and what was expected; no model is made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mdss.cli import main
from mdss.method.model_store import versions
from tests.station import NAME, SMALL, Trained, write_teacher

pytestmark = pytest.mark.timeout(180)
IMAGE, CLOUD = "train/good/rgb/003.png", "train/good/xyz/003.tiff"


def cut_short(data: Path) -> None:
    path = data / CLOUD
    path.write_bytes(path.read_bytes()[:5000])


def in_16_bits(data: Path) -> None:
    image = np.asarray(cv2.imread(str(data / IMAGE)))
    assert cv2.imwrite(str(data / IMAGE), image.astype(np.uint16) * 257)


def with_transparency(data: Path) -> None:
    image = np.asarray(cv2.imread(str(data / IMAGE)))
    assert cv2.imwrite(str(data / IMAGE), np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]))


def without_colour(data: Path) -> None:
    assert cv2.imwrite(str(data / IMAGE), np.asarray(cv2.imread(str(data / IMAGE), cv2.IMREAD_GRAYSCALE)))


def of_another_size(data: Path) -> None:
    assert cv2.imwrite(str(data / IMAGE), np.zeros((100, 96, 3), np.uint8))


def without_a_part(data: Path) -> None:
    rows, columns = np.indices((96, 96), np.float32) / np.float32(1000)
    write_cloud(data / CLOUD, np.dstack([columns, rows, 0.48 + columns / np.float32(10)]))


def without_a_point(data: Path) -> None:
    write_cloud(data / CLOUD, np.zeros((96, 96, 3), np.float32))


def in_millimetres(data: Path) -> None:
    write_cloud(data / CLOUD, tifffile.imread(data / CLOUD) * np.float32(1000))


def without_its_cloud(data: Path) -> None:
    (data / CLOUD).unlink()


def without_validation(data: Path) -> None:
    shutil.rmtree(data / "validation")


def with_few_validation_parts(data: Path) -> None:
    for number in (4, 5):
        for path in (data / "validation" / "good").glob(f"*/{number:03d}.*"):
            path.unlink()


def with_few_training_parts(data: Path) -> None:
    for number in range(2, 8):
        for path in (data / "train" / "good").glob(f"*/{number:03d}.*"):
            path.unlink()


def write_cloud(path: Path, cloud: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    """Write a tiff as recorded ones are."""
    tifffile.imwrite(path, cloud, photometric="rgb", metadata=None)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (cut_short, f"{{data}}/{CLOUD}: cannot be read as a TIFF"),
        (in_16_bits, f"{{data}}/{IMAGE}: found 16-bit RGB, expected 8-bit RGB"),
        (with_transparency, f"{{data}}/{IMAGE}: found 8-bit RGBA, expected 8-bit RGB"),
        (without_colour, f"{{data}}/{IMAGE}: found 8-bit grey, expected 8-bit RGB"),
        (of_another_size, f"{{data}}/{CLOUD}: found 96 x 96 px, expected 100 x 96 px as {{data}}/{IMAGE}"),
        (without_a_part, "expected 64 or more; set point_cloud.table=none for parts that fill the image or lie on nothing flat"),
        (without_a_point, f"{{data}}/{CLOUD}: the cloud is empty: no pixel has a measured point; expected x, y, z of each pixel"),
        (in_millimetres, f"{{data}}/{CLOUD}: found a scene of "),
        (without_its_cloud, f"{{data}}/{IMAGE}: found no partner, expected {{data}}/train/good/xyz/003 with .tif, .tiff"),
        (without_validation, "{data}/validation: no such folder; expected good/{{rgb,xyz}} in it"),
        (with_few_validation_parts, "validation: found 4 "),
        (with_few_training_parts, "{data}/train: found 2 scans, expected at least 3"),
    ],
)
def test_bad_data_is_one_line_that_names_it(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], sentence: str
) -> None:
    data = shutil.copytree(trained.data, tmp_path / "data")
    damage(data)
    code, said = train(data, tmp_path / "models", capsys)
    assert code == 2
    assert said.startswith("mdss: ") and sentence.format(data=data) in said


def test_a_training_that_was_refused_over_its_scans_leaves_nothing_that_is_given_up(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(trained.data, tmp_path / "data")
    without_a_point(data)
    assert train(data, tmp_path / "models", capsys) == train(data, tmp_path / "models", capsys)


def train(data: Path, store: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """Train on data that may be bad; return the exit code and the only line that is no progress."""
    teacher = write_teacher(store.parent / "teacher.safetensors")
    settings = [word for setting in (*SMALL, f"rgb.teacher={teacher}") for word in ("--set", setting)]
    arguments = ["--data", data, "--recipe", NAME, "--preset", "demo", "--out", store, "--device", "cpu", *settings, *options]
    code = main(["train", *map(str, arguments)])
    (said,) = [line for line in capsys.readouterr().err.splitlines() if " s left" not in line]
    assert not (store / NAME).is_dir() or versions(store / NAME) == []
    return code, said


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("rgb.stepz=5", "mdss: recipe setting 'rgb.stepz': unknown, see docs/method.md for the names"),
        ("rgb.steps=many", "mdss: recipe setting rgb.steps: found 'many', expected a whole number from 1 to 10000000"),
        (
            "point_cloud.size_px=50",
            "mdss: recipe setting point_cloud.size_px: found 50, expected a whole number from 64 to 1024, a multiple of 4",
        ),
        ("rgb.teacher=nobody", "mdss: teacher 'nobody': no such file; expected "),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, sentence: str
) -> None:
    code, said = train(trained.data, tmp_path / "models", capsys, "--set", setting)
    assert code == 2
    assert said.startswith(sentence)


def test_a_recipe_name_that_is_no_file_name_is_refused(tmp_path: Path, trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = train(trained.data, tmp_path / "models", capsys, "--recipe", "../elsewhere")
    assert code == 2
    assert said.startswith("mdss: recipe '../elsewhere': expected 1 to 64 of the characters")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--device", "cuda:99"],
        ["--set", "rgb.teacher=nobody"],
        ["--set", "rgb.penalty_photographs=nowhere"],
        ["--data", "nowhere"],
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_read_or_discarded(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    unfinished = tmp_path / NAME / ".training" / "rgb.checkpoint"
    unfinished.parent.mkdir(parents=True)
    unfinished.touch()
    assert main(["train", "--data", str(trained.data), "--recipe", NAME, "--out", str(tmp_path), *wrong]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert unfinished.exists()


def test_a_store_in_which_no_champion_can_be_named_is_refused_before_the_training(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / NAME / "champion").mkdir(parents=True)
    code, said = train(trained.data, tmp_path / "models", capsys)
    assert code != 0
    assert said.startswith(f"mdss: {tmp_path / 'models' / NAME / 'champion'}: found a folder, expected a link to a version beside it")


def test_a_file_in_the_place_of_the_store_is_refused_by_name(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").touch()
    assert main(["train", "--data", str(trained.data), "--recipe", NAME, "--out", str(tmp_path / "models")]) == 2
    assert f"Directory '{tmp_path / 'models'}' is a file." in capsys.readouterr().err
