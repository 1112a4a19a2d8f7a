"""Both branches side by side: what one after the other learns, a clean stop, and no child left behind whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from mdss.errors import BadInput, CutOff, MdssError
from mdss.method.grid import Grid
from mdss.method.recipe import Recipe
from mdss.method.store_lock import StoreBusy, training_lock
from mdss.system_calls import LIBC
from tests.plates import SIZE_PX, plate
from tests.station import small_recipe, write_teacher
from trainer.branch_inputs import BRANCHES, Branch, BranchInput, read_branch_inputs, write_branch_inputs
from trainer.branch_training import is_trained, networks_of, training_of
from trainer.checkpoint import Checkpoint
from trainer.progress import Meter, Report
from trainer.side_by_side import train_both
from trainer.training_plan import WORK

pytestmark = pytest.mark.timeout(180)
PR_SET_CHILD_SUBREAPER = 36
SPAWN = multiprocessing.get_context("spawn")
ENDLESS = ("rgb.steps=100000", "sdf.steps=100000")
Listen = Callable[[Callable[[Report], None]], None]


def parts() -> list[BranchInput]:
    """Return three small parts."""
    random, cloud = np.random.default_rng(0), plate()
    mask, grid = np.isfinite(cloud[..., 2]), Grid.filled(SIZE_PX)
    return [BranchInput(random.integers(0, 255, (SIZE_PX, SIZE_PX, 3), np.uint8), mask, cloud, grid) for _ in range(3)]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recipe]:
    """Return a maker of recipes that train in a moment."""
    teacher = write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")
    return lambda *assignments: small_recipe(teacher, f"point_cloud.size_px={SIZE_PX}", *assignments)


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 2)
        yield


@pytest.fixture(scope="module")
def beside(recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both branches have learned side by side."""
    work = tmp_path_factory.mktemp("beside")
    train_both(parts(), recipe(), "cpu", work)
    return work


def learning(parent: psutil.Process | None = None) -> list[psutil.Process]:
    """Return the processes of branches that this one, or another, has; other tests leave other children behind."""
    alive = [child for child in (parent or psutil.Process()).children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "trainer.branch_process" in child.cmdline()]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Hand every report of the children to a function."""

    def begin(listener: Callable[[Report], None]) -> None:
        Meter.listener = listener

    yield begin
    Meter.listener = None


def when_both_learn(action: Callable[[], None]) -> tuple[Callable[[Report], None], dict[str, int]]:
    """Return a listener that acts once, when each branch has done a step, and where each branch began."""
    began: dict[str, int] = {}
    learning: set[str] = set()

    def hear(report: Report) -> None:
        if report.title not in ("colour branch", "shape branch") or len(learning) == len(BRANCHES):
            return
        if report.done > began.setdefault(report.title, report.done):
            learning.add(report.title)
        if len(learning) == len(BRANCHES):
            action()

    return hear, began


def steps_done(branch: Branch, work: Path) -> int:
    return len(Checkpoint.read(work / f"{branch}.checkpoint").losses)


def test_side_by_side_learns_what_one_after_the_other_learns_with_as_many_threads(
    beside: Path, recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_turn = tmp_path
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    torch.set_num_threads(1)
    train_both(parts(), recipe(), "cpu", in_turn)
    assert (beside / "rgb.parts").exists() and not (in_turn / "rgb.parts").exists()
    for branch in BRANCHES:
        assert training_of(branch, beside).losses == training_of(branch, in_turn).losses
    for one, other in zip(networks_of(recipe(), beside), networks_of(recipe(), in_turn), strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(other.state_dict()[name], value), name


@pytest.fixture
def interrupted(recipe: Callable[..., Recipe], tmp_path: Path, listen: Listen) -> dict[Branch, int]:
    """Press Ctrl-C while both learn; return how far each had come."""
    listen(when_both_learn(lambda: os.kill(os.getpid(), signal.SIGINT))[0])
    with pytest.raises(KeyboardInterrupt):
        train_both(parts(), recipe(*ENDLESS), "cpu", tmp_path)
    assert not learning()
    return {branch: steps_done(branch, tmp_path) for branch in BRANCHES}


def test_after_ctrl_c_both_go_on_from_their_checkpoints_and_one_that_is_killed_stops_the_other(
    interrupted: dict[Branch, int], recipe: Callable[..., Recipe], tmp_path: Path, listen: Listen
) -> None:
    def kill_shape() -> None:
        (shape,) = [child for child in learning() if '"branch":"sdf"' in " ".join(child.cmdline())]
        shape.kill()

    hear, began = when_both_learn(kill_shape)
    listen(hear)
    with pytest.raises(CutOff, match="shape branch: its process was ended by signal 9; what it had learned is kept: train --resume or"):
        train_both(parts(), recipe(*ENDLESS), "cpu", tmp_path)
    assert all(interrupted.values())
    assert began == {"colour branch": interrupted["rgb"], "shape branch": interrupted["sdf"]}
    assert steps_done("rgb", tmp_path) > interrupted["rgb"]
    assert not learning()


def train_under_the_lock(folder: Path, recipe: Recipe, said: Connection) -> None:
    """Train as a verb does, without an end; say when both learn."""
    torch.get_num_threads = lambda: 2
    Meter.listener = when_both_learn(lambda: said.send("both learn"))[0]
    with training_lock(folder, "mdss train"):
        train_both(parts(), recipe, "cpu", folder / WORK)


@pytest.fixture
def adopting() -> Iterator[None]:
    """Become the parent of processes whose own one is killed: as orphans, those that are suspended would be woken and hung up on."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 0)


