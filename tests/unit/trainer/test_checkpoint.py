"""Checkpoints: what comes back is what was written, bit by bit, and nothing else is taken for one."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mdss.errors import BadInput
from mdss.method.presets import preset, with_assignments
from mdss.method.recipe import Optimiser
from trainer.checkpoint import CARD, Checkpoint
from trainer.training import Schedule, Training, channels_last
from trainer.training_plan import TrainingPlan, prepare_work_folder

STEPS = 6
Capture = pytest.CaptureFixture[str]


def network(width: int = 4) -> nn.Module:
    """Return a network whose layout is the one that convolutions like."""
    torch.manual_seed(0)
    return channels_last(nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 2, 3)))


def trained(
    path: Path, steps: int = STEPS, averaged: float = 0.0, optimiser: Optimiser = "adam", **settings: Any
) -> tuple[nn.Module, Training]:
    """Train to a step of a schedule that is always as long, going on from the checkpoint where there is one."""
    made, stored = network(), {"steps": STEPS} | settings
    training = Training(made, Schedule("test", STEPS, 0.01, 2, optimiser=optimiser, averaged=averaged, settings=stored), path)

    def loss_of(step: int) -> Tensor:
        if step == steps:
            raise InterruptedError
        images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(step)).contiguous(memory_format=torch.channels_last)
        return made(images).square().mean()  # type: ignore[no-any-return]

    try:
        training.run(loss_of)
    except InterruptedError:
        training._save()
    return made, training


@pytest.mark.parametrize("averaged", [0.0, 0.5])
@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_a_training_that_was_stopped_after_any_step_goes_on_bit_by_bit(tmp_path: Path, optimiser: Optimiser, averaged: float) -> None:
    whole, unbroken = trained(tmp_path / "whole.checkpoint", averaged=averaged, optimiser=optimiser)
    for stop in (1, 4, STEPS):
        path = tmp_path / f"{stop}.checkpoint"
        trained(path, stop, averaged, optimiser)
        resumed, training = trained(path, averaged=averaged, optimiser=optimiser)
        assert training.losses == unbroken.losses
        for name, value in whole.state_dict().items():
            assert torch.equal(resumed.state_dict()[name], value), (stop, name)


def test_a_network_ends_with_the_mean_of_its_weights_over_the_last_steps(tmp_path: Path) -> None:
    made, seen = network(), list[Tensor]()
    schedule = Schedule("test", STEPS, 0.01, 2, averaged=0.5)

    def loss_of(step: int) -> Tensor:
        seen.append(made[0].weight.detach().clone())  # type: ignore[index]
        return made(torch.full((1, 3, 8, 8), 1.0 + step)).square().mean()  # type: ignore[no-any-return]

    Training(made, schedule, tmp_path / "a.checkpoint").run(loss_of)
    last = Checkpoint.read(tmp_path / "a.checkpoint").network["0.weight"]
    mean = torch.stack([*seen[-2:], last]).mean(dim=0)
    assert torch.allclose(made[0].weight, mean, atol=1e-6) and not torch.allclose(made[0].weight, last, atol=1e-6)  # type: ignore[index]


def test_the_rate_rests_at_a_quarter_while_weights_are_averaged_and_falls_to_nothing_otherwise() -> None:
    averaged, other = Schedule("test", 100, 0.01, 10, averaged=0.4), Schedule("test", 100, 0.01, 10)
    assert [averaged.rate(step) for step in (60, 80, 99)] == [0.0025] * 3
    assert averaged.rate(9) == other.rate(9) == 0.01 and averaged.rate(59) > 0.0025
    assert other.rate(100) == 0.0 and Schedule("test", 100, 0.01, 10, decay="constant", averaged=0.4).rate(80) == 0.01


def test_moments_come_back_in_the_layout_of_their_parameters(tmp_path: Path) -> None:
    _, before = trained(tmp_path / "a.checkpoint", 3)
    _, after = trained(tmp_path / "a.checkpoint", 3)
    for old, new in zip(before._optimiser.state.values(), after._optimiser.state.values(), strict=True):
        assert {name: value.stride() for name, value in old.items()} == {name: value.stride() for name, value in new.items()}


def test_every_number_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = Checkpoint(
        {
            "a.weight": torch.tensor([[1.0, float("nan")], [3.0, 1e-45]]),
            "count": torch.tensor(7),
            "half": torch.ones(3, dtype=torch.bfloat16),
        },
        {0: {"step": torch.tensor(5.0), "exp_avg": torch.rand(2, 2)}, 11: {"step": torch.tensor(5.0)}},
        [0.1, 1 / 3, 1e-300],
        12.345678901234567,
        {"seed": 0, "rate": 1e-4, "name": "x", "encoder": (16, 32), "start": None},
    )
    written.write(tmp_path / "deep" / "a.checkpoint")
    read = Checkpoint.read(tmp_path / "deep" / "a.checkpoint")
    assert (read.losses, read.seconds) == (written.losses, written.seconds)
    assert read.settings == written.settings | {"encoder": [16, 32]}
    assert read.moments.keys() == written.moments.keys()
    for name, value in written.network.items():
        assert (read.network[name].dtype, read.network[name].shape) == (value.dtype, value.shape)
        assert torch.equal(read.network[name].flatten().view(torch.uint8), value.flatten().view(torch.uint8))  # NaN and all
    assert torch.equal(read.moments[0]["exp_avg"], written.moments[0]["exp_avg"])
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.checkpoint"]


def test_settings_with_tuples_are_the_same_after_they_were_stored(tmp_path: Path) -> None:
    trained(tmp_path / "a.checkpoint", 3, encoder=(16, 32))
    assert trained(tmp_path / "a.checkpoint", encoder=(16, 32))[1].step == STEPS
    with pytest.raises(BadInput, match=r"found a checkpoint with encoder \[16, 32\], expected \[16\]; resume with the same settings"):
        trained(tmp_path / "a.checkpoint", encoder=(16,))


def test_a_training_does_not_go_on_with_another_optimiser(tmp_path: Path) -> None:
    settings = preset("edge").rgb
    Training(network(), Schedule.of("colour branch", settings), tmp_path / "a.checkpoint")._save()
    other = Schedule.of("colour branch", msgspec.structs.replace(settings, optimiser="adam"))
    with pytest.raises(BadInput, match="found a checkpoint with optimiser muon, expected adam; resume with the same settings"):
        Training(network(), other, tmp_path / "a.checkpoint")


def damaged_number(path: Path) -> None:
    """Flip a bit of a weight, somewhere in the middle of the numbers."""
    content = bytearray(path.read_bytes())
    content[-len(content) // 4] ^= 1
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def no_card(path: Path) -> None:
    save_file(load_file(path), path)


def another_format(path: Path) -> None:
    card = {"format": "mdss.checkpoint.v9", "seconds": 1.0, "settings": {}, "sha256": ""}
    save_file(load_file(path), path, {CARD: msgspec.json.encode(card).decode()})


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damaged_number, "its numbers are not those that were written"),
        (cut_off, ""),
        (emptied, ""),
        (no_card, ""),
        (another_format, "it is of the format 'mdss.checkpoint.v9'"),
        (a_folder, "Is a directory"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_a_sentence(tmp_path: Path, damage: Any, reason: str) -> None:
    path = tmp_path / "a.checkpoint"
    trained(path, 3)
    damage(path)
    with pytest.raises(BadInput) as refused:
        trained(path)
    said = str(refused.value)
    assert said.startswith(f"{path}: cannot be resumed (") and said.endswith("); expected this training's checkpoint")
    assert reason in said and "\n" not in said


class Trap:
    """A pickle that runs code when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("trapped"),))


