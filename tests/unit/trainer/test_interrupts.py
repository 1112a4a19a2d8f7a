"""Ctrl-C while something must end first: it is heard, but not before."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from mdss.errors import MdssError
from mdss.interrupts import SIGNALS, HeldInterrupt, signals_as_interrupt, signals_handled_by
from mdss.retraining import RetrainRecord, read_record, write_record
from tests.retraining import Plant, order_of, record_of, write_config
from trainer import retrain_outcome, retrain_run
from trainer.checkpoint import Checkpoint
from trainer.retrain_outcome import AttemptRecord, RetrainEnded
from trainer.retrain_run import Run, retrain
from trainer.training import Schedule, Training

STEPS = 4


@pytest.fixture(autouse=True)
def _terminal() -> Iterator[None]:
    """Hear SIGHUP, also where the tests are run by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


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


def test_what_is_run_by_nohup_does_not_hear_that_its_terminal_is_closed() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    done: list[str] = []
    with signals_as_interrupt():
        held(lambda: press(signal.SIGHUP), lambda: done.append("all"))
        press(signal.SIGHUP)
    assert done == ["all"] and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_second_one_interrupts_at_once() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        held(press, lambda: done.append("first"), press, lambda: done.append("second"))
    assert done == ["first"]


def test_a_closed_terminal_is_heard_once_though_shell_and_kernel_both_tell_of_it() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        held(lambda: press(signal.SIGHUP), lambda: done.append("first"), lambda: press(signal.SIGHUP), lambda: done.append("second"))
    assert done == ["first", "second"]


def test_an_error_of_the_block_is_told_rather_than_the_interrupt() -> None:
    with pytest.raises(MdssError, match="no disk"):
        held(press, fail)


class Line:
    """A training of four steps; Ctrl-C is pressed during the backward pass of one of them."""

    def __init__(self, folder: Path, pressed_at: int | None = None) -> None:
        self.path, self._network, self._pressed_at = folder / "line.checkpoint", torch.nn.Linear(2, 1), pressed_at
        self.training = Training(self._network, Schedule("line", STEPS, 0.1, 1), self.path)

    def learn(self) -> None:
        self.training.run(self._loss_of)

    def _loss_of(self, step: int) -> torch.Tensor:
        loss: torch.Tensor = self._network(torch.ones(1, 2)).square().sum()
        if step == self._pressed_at:
            loss.register_hook(lambda _: press())  # type: ignore[no-untyped-call]
        return loss


@pytest.mark.parametrize("pressed_at", range(STEPS))
def test_ctrl_c_ends_the_running_step_and_leaves_its_checkpoint(tmp_path: Path, pressed_at: int) -> None:
    line = Line(tmp_path, pressed_at)
    with pytest.raises(KeyboardInterrupt):
        line.learn()
    assert len(Checkpoint.read(line.path).losses) == pressed_at + 1 == line.training.step


def test_ctrl_c_after_the_last_step_has_looked_interrupts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Checkpoint.write

    def pressed(checkpoint: Checkpoint, path: Path) -> None:
        press()
        write(checkpoint, path)

    monkeypatch.setattr(Checkpoint, "write", pressed)
    line = Line(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        line.learn()
    assert len(Checkpoint.read(line.path).losses) == STEPS


def pressing(write: Callable[[Path, RetrainRecord], None]) -> Callable[[Path, RetrainRecord], None]:
    def pressed(folder: Path, record: RetrainRecord) -> None:
        if record.outcome != "running":
            press()
            press()
        write(folder, record)

    return pressed


@pytest.mark.parametrize(
    ("error", "outcome"), [(None, "candidate"), (RetrainEnded("held_back", "worse"), "held_back"), (KeyboardInterrupt(), "interrupted")]
)
def test_ctrl_c_while_the_end_of_a_retraining_is_written_down_changes_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | None, outcome: str
) -> None:
    monkeypatch.setattr(retrain_outcome, "write_record", pressing(write_record))
    before = signal.getsignal(signal.SIGINT)
    with nullcontext() if error is None else pytest.raises(type(error)), AttemptRecord(tmp_path, "cap"):
        if error:
            raise error
    found = read_record(tmp_path, "cap")
    assert found is not None and found.outcome == outcome
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_retraining_that_is_stopped_before_it_trains_is_written_down_as_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    own = Plant(write_config(tmp_path, tmp_path / "models"), tmp_path)
    monkeypatch.setattr(retrain_run, "check_order", lambda order: None)
    monkeypatch.setattr(Run, "candidate", lambda run: press(number))
    with signals_handled_by(lambda *_: fail()), pytest.raises(KeyboardInterrupt):
        retrain(order_of(own))
    assert record_of(own).outcome == "interrupted"


def test_a_loss_that_comes_with_its_gradients_is_learned_from_as_any_other(tmp_path: Path) -> None:
    learned = []
    for has_gradients in (False, True):
        torch.manual_seed(0)
        network = torch.nn.Linear(2, 1)

        def loss_of(step: int, network: torch.nn.Module = network, brings: bool = has_gradients) -> torch.Tensor:
            loss: torch.Tensor = (network(torch.ones(1, 2)) - step).square().sum()
            if not brings:
                return loss
            network.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        training = Training(network, Schedule("line", STEPS, 0.1, 1), tmp_path / f"{has_gradients}.checkpoint")
        training.run(loss_of, has_gradients=has_gradients)
        learned.append((training.losses, network.weight.tolist()))
    assert learned[0] == learned[1]
