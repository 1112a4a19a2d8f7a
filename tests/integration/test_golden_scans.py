"""Golden scans of a trained model: both precisions reproduce them, other weights in their place do not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mdss.cli import main
from mdss.errors import ModelRefused
from mdss.method import torch_device
from mdss.method.fusion import fuse, fused_score
from mdss.method.golden import Scored, read_golden, reproduce
from mdss.method.model_store import ModelFolder, open_champion
from mdss.method.point_cloud import Prepared
from mdss.method.recipe import FusionSettings
from mdss.method.signed_distance import ShapeBranch
from mdss.method.store_files import write_sums
from mdss.method.student_teacher import ColourBranch
from mdss.method.torch_device import Precision
from tests.station import NAME, Trained, small_recipe
from trainer.calibrate import calibration_of, maps_of
from trainer.champion import Champion
from trainer.dataset import Dataset
from trainer.model_maker import store_recalibrated
from trainer.train import TrainingOrder, prepare_all, train

pytestmark = pytest.mark.timeout(120)
Scores = Callable[[Prepared], Mapping[Scored, float]]


def scores_by(model: ModelFolder, weights: Path, precision: Precision = "auto") -> Scores:
    """Return what the weights of a folder say of a part when they judge in a model's place."""
    colour, shape = (kind.load(weights, model.recipe, "cpu", precision) for kind in (ColourBranch, ShapeBranch))
    assert isinstance(colour, ColourBranch) and isinstance(shape, ShapeBranch)

    def scores_of(part: Prepared) -> Mapping[Scored, float]:
        rgb, sdf = colour.score_map(part.rgb, part.mask), shape.score_map(part.xyz)
        return {"rgb": float(rgb.max()), "sdf": float(sdf.max()), "fused": float(fuse(rgb, sdf, model.calibration).score)}

    return scores_of


def test_a_new_model_keeps_three_validation_scans_as_they_were_recorded(trained: Trained) -> None:
    dataset = Dataset.open(trained.data, "m")
    recorded = {scan.name: dataset.load(scan) for scan in dataset.validation}
    golden = read_golden(open_champion(trained.store, NAME).path)
    assert len({scan.name for scan in golden}) == 3
    for scan in golden:
        assert np.array_equal(scan.rgb, recorded[scan.name].rgb)
        assert scan.xyz_mm.tobytes() == recorded[scan.name].xyz_mm.tobytes()


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_either_precision_reproduces_them(trained: Trained, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_device, "cpu_gains_by_bfloat16", torch_device.cpu_has_bfloat16)
    model = open_champion(trained.store, NAME)
    assert reproduce(model, scores_by(model, model.path, precision)) == 3


@pytest.fixture(scope="module")
def other(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """The same recipe and data with another seed."""
    recipe = small_recipe(Path(open_champion(trained.store, NAME).recipe.rgb.teacher), "seed=1")
    return train(TrainingOrder(trained.data, tmp_path_factory.mktemp("other"), NAME, recipe, device="cpu"))


def test_weights_of_another_seed_do_not(trained: Trained, other: ModelFolder) -> None:
    model = open_champion(trained.store, NAME)
    with pytest.raises(ModelRefused, match="the model does not judge here as it did"):
        reproduce(model, scores_by(model, other.path))


def test_verify_finds_exchanged_weights_by_scoring_though_their_checksums_were_exchanged_too(
    trained: Trained, other: ModelFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = shutil.copytree(trained.store, tmp_path / "models", symlinks=True)
    assert main(["calibrate", "--store", str(store), "--recipe", NAME, "--false-reject-rate", "0.3"]) == 0
    capsys.readouterr()
    assert main(["model", "verify", "--store", str(store), "--score", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said == "".join(f"{NAME} {version}: whole, 3 golden scans score as they did\n" for version in ("0001", "0002"))
    folder = store / NAME / "0002"
    for name in ("rgb.safetensors", "sdf.safetensors"):
        shutil.copy2(other.path / name, folder / name)
    write_sums(folder)
    assert main(["model", "verify", "--store", str(store)]) == 0
    assert main(["model", "verify", "--store", str(store), "--score", "--device", "cpu"]) == 1
    assert f"{NAME} 0002: {folder}/golden/" in capsys.readouterr().out


def test_a_calibration_by_which_scores_come_about_otherwise_judges_golden_scans_anew(trained: Trained, tmp_path: Path) -> None:
    store = shutil.copytree(trained.store, tmp_path / "models", symlinks=True)
    model, dataset = open_champion(store, NAME), Dataset.open(trained.data, "m")
    fusion = FusionSettings(score="larger", score_floor=4.0, score_agreement=0.5)
    recipe, champion = msgspec.structs.replace(model.recipe, fusion=fusion), Champion.of(model, "cpu")
    maps = maps_of(prepare_all(dataset, dataset.train, recipe), champion.colour_map, champion.shape_map)
    made = store_recalibrated(model, msgspec.structs.replace(model.card, recipe=recipe), calibration_of(maps, recipe), store)
    for before, after in zip(read_golden(model.path), read_golden(made.path), strict=True):
        assert (after.name, after.scores["rgb"], after.scores["sdf"]) == (before.name, before.scores["rgb"], before.scores["sdf"])
        assert after.scores["fused"] != pytest.approx(before.scores["fused"])
    assert reproduce(made, scores_by(made, made.path)) == 3


def test_another_rate_keeps_golden_scans_as_they_are_and_a_model_without_any_is_calibrated_as_well(
    trained: Trained, tmp_path: Path
) -> None:
    store = shutil.copytree(trained.store, tmp_path / "models", symlinks=True)
    model = open_champion(store, NAME)
    calibration = msgspec.structs.replace(model.calibration, threshold=model.calibration.threshold.with_note("another"))
    made = store_recalibrated(model, model.card, calibration, store)
    assert [path.read_bytes() for path in sorted((made.path / "golden").iterdir())] == [
        path.read_bytes() for path in sorted((model.path / "golden").iterdir())
    ]
    shutil.rmtree(model.path / "golden")
    bare = store_recalibrated(model, model.card, msgspec.structs.replace(calibration, colour_limit=9.0), store)
    assert not (bare.path / "golden").exists() and bare.calibration.colour_limit == 9.0


def test_a_reference_for_drift_comes_with_the_calibration(trained: Trained) -> None:
    calibration = open_champion(trained.store, NAME).calibration
    reference = calibration.reference
    assert reference is not None
    fused = [fused_score(rgb, sdf, calibration) for rgb, sdf in zip(reference.rgb, reference.sdf, strict=True)]
    assert tuple(fused) == calibration.validation_scores
    assert all(0 < value < 255 for value in reference.brightness) and all(0 < value <= 1 for value in reference.valid_point_ratio)
    assert all(300 < value < 1000 for value in reference.distance_mm)
