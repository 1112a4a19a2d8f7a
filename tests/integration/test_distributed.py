"""Two processes train one model, as torchrun starts them: the same weights on both, nearly those of one; a death that is told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from demo.station import free_port
from mdss.errors import BadInput
from mdss.method.model_store import open_champion, versions
from mdss.method.recipe import Recipe
from tests.station import NAME, SMALL, small_recipe, write_line, write_teacher
from trainer import distributed
from trainer.branch_inputs import BRANCHES
from trainer.branch_training import train_branch
from trainer.checkpoint import Checkpoint
from trainer.dataset import Dataset
from trainer.train import prepare_all
from trainer.training_plan import WORK

pytestmark = pytest.mark.timeout(180)
SIZE = 2
STEPS = ("rgb.steps=8", "sdf.steps=12", "sdf.batch=8", "rgb.scores_in=int8", "sdf.scores_in=int8")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Scans and a teacher."""
    folder = tmp_path_factory.mktemp("line")
    return write_line(folder / "data"), write_teacher(folder / "teacher.safetensors")


LEARN = """
import sys
from pathlib import Path
import msgspec
from mdss.method.recipe import Recipe
from trainer import distributed
from trainer.branch_training import train_branch
from trainer.dataset import Dataset
from trainer.distributed import process_group
from trainer.train import prepare_all
data, recipe, work = Path(sys.argv[1]), msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=Recipe), Path(sys.argv[3])
work.mkdir()
dataset = Dataset.open(data, "m")
parts = prepare_all(dataset, dataset.train, recipe)
with process_group("cpu") as device:
    for branch in ("rgb", "sdf"):
        train_branch(branch, parts, recipe, device, work)
"""


class Torchrun:
    """Starts processes with what torchrun tells each."""

    def __init__(self) -> None:
        self._port = str(free_port())

    def start(self, rank: int, *words: str) -> subprocess.Popen[str]:
        """Start one process of two."""
        told = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(SIZE), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": self._port}
        environment = os.environ | told | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_end_with_the_same_weights_and_nearly_the_losses_of_one(line: tuple[Path, Path], tmp_path: Path) -> None:
    data, teacher = line
    recipe = small_recipe(teacher, *STEPS, "rgb.quantile_domain=image")  # that of a batch is each process's own share's
    (tmp_path / "recipe.json").write_bytes(msgspec.json.encode(recipe))
    run = Torchrun()
    both = [run.start(rank, "-c", LEARN, str(data), str(tmp_path / "recipe.json"), str(tmp_path / str(rank))) for rank in range(SIZE)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    alone = losses_alone(data, recipe, tmp_path / "alone")
    for branch in BRANCHES:
        first, second = (load_file(tmp_path / str(rank) / f"{branch}.safetensors") for rank in range(SIZE))
        assert all(torch.equal(value, second[name]) for name, value in first.items())
        losses = Checkpoint.read(tmp_path / "0" / f"{branch}.checkpoint").losses
        assert losses == pytest.approx(alone[branch], rel=1e-3), branch
        assert not (tmp_path / "1" / f"{branch}.checkpoint").exists()


def losses_alone(data: Path, recipe: Recipe, work: Path) -> dict[str, list[float]]:
    """Return the losses of one process with whole batches."""
    work.mkdir()
    dataset = Dataset.open(data, "m")
    parts = prepare_all(dataset, dataset.train, recipe)
    for branch in BRANCHES:
        train_branch(branch, parts, recipe, "cpu", work)
    return {branch: Checkpoint.read(work / f"{branch}.checkpoint").losses for branch in BRANCHES}


def train_words(line: tuple[Path, Path], store: Path, *assignments: str) -> list[str]:
    """Return `mdss train ...` of a training that takes long enough to be interrupted."""
    data, teacher = line
    sets = [word for each in (*SMALL, f"rgb.teacher={teacher}", *STEPS, *assignments) for word in ("--set", each)]
    return [
        "-m",
        "mdss.cli",
        "train",
        "--data",
        str(data),
        "--recipe",
        NAME,
        "--preset",
        "demo",
        "--out",
        str(store),
        "--device",
        "cpu",
        *sets,
    ]


@pytest.mark.timeout(400)  # four processes that wait for each other at every step: on busy cores that takes several times as long
def test_a_process_that_dies_ends_the_other_with_a_sentence_and_the_checkpoint_is_gone_on_with(
    line: tuple[Path, Path], tmp_path: Path
) -> None:
    words, run = train_words(line, tmp_path, "sdf.steps=100000"), Torchrun()
    first, second = (run.start(rank, *words) for rank in range(SIZE))
    assert second.stderr is not None
    for said in second.stderr:
        if said.startswith("patches"):  # the colour branch is done, the shape branch begins
            break
    second.send_signal(signal.SIGKILL)
    second.communicate()
    error = first.communicate()[1]
    assert first.returncode == 1, error
    assert "process 0 of the training lost another process" in error and "--resume goes on" in error
    work = tmp_path / NAME / WORK
    assert len(Checkpoint.read(work / "rgb.checkpoint").losses) == 8
    assert versions(tmp_path / NAME) == []
    run = Torchrun()
    words = train_words(line, tmp_path)
    (work / "plan.json").write_bytes((work / "plan.json").read_bytes().replace(b'"steps":100000', b'"steps":12'))
    (work / "sdf.checkpoint").unlink(missing_ok=True)
    both = [run.start(rank, *words, "--resume") for rank in range(SIZE)]
    said_by = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said_by
    assert "colour branch" not in said_by[1]
    assert all("reading validation" in said for said in said_by)  # by both, or one would wait for the other meanwhile
    assert open_champion(tmp_path, NAME).version == "0001"


@pytest.mark.parametrize("differs", ["settings", "scans"])
def test_processes_with_other_settings_or_scans_do_not_learn_together(differs: str, line: tuple[Path, Path], tmp_path: Path) -> None:
    run, copied = Torchrun(), shutil.copytree(line[0], tmp_path / "data")
    with (copied / "train" / "good" / "rgb" / "000.png").open("ab") as image:  # the same name, another file
        image.write(b"0")
    others = train_words(line, tmp_path, "sdf.octaves=2") if differs == "settings" else train_words((copied, line[1]), tmp_path)
    first, second = run.start(0, *train_words(line, tmp_path)), run.start(1, *others)
    error = second.communicate()[1]
    assert second.returncode == 2 and "process 1 of the training has other settings or scans than the first" in error
    assert "process 0 of the training lost" in first.communicate()[1]
    assert first.returncode == 1


@pytest.mark.parametrize(("asked", "found"), [("auto", "cuda:2"), ("cuda:0", "cuda:2"), ("cuda:5", "cuda:5")])
def test_a_process_without_a_gpu_of_its_own_is_refused_before_it_waits_for_others(
    asked: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WORLD_SIZE", "3"), ("LOCAL_RANK", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    refusal = f"device: found '{found}', expected auto or one of this machine's: cpu, cuda:0, cuda:1"
    with pytest.raises(BadInput, match=refusal), distributed.process_group(asked):
        pass


def test_a_batch_that_cannot_be_shared_out_evenly_is_refused(line: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_recipe(line[1], "sdf.batch=3")
    distributed.check_same(recipe, ("m", ""))  # alone nothing has to be shared
    monkeypatch.setattr(distributed, "is_shared", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: SIZE)
    with pytest.raises(BadInput, match=r"sdf\.batch: found 3, expected a multiple of 2, the number of processes that share it"):
        distributed.check_same(recipe, ("m", ""))
