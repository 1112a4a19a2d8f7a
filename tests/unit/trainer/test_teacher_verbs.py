"""`mdss teacher`: what is written, what is refused before any work, and the exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mdss.cli import main
from mdss.method.description_network import PatchDescriptionNetwork
from mdss.method.teacher import load_teacher
from tests.teachers import interrupting, write_backbone, write_photographs
from trainer import distil_teacher, procedural_teacher
from trainer.procedural_teacher import Procedure
from trainer.procedural_views import pairs


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a published teacher."""
    torch.manual_seed(2)
    torch.save(PatchDescriptionNetwork().state_dict(), tmp_path / "teacher_small.pth")
    return tmp_path / "teacher_small.pth"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the procedural teacher's steps small."""

    def smaller(**asked: int) -> Procedure:
        return replace(Procedure(**asked), pictures=1, crops=2, places=6, statistics_batches=1)

    monkeypatch.setattr(procedural_teacher, "Procedure", smaller)
    monkeypatch.setattr(procedural_teacher, "STATISTICS_PICTURES", 1)


def test_a_teacher_is_imported_and_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "new" / "mine.safetensors"
    assert main(["teacher", "import", str(file), "--out", str(out), "--licence", "Apache-2.0"]) == 0
    assert f"{out}: imported teacher from teacher_small.pth; use it with --set rgb.teacher={out}" in capsys.readouterr().out
    assert main(["teacher", "show", str(out)]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["kind"] == "imported" and card["source"] == "teacher_small.pth" and card["licence"] == "Apache-2.0"
    network, _ = load_teacher(str(out))
    wanted = torch.load(file, weights_only=True)["conv4.weight"]
    torch.testing.assert_close(network.conv4.weight.data, wanted, atol=1e-4, rtol=1e-3)


def test_a_teacher_is_not_overwritten_unless_forced(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "mine.safetensors"
    out.write_bytes(b"precious")
    command = ["teacher", "import", str(file), "--out", str(out)]
    assert main(command) == 2
    assert capsys.readouterr().err == f"mdss: {out}: exists already; expected a new name, or --force to overwrite it\n"
    assert out.read_bytes() == b"precious"
    assert main([*command, "--force"]) == 0
    load_teacher(str(out))


def test_an_import_beside_an_unfinished_training_asks_for_nothing_that_it_does_not_take(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, checkpoint = file.with_name("mine.safetensors"), file.with_name("mine.checkpoint")
    checkpoint.write_bytes(b"learned")
    assert main(["teacher", "import", str(file), "--out", str(out)]) == 2
    assert f"{checkpoint}: found an unfinished training; expected another --out, or --force to give it up" in capsys.readouterr().err
    assert checkpoint.read_bytes() == b"learned" and not out.exists()
    assert main(["teacher", "import", str(file), "--out", str(out), "--force"]) == 0
    assert out.exists() and not checkpoint.exists()


def test_what_does_not_fit_is_a_usage_error(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teacher", "import", str(file), "--out", str(tmp_path / "mine.pth")]) == 2
    assert "--out: found mine.pth, expected a name ending in .safetensors" in capsys.readouterr().err
    file.write_bytes(file.read_bytes()[:5000])
    assert main(["teacher", "import", str(file), "--out", str(tmp_path / "mine.safetensors")]) == 2
    assert f"mdss: {file}: cannot be read (" in capsys.readouterr().err
    assert main(["teacher", "show", str(tmp_path / "none.safetensors")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["teacher", "distil", "--out", str(tmp_path / "mine.safetensors")]) == 2
    assert main(["teacher", "procedural", "--out", str(tmp_path / "mine.safetensors"), "--steps", "0"]) == 2
    assert not list(tmp_path.glob("mine*"))


def test_a_teacher_is_distilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = distil_teacher.Distillation
    monkeypatch.setattr(
        distil_teacher, "Distillation", lambda *paths, **asked: replace(settings(*paths, **asked), batch=1, statistics_batches=1)
    )
    folder, backbone, out = write_photographs(tmp_path / "photographs"), write_backbone(tmp_path / "b.npz"), tmp_path / "t.safetensors"
    monkeypatch.chdir(folder)
    command = ["teacher", "distil", "--photographs", ".", "--backbone", str(backbone), "--out", str(out), "--steps", "1"]
    assert main(command) == 0
    card = load_teacher(str(out))[1]
    assert card.kind == "distilled" and card.source == "b.npz on the photographs of photographs"
    assert card.details["steps"] == 1 and card.details["photographs"] == 4
    assert sorted(path.name for path in tmp_path.glob("t.*")) == ["t.json", "t.safetensors"]


def test_a_checkpoint_outlives_inputs_that_are_wrong(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, checkpoint, backbone = tmp_path / "t.safetensors", tmp_path / "t.checkpoint", write_backbone(tmp_path / "b.npz")
    folder = write_photographs(tmp_path / "photographs")
    checkpoint.write_bytes(b"learned")
    (folder / "bad.png").write_bytes(b"no image")
    file.write_bytes(b"no teacher")
    distil = ["distil", "--photographs", str(folder), "--backbone", str(backbone)]
    for words, wrong in (
        ([*distil, "--photographs", str(tmp_path / "photos")], "photos: no such folder"),
        ([*distil, "--backbone", str(file)], "teacher_small.pth: cannot be read as a backbone"),
        (distil, "bad.png: cannot be read as an image"),
        (["import", str(file)], "teacher_small.pth: cannot be read"),
    ):
        assert main(["teacher", *words, "--out", str(out), "--force"]) == 2
        assert wrong in capsys.readouterr().err
        assert checkpoint.read_bytes() == b"learned" and not out.exists()


@pytest.mark.usefixtures("small")
def test_a_training_that_was_stopped_goes_on_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, checkpoint = tmp_path / "mine.safetensors", tmp_path / "mine.checkpoint"
    command = ["teacher", "procedural", "--out", str(out), "--steps", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(procedural_teacher, "pairs", interrupting(pairs, call=1))
        assert main(command) == 130
    assert f"{checkpoint}: what was learned so far; go on with --resume" in capsys.readouterr().err
    assert checkpoint.exists() and not out.exists()
    assert main(command) == 2
    assert f"{checkpoint}: found an unfinished training; expected --resume" in capsys.readouterr().err
    assert main([*command, "--resume", "--seed", "1"]) == 2
    assert "found a checkpoint with seed 0, expected 1" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert load_teacher(str(out))[1].kind == "procedural"
    assert not checkpoint.exists()


@pytest.mark.usefixtures("small")
def test_a_training_begins_anew_when_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.safetensors"
    out.with_suffix(".checkpoint").write_bytes(b"damaged")
    command = ["teacher", "procedural", "--out", str(out), "--steps", "1"]
    assert main([*command, "--resume"]) == 2
    assert f"{out.with_suffix('.checkpoint')}: cannot be resumed" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert load_teacher(str(out))[1].details["steps"] == 1 and not out.with_suffix(".checkpoint").exists()


def test_there_must_be_something_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teacher", "procedural", "--out", str(tmp_path / "mine.safetensors"), "--resume"]) == 2
    assert "mine.checkpoint: no such file; expected the checkpoint of a training that was stopped" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["distil", "procedural", "import", "show"])
def test_help_does_not_wait_for_torch(verb: str) -> None:
    program = "import sys; from mdss.cli import main; main(['teacher', sys.argv[1], '--help']); print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program, verb], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "False"
