"""The verbs that make and keep models, from the command line on a tiny line: train, evaluate, calibrate, model."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tifffile

from mdss.audit import events
from mdss.cli import main
from mdss.method.model_store import open_champion
from mdss.method.presets import preset, with_assignments
from tests import halting
from tests.station import GOOD, NAME, PAINTED, SMALL, Trained, write_line, write_teacher
from trainer.checkpoint import Checkpoint
from trainer.train import with_absolute_paths
from trainer.training_plan import WORK

pytestmark = pytest.mark.timeout(300)  # they wait for nothing but the processor
METRICS = {"i_auroc", "p_auroc", "aupro_30", "aupro_10", "aupro_05", "aupro_01"}
BRANCHES = ("rgb", "sdf", "fused", "fused_brightness_matched")
RGB_STEPS, SDF_STEPS = 24, 300
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A store that `mdss train` filled."""
    folder = tmp_path_factory.mktemp("trained")
    data, teacher = write_line(folder / "data"), write_teacher(folder / "teacher.safetensors")
    assert main(["train", *train_options(data, folder / "models", teacher)]) == 0
    return Trained(data, folder / "models")


def train_options(data: Path, store: Path, teacher: Path) -> list[str]:
    """Return the options of a training that takes seconds."""
    settings = [
        word
        for setting in (*SMALL, f"rgb.steps={RGB_STEPS}", f"sdf.steps={SDF_STEPS}", f"rgb.teacher={teacher}")
        for word in ("--set", setting)
    ]
    return ["--data", str(data), "--recipe", NAME, "--preset", "demo", "--out", str(store), "--device", "cpu", *settings]


@pytest.fixture
def copy(made: Trained, tmp_path: Path) -> Trained:
    """A copy of the store, for tests that change it."""
    return Trained(made.data, shutil.copytree(made.store, tmp_path / "models", symlinks=True))


def test_train_makes_a_champion_with_a_report_and_leaves_nothing_else(made: Trained) -> None:
    model = open_champion(made.store, NAME)
    visible = sorted(path.name for path in (made.store / NAME).iterdir() if not path.name.endswith(".lock"))
    assert visible == ["0001", "audit.jsonl", "champion"]
    assert (model.name, model.version, model.recipe.preset) == (NAME, "0001", "demo")
    assert (model.card.data["training_scans"], model.card.data["validation_scans"]) == (8, 6)
    page = (model.path / "report" / "training.html").read_text()
    assert "the threshold that `mdss calibrate` has set since" in page  # the page comes along with a version of another threshold
    assert "asked 0.01%; assumes that good scores are lognormal; 6 parts alone can promise 14.3%" in page
    assert "Good validation parts" in page and "data:image/png;base64," in page
    assert [(event.what, event.before, event.after) for event in events(made.store / NAME)] == [("train", "", "0001")]


def test_the_card_says_from_what_how_long_and_how_well(made: Trained) -> None:
    model = open_champion(made.store, NAME)
    card, calibration = model.card, model.calibration
    assert card.data["folder"] == str(made.data) and card.data["unit"] == "m" and len(card.data["digest"]) == 16
    assert card.data["scans"] == [f"{number:03d}" for count in (8, 6) for number in range(count)]
    assert card.seeds == {"training": 0, "point_cloud": 0}
    assert card.sizes.keys() == {"rgb", "sdf"} and min(card.sizes.values()) > 1000
    assert card.seconds.keys() == {"reading", "rgb", "sdf", "calibration"} and min(card.seconds.values()) >= 0
    assert (card.training["rgb"]["steps"], card.training["sdf"]["steps"]) == (RGB_STEPS, SDF_STEPS)
    assert card.metrics["threshold"] == calibration.threshold.value
    assert card.metrics["validation_scores"]["fused"]["highest"] == max(calibration.validation_scores)
    assert card.code_version and card.made_at and card.teacher["kind"] == "procedural"


