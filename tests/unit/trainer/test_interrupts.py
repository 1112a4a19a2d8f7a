"""Ctrl-C while something must end first: it is heard, but not before."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mdss.errors import MdssError
from mdss.retraining import RetrainRecord, read_record, write_record
from trainer import retrain_outcome
from trainer.checkpoint import Checkpoint
from trainer.interrupts import SIGNALS, HeldInterrupt
from trainer.retrain_outcome import Diary
from trainer.training import Schedule, Training

STEPS = 4


def press(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def held(*acts: Callable[[], object]) -> None:
    with HeldInterrupt():
        for act in acts:
            act()


def fail() -> None:
    raise MdssError("no disk")


@pytest.mark.parametrize("number", SIGNALS)
def test_the_block_ends_before_it_is_interrupted_and_the_handlers_are_as_before(number: signal.Signals) -> None:
    before, done = [signal.getsignal(each) for each in SIGNALS], []
    with pytest.raises(KeyboardInterrupt):
        held(lambda: press(number), lambda: done.append("all"))
    assert done == ["all"] and [signal.getsignal(each) for each in SIGNALS] == before


def test_a_second_one_interrupts_at_once() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        held(press, lambda: done.append("first"), press, lambda: done.append("second"))
    assert done == ["first"]


def test_an_error_of_the_block_is_told_rather_than_the_interrupt() -> None:
    with pytest.raises(MdssError, match="no disk"):
        held(press, fail)


@pytest.mark.parametrize("pressed_at", range(STEPS))
def test_ctrl_c_in_any_step_leaves_a_checkpoint_and_interrupts_also_in_the_last(tmp_path: Path, pressed_at: int) -> None:
    network = torch.nn.Linear(2, 1)

    def loss_of(step: int) -> torch.Tensor:
        loss: torch.Tensor = network(torch.ones(1, 2)).square().sum()
        if step == pressed_at:  # once the step has looked whether it is asked to stop
            loss.register_hook(lambda _: press())  # type: ignore[no-untyped-call]
        return loss

    training = Training(network, Schedule("line", STEPS, 0.1, 1), tmp_path / "line.checkpoint")
    with pytest.raises(KeyboardInterrupt):
        training.run(loss_of)
    assert len(Checkpoint.read(tmp_path / "line.checkpoint").losses) == min(pressed_at + 2, STEPS) == training.step


def pressing(write: Callable[[Path, RetrainRecord], None]) -> Callable[[Path, RetrainRecord], None]:
    def pressed(folder: Path, record: RetrainRecord) -> None:
        if record.outcome != "running":
            press()
        write(folder, record)

    return pressed


def attempt(folder: Path) -> None:
    with Diary(folder, "cap"):
        press()
        pytest.fail("was not interrupted")


def test_ctrl_c_while_the_end_is_written_down_does_not_leave_a_retraining_that_seems_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrain_outcome, "write_record", pressing(write_record))
    with pytest.raises(KeyboardInterrupt):
        attempt(tmp_path)
    found = read_record(tmp_path, "cap")
    assert found is not None and found.outcome == "interrupted"
