"""The ablation: every row can be had, only what a row touches is trained, and nothing is computed twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file

from bench import judged_parts, kept_networks
from bench.ablation import main, mean_of, table
from bench.ablation_figures import Figures
from bench.drawn_defects import COPIES
from bench.fusion_rules import RULES, Scores
from bench.kept_networks import SCORES_ONLY, KeptNetworks, training_facts
from mdss.method.metrics import Metrics, image_auroc
from mdss.method.presets import preset, with_assignments
from mdss.method.recipe import Recipe
from tests.lines import write_tiny_line
from tests.station import SMALL, write_teacher
from trainer.branch_training import TRAIN
from trainer.champion import Champion, ScoreKind
from trainer.dataset import Dataset
from trainer.evaluation import metrics_of
from trainer.scoring import score_dataset
from trainer.synthetic import LineSize
from trainer.train import TrainingOrder, prepare_all, train

QUICK = (*SMALL, "rgb.steps=1", "sdf.steps=1", "sdf.damaged_copies=1")
SIZE = LineSize(train=3, validation=5, good=1, defective=2)
OTHERWISE = (
    *(
        "rgb.blur_px=1",
        "rgb.levelling=0",
        "rgb.median_share=0",
        "rgb.by_contrast=false",
        "rgb.by_border=false",
        "rgb.by_surroundings=0",
        "sdf.scores_in=float",
        "sdf.density=1",
        "sdf.asked_in=null",
        "sdf.asked_at=every_pixel",
        "sdf.by_rim=false",
        "sdf.voids_by_rim=false",
        "sdf.by_border=false",
        "sdf.sign=positive",
        "sdf.overlap=min",
        "sdf.void_overlap=mean",
        "sdf.missing=ignore",
    ),
    *("sdf.blur_px=1", "sdf.keep_peak=true", "sdf.score_unit=scale"),
)


@dataclasses.dataclass(frozen=True)
class Place:
    """A line on disk with a teacher, and where an ablation of it keeps what it makes."""

    data: Path
    teacher: Path
    work: Path

    def ablate(self, *options: str) -> int:
        """Run the command with one seed and a recipe that trains in no time."""
        given = [word for setting in (*QUICK, f"rgb.teacher={self.teacher}") for word in ("--set", setting)]
        return main(["--data", str(self.data), "--work", str(self.work), "--device", "cpu", "--seeds", "0", *given, *options])

    def made(self, pattern: str) -> dict[str, int]:
        """Return what is kept, and when it was written."""
        return {path.name: path.stat().st_mtime_ns for path in self.work.rglob(pattern)}

    def figures_since(self, before: dict[str, int]) -> Figures:
        """Return the figures of the one row that has been measured since."""
        (path,) = (path for path in self.work.rglob("*.json") if path.name not in before)
        return decoded(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a line on which the base is measured."""
    folder = tmp_path_factory.mktemp("ablation")
    write_tiny_line(folder / "data", size=SIZE)
    found = Place(folder / "data", write_teacher(folder / "teacher.safetensors"), folder / "work")
    assert found.ablate("--rows", "base") == 0
    return found


def test_what_only_scores_is_changed_by_settings_that_exist() -> None:
    usual, other = (msgspec.to_builtins(recipe) for recipe in (preset("edge"), with_assignments(preset("edge"), OTHERWISE)))
    for half, names in SCORES_ONLY.items():
        assert {name for name, value in usual[half].items() if other[half][name] != value} == names


def test_settings_that_only_score_leave_what_is_learned_as_it_is(place: Place, tmp_path: Path) -> None:
    base, other = (with_assignments(preset("edge"), (*QUICK, f"rgb.teacher={place.teacher}", *more)) for more in ((), OTHERWISE))
    networks = {path.name[:3]: load_file(path) for path in place.work.rglob("*.safetensors")}  # of the base alone until a row trains others
    kept = {f"{half}.{name}": values for half, tensors in networks.items() for name, values in tensors.items()}
    learned = weights_of(other, place.data, tmp_path)
    assert training_facts(base, "sdf") == training_facts(other, "sdf")
    assert kept.keys() == learned.keys()
    set_anew = {name for name, values in kept.items() if not np.array_equal(values, learned[name])}
    assert set_anew == {"rgb.usual", "rgb.level", "sdf.usual", "sdf.void_usual", "sdf.void_unit"}