def test_of_a_training_that_was_killed_the_branches_keep_others_away_until_they_have_left_their_checkpoints(
    recipe: Callable[..., Recipe], tmp_path: Path, adopting: None
) -> None:
    ours, theirs = SPAWN.Pipe()
    (tmp_path / WORK).mkdir()
    trainer = SPAWN.Process(target=train_under_the_lock, args=(tmp_path, recipe(*ENDLESS), theirs))
    trainer.start()
    assert ours.recv() == "both learn"
    branches = learning(psutil.Process(trainer.pid))
    for branch in branches:
        branch.suspend()
    trainer.kill()
    trainer.join()
    try:
        with pytest.raises(StoreBusy, match=f"held by process {trainer.pid} of .*, mdss train"), training_lock(tmp_path, "another"):
            pass
    finally:
        for branch in branches:
            branch.resume()
    for branch in branches:
        branch.wait()
    with training_lock(tmp_path, "another"):
        assert all(steps_done(branch, tmp_path / WORK) for branch in BRANCHES)


def test_a_branch_that_refuses_ends_both_with_its_sentence(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "rgb.checkpoint").write_bytes(b"something else")
    with pytest.raises(BadInput, match=r"rgb\.checkpoint: cannot be resumed"):
        train_both(parts(), recipe("sdf.steps=100000"), "cpu", tmp_path)
    assert not learning()
    assert not any(is_trained(branch, tmp_path) for branch in BRANCHES)


def test_a_disk_that_refuses_what_was_learned_is_said_as_any_other_verb_says_it(
    beside: Path, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    for learned in beside.glob("sdf.*"):  # so that colour learns alone
        shutil.copy(learned, tmp_path)
    (tmp_path / "rgb.safetensors").mkdir()
    with pytest.raises(MdssError, match=rf"^{tmp_path}/rgb\.safetensors: Is a directory$"):
        train_both(parts(), recipe(), "cpu", tmp_path)


def test_where_the_parent_is_gone_a_step_ends_before_the_branch_stops() -> None:
    script = """
from trainer.branch_process import tell
from mdss.interrupts import HeldInterrupt
from trainer.progress import Report
import sys
try:
    with HeldInterrupt():
        for done in range(3):
            tell(Report("shape branch", 3, done, ""))
        print("whole", file=sys.stderr)
except KeyboardInterrupt:
    print("stopped", file=sys.stderr)
"""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.stderr.split() == ["whole", "stopped"]


def test_what_cannot_be_handed_out_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MdssError, match=r"gone/rgb\.parts: .*; expected a folder with room for what the rgb branch learns from"):
        write_branch_inputs("rgb", parts(), tmp_path / "gone")


def test_each_branch_is_handed_what_it_looks_at(tmp_path: Path) -> None:
    given = parts()
    for branch in BRANCHES:
        write_branch_inputs(branch, given, tmp_path)
    for part, colour, shape in zip(given, read_branch_inputs("rgb", tmp_path), read_branch_inputs("sdf", tmp_path), strict=True):
        assert np.array_equal(colour.rgb, part.rgb) and np.array_equal(colour.mask, part.mask) and colour.xyz.size == 0
        assert np.array_equal(shape.xyz, part.xyz, equal_nan=True) and shape.rgb.size == 0
        assert colour.grid == shape.grid == part.grid