def test_a_checkpoint_of_an_earlier_release_is_refused_by_that_name(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    torch.save({"network": {}, "optimiser": {}, "losses": [], "seconds": 0.0, "settings": {}}, path)
    with pytest.raises(BadInput, match=r"a\.checkpoint: found a checkpoint of an earlier release, .* begin the training anew"):
        trained(path)


def test_a_checkpoint_that_would_run_code_runs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(Trap(), "zipped.checkpoint")
    Path("bare.checkpoint").write_bytes(pickle.dumps(Trap()))
    for name in ("zipped.checkpoint", "bare.checkpoint"):
        with pytest.raises(BadInput):
            trained(Path(name))
    assert not Path("trapped").exists()
    pickle.loads(Path("bare.checkpoint").read_bytes())  # noqa: S301 - to show that it would
    assert Path("trapped").exists()


def test_another_network_s_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    training = Training(network(width=5), Schedule("test", STEPS, 0.01, 2, settings={"steps": STEPS}), path)
    training._save()
    with pytest.raises(BadInput, match=r"a\.checkpoint: found another network's checkpoint \(.*\), expected this training's"):
        trained(path)


def test_resuming_where_nothing_is_unfinished_says_that_it_begins_anew(tmp_path: Path, capsys: Capture) -> None:
    for _ in range(2):
        prepare_work_folder(tmp_path / "work", TrainingPlan(preset("edge"), "m", (), ""), resume=True)
    assert capsys.readouterr().err == f"train: found no unfinished training in {tmp_path / 'work'}, starting a new one\n"


def test_before_an_unfinished_training_is_discarded_it_is_said_how_far_it_had_come(tmp_path: Path, capsys: Capture) -> None:
    work, plan = tmp_path / "work", TrainingPlan(with_assignments(preset("edge"), ("rgb.steps=6", "sdf.steps=9")), "m", (), "")
    discarded = f"train: the unfinished training in {work} is discarded"
    came = "(colour branch 3 of 6 steps, shape branch 0 of 9 steps)"
    other = replace(plan, unit="mm")
    ends = {
        f" {came}; --resume would have gone on from it": plan,
        f" {came}; it had other settings or scans (unit was m, is mm), with which --resume would have gone on": other,
    }
    for end, begun in ends.items():
        prepare_work_folder(work, plan, resume=False)
        trained(work / "rgb.checkpoint", 3)
        capsys.readouterr()
        prepare_work_folder(work, begun, resume=False)
        assert capsys.readouterr().err == f"{discarded}{end}\n"
        assert not (work / "rgb.checkpoint").exists()
        prepare_work_folder(work, plan, resume=False)
    trained(work / "rgb.checkpoint", 3)
    (work / "plan.json").write_bytes(b"{")
    prepare_work_folder(work, plan, resume=False)
    assert "is discarded; its plan cannot be read, so --resume could not have gone on" in capsys.readouterr().err


def test_a_training_that_an_earlier_release_left_is_gone_on_with_and_one_of_other_settings_is_not(tmp_path: Path) -> None:
    work, plan = tmp_path / "work", TrainingPlan(preset("edge"), "m", ("a.png",), "digest")
    prepare_work_folder(work, plan, resume=False)
    written = msgspec.json.decode((work / "plan.json").read_bytes())
    del written["digest"], written["recipe"]["threshold"]["margin"], written["recipe"]["rgb"]["turned_last"]  # came later
    (work / "plan.json").write_bytes(msgspec.json.encode(written))
    prepare_work_folder(work, plan, resume=True)
    others = {
        "seed was 0, is 1": replace(plan, recipe=preset("edge", seed=1)),
        "rgb.steps was 1500, is 3": replace(plan, recipe=with_assignments(preset("edge"), ("rgb.steps=3",))),
        "unit was m, is mm": replace(plan, unit="mm"),
        "the scans are different": replace(plan, scans=("b.png",)),
    }
    for what, other in others.items():
        with pytest.raises(BadInput, match=rf"had other settings or scans \({what}\); expected the same"):
            prepare_work_folder(work, other, resume=True)
    for left, what in ((b"{", "it cannot be read"), (msgspec.json.encode(replace(plan, digest="of others")), "the scans are different")):
        (work / "plan.json").write_bytes(left)
        with pytest.raises(BadInput, match=rf"had other settings or scans \({what}\)"):
            prepare_work_folder(work, plan, resume=True)