def weights_of(recipe: Recipe, data: Path, folder: Path) -> dict[str, np.ndarray]:
    """Train both branches and return every tensor; what is usual and what a missing point counts are set anew whenever a recipe scores."""
    dataset = Dataset.open(data, "m")
    parts = prepare_all(dataset, dataset.train, recipe)
    lesson = kept_networks.ready_to_score(recipe)
    networks = {half: learn(parts, lesson, "cpu", folder / f"{half}.checkpoint")[0] for half, learn in TRAIN.items()}
    return {f"{half}.{name}": values.numpy() for half, network in networks.items() for name, values in network.state_dict().items()}


def test_the_base_reaches_what_the_trainer_s_own_champion_reaches(place: Place, tmp_path: Path) -> None:
    recipe = with_assignments(preset("edge"), (*QUICK, f"rgb.teacher={place.teacher}"))
    train(TrainingOrder(place.data, tmp_path / "models", "flange", recipe, device="cpu"))
    champion = Champion.load(tmp_path / "models", "flange", "cpu")
    scored = score_dataset(Dataset.open(place.data, "m", needs=("test",)), champion)
    (kept,) = (found for path in place.work.rglob("*.json") if (found := decoded(path)).recipe == recipe)
    branches: tuple[ScoreKind, ...] = ("rgb", "sdf", "fused")
    assert [getattr(kept, branch) for branch in branches] == [metrics_of(scored.parts, branch, has_truth=True) for branch in branches]
    reference = champion.folder.calibration.reference
    assert reference is not None
    assert (kept.validation.rgb, kept.validation.sdf) == (reference.rgb, reference.sdf)


def decoded(path: Path) -> Figures:
    return msgspec.json.decode(path.read_bytes(), type=Figures)


def test_a_row_that_only_scores_otherwise_trains_nothing(place: Place) -> None:
    networks, figures = place.made("*.safetensors"), place.made("*.json")
    assert {name[:3] for name in networks} == {"rgb", "sdf"}
    assert place.ablate("--rows", "rgb-blur-0,sdf-density-1,statistics-all") == 0
    assert place.made("*.safetensors") == networks
    assert len(place.made("*.json")) == len(figures) + 3


def test_a_row_of_one_branch_trains_that_branch_alone(place: Place) -> None:
    networks = place.made("*.safetensors")
    assert place.ablate("--rows", "d-fixed") == 0
    new = place.made("*.safetensors").keys() - networks.keys()
    assert [name[:3] for name in new] == ["rgb"]
    assert networks.items() <= place.made("*.safetensors").items()