def test_evaluate_writes_every_key_that_was_asked_for(made: Trained, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    options = ["--data", str(made.data), "--recipe", NAME, "--store", str(made.store), "--device", "cpu"]
    assert main(["evaluate", *options, "--json", str(path), "--report", str(tmp_path / "report")]) == 0
    found = json.loads(path.read_text())
    for branch in BRANCHES:
        assert found[branch].keys() == found["per_defect"]["painted"][branch].keys() == METRICS
        assert all(isinstance(value, float) and 0 <= value <= 1 for value in found[branch].values())
    assert found["per_defect"].keys() == {"painted"}
    assert "i_auroc" in found["baseline_object_brightness"]
    assert {"value", "asked_false_reject_rate", "false_reject_rate", "recall"} <= found["threshold"].keys()
    assert {"load", "prepare", "rgb", "sdf", "fusion"} <= found["timing"]["stages"].keys()
    assert sorted(found["scans"]) == sorted(GOOD + PAINTED)
    assert found["rgb"]["i_auroc"] == 1.0  # a painted square is what a colour branch sees
    assert "data:image/png;base64," in (tmp_path / "report" / "report.html").read_text()


def test_an_evaluation_in_which_no_scan_could_be_judged_ends_with_1(made: Trained, tmp_path: Path, capsys: Capture) -> None:
    data = shutil.copytree(made.data, tmp_path / "data")
    for cloud in data.glob("test/*/xyz/*.tiff"):
        tifffile.imwrite(cloud, np.full_like(tifffile.imread(cloud), np.nan), photometric="rgb")
    options = ["--data", str(data), "--recipe", NAME, "--store", str(made.store), "--device", "cpu"]
    assert main(["evaluate", *options, "--json", str(tmp_path / "evaluation.json")]) == 1
    said = capsys.readouterr()
    assert said.out.count("the cloud is empty") == len(GOOD + PAINTED) and "no scan could be judged" in said.err
    assert "not judged: BAD_CLOUD: the cloud is empty" in said.out.splitlines()[-1]  # that none could be judged is said once
    assert sorted(json.loads((tmp_path / "evaluation.json").read_text())["counts"]["undefined"]) == sorted(GOOD + PAINTED)


def test_calibrate_makes_a_new_champion_with_the_same_weights_and_another_threshold(copy: Trained, capsys: Capture) -> None:
    before = open_champion(copy.store, NAME)
    options = ["--data", str(copy.data), "--recipe", NAME, "--store", str(copy.store), "--device", "cpu"]
    assert main(["calibrate", *options, "--method", "conformal", "--false-reject-rate", "0.4"]) == 0
    after = open_champion(copy.store, NAME)
    assert (before.version, after.version) == ("0001", "0002")
    for name in ("rgb.safetensors", "sdf.safetensors"):
        assert (before.path / name).read_bytes() == (after.path / name).read_bytes()
    assert (after.card.derived_from, after.card.metrics["threshold"]) == ("0001", after.calibration.threshold.value)
    assert (after.path / "report" / "training.html").read_bytes() == (before.path / "report" / "training.html").read_bytes()
    assert after.calibration.threshold.value == sorted(after.calibration.validation_scores)[4]
    assert after.calibration.validation_scores == pytest.approx(before.calibration.validation_scores, rel=1e-5)
    assert "flange 0002 is the champion" in capsys.readouterr().out


def test_models_are_listed_promoted_and_rolled_back(copy: Trained, capsys: Capture) -> None:
    store = ["--store", str(copy.store)]
    options = ["--data", str(copy.data), "--recipe", NAME, "--device", "cpu"]
    assert main(["calibrate", *options, *store]) == 0
    assert roles(store, capsys) == {"0001": "previous", "0002": "champion"}
    assert main(["model", "rollback", *store, "--recipe", NAME]) == 0
    assert roles(store, capsys) == {"0001": "champion", "0002": "previous"}
    assert main(["model", "promote", *store, "--recipe", NAME, "--version", "0002"]) == 0
    assert roles(store, capsys) == {"0001": "previous", "0002": "champion"}
    assert main(["model", "promote", *store, "--recipe", NAME, "--version", "0009"]) == 2
    assert "model flange 0009: no such version" in capsys.readouterr().err


def roles(store: list[str], capsys: Capture) -> dict[str, str]:
    """Return version -> role as `mdss model list` shows them to a program."""
    capsys.readouterr()
    assert main(["model", "list", *store, "--json"]) == 0
    return {row["version"]: row["role"] for row in json.loads(capsys.readouterr().out)}


def test_verify_names_a_damaged_file(copy: Trained, capsys: Capture) -> None:
    assert main(["model", "verify", "--store", str(copy.store)]) == 0
    assert capsys.readouterr().out == "flange 0001: whole\n"
    weights = copy.store / NAME / "0001" / "rgb.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert main(["model", "verify", "--store", str(copy.store)]) == 1
    said = capsys.readouterr()
    assert str(weights) in said.out
    assert "1 of 1 models are damaged" in said.err


class Trainer:
    """`mdss train` as a process of its own, to be interrupted where its progress says it is."""

    def __init__(self, made: Trained, store: Path) -> None:
        teacher = made.data.parent / "teacher.safetensors"
        self.words = ["train", *train_options(made.data, store, teacher)]

    def run(self, *options: str, until: str = "", before: Callable[[], None] = lambda: None) -> tuple[int, str]:
        """Train; where `until` is given, press Ctrl-C at the line that begins so, and `before` that do something while it stands still.

        Return the exit code and the last line.
        """

        def press_ctrl_c(process: halting.Process) -> None:
            before()
            process.send_signal(signal.SIGINT)

        code, said = halting.run([*self.words, *options], until, press_ctrl_c)
        return code, said[-1]


def steps_done(checkpoint: Path) -> int:
    """Return how far a branch's training had come."""
    return len(Checkpoint.read(checkpoint).losses)


def test_of_two_trainings_of_one_recipe_the_second_is_told_who_is_first_and_leaves_it_alone(made: Trained, tmp_path: Path) -> None:
    refused: list[tuple[int, list[str]]] = []
    first, work = Trainer(made, tmp_path), tmp_path / NAME / WORK

    def begin_another() -> None:
        refused.append(halting.run(first.words))

    assert first.run(until="colour branch: 1/", before=begin_another) == (130, "mdss: interrupted")
    sentence = rf"mdss: {tmp_path}/{NAME}/\.training\.lock: held by process \d+ of \S+, mdss train, since .*"
    assert [(code, [bool(re.fullmatch(sentence, line)) for line in said]) for code, said in refused] == [(1, [True])]
    assert steps_done(work / "rgb.checkpoint") > 0


def test_ctrl_c_before_anything_was_learned_does_not_say_that_it_is_kept(made: Trained, tmp_path: Path) -> None:
    words = Trainer(made, tmp_path).words
    ends = {
        "reading train: 1/": "train: stopped before anything was learned; the same command begins anew",
        "colour branch: 1/": "train: stopped; what was learned is kept, the same command with --resume goes on from there",
    }
    for until, end in ends.items():
        code, said = halting.run(words, until, lambda process: process.send_signal(signal.SIGINT))
        assert code == 130 and [line for line in said if line.startswith("train: ")] == [end]


def test_ctrl_c_ends_with_a_sentence_and_resume_gives_the_weights_of_an_unbroken_training(made: Trained, copy: Trained) -> None:
    trainer, work = Trainer(made, copy.store), copy.store / NAME / WORK
    assert trainer.run(until="colour branch: 1/") == (130, "mdss: interrupted")
    assert 0 < steps_done(work / "rgb.checkpoint") < RGB_STEPS
    assert trainer.run("--resume", until="shape branch: 1/") == (130, "mdss: interrupted")
    assert steps_done(work / "rgb.checkpoint") == RGB_STEPS
    assert 0 < steps_done(work / "sdf.checkpoint") < SDF_STEPS
    assert open_champion(copy.store, NAME).version == "0001"
    assert trainer.run("--resume")[0] == 0
    broken, whole = open_champion(copy.store, NAME), open_champion(made.store, NAME)
    assert (broken.version, whole.version, work.exists()) == ("0002", "0001", False)
    for name in ("rgb.safetensors", "sdf.safetensors"):
        assert (broken.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert msgspec.structs.replace(broken.calibration, calibrated_at="") == msgspec.structs.replace(whole.calibration, calibrated_at="")


def test_ctrl_c_while_a_training_that_is_done_removes_what_it_needs_no_more_is_too_late(made: Trained, tmp_path: Path) -> None:
    words = ["train", *train_options(made.data, tmp_path / "models", made.store.parent / "teacher.safetensors")]
    assert (
        halting.with_ctrl_c(lambda: main(words), lambda code: code.co_filename == shutil.__file__ and code.co_name.startswith("_rmtree"))
        == 0
    )
    assert not (tmp_path / "models" / NAME / WORK).exists()


def test_a_teacher_of_ones_own_and_photographs_are_named_so_that_a_retraining_finds_them_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.safetensors").touch()
    assert with_absolute_paths(with_assignments(preset("edge"), ("rgb.teacher=own.safetensors",))).rgb.teacher == str(
        tmp_path / "own.safetensors"
    )
    (tmp_path / "photographs").mkdir()
    photographs = with_absolute_paths(with_assignments(preset("edge"), ("rgb.penalty_photographs=photographs",))).rgb.penalty_photographs
    assert photographs == str(tmp_path / "photographs")
    (tmp_path / "generated").mkdir()
    drawn = with_assignments(preset("edge"), ("rgb.penalty_photographs=generated",))
    assert with_absolute_paths(drawn) == drawn  # the pictures that a training draws, and no folder of that name
    assert with_absolute_paths(preset("edge")) == preset("edge")