def test_a_second_run_computes_nothing_and_says_the_same(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--rows", "sdf-blur-0", "--markdown", str(tmp_path / "table.md"))
    assert place.ablate(*options) == 0
    first = capsys.readouterr().out

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(judged_parts, "prepare_all", refuse)
    assert place.ablate(*options) == 0
    assert capsys.readouterr().out == first == (tmp_path / "table.md").read_text()
    assert [line.split(" | ")[0] for line in first.splitlines()[2:4]] == ["| base", "| sdf-blur-0"]


def test_drawn_defects_are_judged_without_a_test_scan_by_the_networks_that_are_kept(place: Place) -> None:
    networks, before = place.made("*.safetensors"), place.made("*.json")
    (place.data / "test").rename(place.data / "away")
    try:
        assert place.ablate("--rows", "base", "--on", "drawn") == 0
    finally:
        (place.data / "away").rename(place.data / "test")
    assert place.made("*.safetensors") == networks
    kept = place.figures_since(before)
    assert kept.is_defective == SIZE.validation * (False, *(2 * COPIES) * (True,))
    measured = [(metrics.i_auroc, metrics.aupro_30) for metrics in (kept.rgb, kept.sdf, kept.fused)]
    assert all(value is not None for pair in measured for value in pair)
    assert kept.rgb.i_auroc != image_auroc(kept.test.rgb, kept.is_defective)  # stains alone count in colour


@pytest.mark.parametrize(("judged_on", "sees_shape"), [("moved", False), ("moved-in-both", True)])
def test_moved_pieces_are_judged_by_the_branches_that_can_see_them(
    place: Place, judged_on: str, *, sees_shape: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    networks, before = place.made("*.safetensors"), place.made("*.json")
    assert place.ablate("--rows", "base", "--on", judged_on) == 0
    assert place.made("*.safetensors") == networks
    kept = place.figures_since(before)
    assert kept.is_defective == SIZE.validation * (False, *COPIES * (True,))
    assert kept.rgb.i_auroc == image_auroc(kept.test.rgb, kept.is_defective) and kept.fused.aupro_30 is not None
    assert kept.sdf.i_auroc == (image_auroc(kept.test.sdf, kept.is_defective) if sees_shape else None)
    assert ("| - |" in capsys.readouterr().out) == (not sees_shape)


def test_a_run_that_was_cut_off_goes_on_with_the_networks_that_it_has(place: Place, tmp_path: Path) -> None:
    other = dataclasses.replace(place, work=tmp_path / "work")
    (other.work / "networks").mkdir(parents=True)
    (kept,) = place.work.rglob("sdf-*.safetensors")
    (other.work / "networks" / kept.name).write_bytes(kept.read_bytes())
    assert other.ablate("--rows", "base") == 0
    assert sorted(name[:3] for name in other.made("*.safetensors")) == ["rgb", "sdf"]
    assert kept.name in other.made("*.safetensors")
    assert not other.made("*.checkpoint") and not other.made("*.partial")


def test_what_a_missing_point_counts_is_set_for_the_way_the_recipe_scores(place: Place, tmp_path: Path) -> None:
    base = with_assignments(preset("edge"), SMALL)
    other = with_assignments(base, ("sdf.blur_px=0",))
    dataset = Dataset.open(place.data, "m")
    parts = prepare_all(dataset, dataset.train, base)
    networks = KeptNetworks(tmp_path, "scans", "cpu")
    found = [networks.shape(parts, recipe)._network.void_unit.item() for recipe in (base, other, base)]
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert found[0] == found[2] != found[1] > 0


def test_another_teacher_under_the_same_name_is_another_lesson(tmp_path: Path) -> None:
    recipe = with_assignments(preset("edge"), (f"rgb.teacher={write_teacher(tmp_path / 'teacher.safetensors')}",))
    before = training_facts(recipe, "rgb")
    card = (tmp_path / "teacher.json").read_text()
    (tmp_path / "teacher.json").write_text(card.replace('"sha256": "', '"sha256": "0'))
    assert training_facts(recipe, "rgb") != before


def test_a_teacher_that_is_not_there_is_refused_before_anything_is_trained(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    before = place.made("*")
    assert place.ablate("--rows", "d-falling", "--teacher", "nowhere.safetensors") == 2
    assert "nowhere.safetensors" in capsys.readouterr().err
    assert place.made("*") == before


def test_seeds_that_are_no_numbers_are_a_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", "x", "--work", "x", "--seeds", "0,one"]) == 2
    assert "expected whole numbers such as 0,1,2" in capsys.readouterr().err


def test_a_mean_is_given_with_half_the_range_of_its_seeds() -> None:
    assert mean_of([0.9, 0.92, 0.94]) == "0.920 ± 0.020"
    assert mean_of([0.01, -0.03], "+.3f") == "-0.010 ± 0.020"
    assert mean_of([0.5]) == "0.500"
    assert mean_of([-0.0001], "+.3f") == "+0.000"
    assert mean_of([0.5, None]) == "-"


def figures_of(fused: float, seed: int) -> Figures:
    metrics = [dataclasses.replace(Metrics(*6 * [None]), i_auroc=value, aupro_30=value) for value in (0.5, 0.6, fused)]
    return Figures(
        recipe=preset("edge", seed),
        **dict(zip(("rgb", "sdf", "fused"), metrics, strict=True)),
        validation=Scores((1.0, 2.0, 3.0, 2.0, 2.0), (1.0, 2.0, 3.0, 2.0, 2.0)),
        test=Scores((1.0, 5.0), (3.0, 2.0)),
        is_defective=(False, True),
    )


def test_the_table_has_a_line_for_each_row_and_each_rule_with_the_difference_to_the_base() -> None:
    lines = table({"base": [figures_of(0.7, 0), figures_of(0.9, 1)], "d-fixed": [figures_of(0.8, 0), figures_of(0.9, 1)]}).splitlines()
    assert lines[2] == (
        "| base | 0.500 ± 0.000 | 0.500 ± 0.000 | 0.600 ± 0.000 | 0.600 ± 0.000 | 0.800 ± 0.100 | 0.800 ± 0.100 "
        "| +0.000 ± 0.000 | +0.000 ± 0.000 |"
    )
    assert lines[3].endswith("| 0.850 ± 0.050 | 0.850 ± 0.050 | +0.050 ± 0.050 | +0.050 ± 0.050 |")
    assert lines[5] == "Mean over seeds 0, 1 ± half the range; 5 validation parts, 2 parts judged."
    rules = {line.split(" | ")[0].lstrip("| "): line.split(" | ")[1] for line in lines[9:]}
    assert list(rules) == list(RULES)
    assert rules["colour alone"] == "1.000 ± 0.000"
    assert rules["shape alone"] == "0.000 ± 0.000"
