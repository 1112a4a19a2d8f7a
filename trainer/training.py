"""The training loop of both branches and of teachers: schedule, checkpoints, a clean stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mdss.errors import BadInput, MdssError
from mdss.interrupts import HeldInterrupt
from mdss.method.recipe import ColourSettings, Optimiser, ShapeSettings
from trainer import distributed
from trainer.checkpoint import Checkpoint, as_stored
from trainer.muon import Muon
from trainer.progress import Meter

N = TypeVar("N", bound=nn.Module)
SAVE_EVERY_S = 20.0
RECENT = 100  # number of last losses that are averaged for a summary
GRADIENT_LIMIT = 1.0
RESTING_RATE = 0.25  # of the learning rate, while weights are averaged: weights that stand still have no mean worth taking
AVERAGE = "average"  # key beside an optimiser's moments, so that the mean is in the checkpoint


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn. `settings` must be the same when a run is resumed."""

    title: str
    steps: int
    learning_rate: float
    warmup_steps: int
    decay: str = "cosine"
    weight_decay: float = 0.0
    optimiser: Optimiser = "adam"
    averaged: float = 0.0  # share of the steps, the last ones, whose weights are averaged
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, title: str, branch: ColourSettings | ShapeSettings) -> Schedule:
        """Return the schedule of a recipe's branch."""
        return cls(
            title,
            steps=branch.steps,
            learning_rate=branch.learning_rate,
            warmup_steps=branch.warmup_steps,
            decay=branch.schedule,
            weight_decay=branch.weight_decay,
            optimiser=branch.optimiser,
            averaged=branch.averaged,
            settings={"optimiser": branch.optimiser},
        )

    @property
    def falling(self) -> int:
        """Return the number of steps until the learning rate rests and averaging begins."""
        return self.steps - round(self.averaged * self.steps)

    def rate(self, step: int) -> float:
        """Return a step's learning rate: linear up during the warm-up, then constant, or half a cosine down to 0 or to its resting rate."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.decay == "constant":
            return self.learning_rate
        progress = min(1.0, (step - self.warmup_steps) / max(1, self.falling - self.warmup_steps))
        rest = RESTING_RATE if self.averaged else 0.0
        return self.learning_rate * (rest + (1 - rest) * 0.5 * (1 + math.cos(math.pi * progress)))


class Training:
    """A network that is trained by a schedule. It starts where the checkpoint ends, if there is one, unless it is to begin anew.

    Each step draws its random numbers from its own seed, so that a resumed run sees the same batches as an unbroken one. If the schedule
    says so, the network ends with the mean of its weights over the last steps (stochastic weight averaging: Izmailov et al. 2018).
    """

    def __init__(self, network: nn.Module, schedule: Schedule, checkpoint: Path, *, anew: bool = False) -> None:
        self._network, self._schedule, self._checkpoint = network, schedule, checkpoint
        self._optimiser = optimiser_of([value for value in network.parameters() if value.requires_grad], schedule)
        self.losses: list[float] = []
        self.seconds = 0.0
        if distributed.is_shared():
            distributed.broadcast_file(checkpoint)
        if checkpoint.exists() and not anew:
            self._resume()

    @property
    def step(self) -> int:
        """Return the number of finished steps."""
        return len(self.losses)

    @property
    def minutes(self) -> float:
        """Return the time spent on steps, over all runs."""
        return round(self.seconds / 60, 1)

    @property
    def error(self) -> float | None:
        """Return the mean loss of the last steps."""
        return recent_mean(self.losses)

    def run(self, loss_of: Callable[[int], Tensor], *, has_gradients: bool = False) -> None:
        """Learn from the loss of each step to the end of the schedule; a signal to stop leaves a checkpoint and raises KeyboardInterrupt.

        `has_gradients` says that `loss_of` has put the gradients into the parameters already.
        """
        schedule, saved_s = self._schedule, time.monotonic()
        with Meter(schedule.title, schedule.steps, self.step) as meter, HeldInterrupt() as interrupt:
            while self.step < schedule.steps:
                started_s = time.monotonic()
                loss = loss_of(self.step)
                if not has_gradients:
                    self._optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                is_asked = self._learn(float(loss.detach()), is_asked=interrupt.is_asked)
                self.seconds += time.monotonic() - started_s
                meter.step(f"loss {self.losses[-1]:.3f}")
                if is_asked or time.monotonic() - saved_s > SAVE_EVERY_S or self.step == schedule.steps:
                    self._save()
                    saved_s = time.monotonic()
                if is_asked:
                    raise KeyboardInterrupt
        self._take_average()

    def _learn(self, loss: float, *, is_asked: bool) -> bool:
        """Take one optimiser step, together with all other processes; return whether any of them was asked to stop."""
        try:
            value, is_asked = distributed.average_gradients(self._network, loss, is_asked=is_asked)
        except distributed.PeerLost:
            self._save()
            raise
        if not math.isfinite(value):
            raise MdssError(f"{self._schedule.title}, step {self.step}: found a loss of {value}, expected a finite one")
        for group in self._optimiser.param_groups:
            group["lr"] = self._schedule.rate(self.step)
        nn.utils.clip_grad_norm_(self._network.parameters(), GRADIENT_LIMIT)
        self._optimiser.step()
        self._average()
        self.losses.append(value)
        return is_asked

    @torch.no_grad()
    def _average(self) -> None:
        """Update the running mean of each weight after a step, once the learning rate rests."""
        number = self.step - self._schedule.falling
        if number >= 0:
            for weight, state in self._optimiser.state.items():
                state.setdefault(AVERAGE, weight.clone()).lerp_(weight, 1 / (number + 1))

    @torch.no_grad()
    def _take_average(self) -> None:
        """Copy the means into the network, where there are any; the checkpoint keeps the weights themselves."""
        for weight, state in self._optimiser.state.items():
            weight.copy_(state.get(AVERAGE, weight))

    def _resume(self) -> None:
        state = Checkpoint.read(self._checkpoint)
        _refuse_other_settings(self._checkpoint, state.settings, as_stored(self._schedule.settings))
        try:
            self._network.load_state_dict(state.network)
            self._optimiser.load_state_dict(
                {"state": self._laid_out(state.moments), "param_groups": self._optimiser.state_dict()["param_groups"]}
            )
        except (RuntimeError, LookupError) as error:
            raise BadInput(
                f"{self._checkpoint}: found another network's checkpoint ({_first_line(error)}), expected this training's"
            ) from error
        self.losses, self.seconds = state.losses, state.seconds

    def _laid_out(self, moments: dict[int, dict[str, Tensor]]) -> dict[int, dict[str, Tensor]]:
        """Return the optimiser's moments in the memory layout of their parameters (channels last), which a file does not keep."""
        learning = [value for group in self._optimiser.param_groups for value in group["params"]]
        return {
            number: {name: _like(learning[number], value) if value.ndim else value for name, value in values.items()}
            for number, values in moments.items()
        }

    def _save(self) -> None:
        if not distributed.is_first():
            return
        moments = self._optimiser.state_dict()["state"]
        Checkpoint(self._network.state_dict(), moments, self.losses, self.seconds, self._schedule.settings).write(self._checkpoint)


def recent_mean(losses: Sequence[float]) -> float | None:
    """Return the mean of the last losses; None before the first."""
    last = losses[-RECENT:]
    return round(sum(last) / len(last), 4) if last else None


def optimiser_of(learning: Sequence[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    """Return the schedule's optimiser for these parameters."""
    if schedule.optimiser == "muon":
        return Muon(learning, schedule.learning_rate, schedule.weight_decay)
    return torch.optim.Adam(learning, schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    if parameter.shape != value.shape:
        raise LookupError(f"a moment of shape {tuple(value.shape)} for a parameter of shape {tuple(parameter.shape)}")
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def channels_last(network: N) -> N:
    """Return the network in channels-last order, which the CPU's bfloat16 convolutions want."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stub lacks it


def _refuse_other_settings(path: Path, stored: dict[str, Any], asked: dict[str, Any]) -> None:
    for name, value in asked.items():
        if stored.get(name, value) != value:
            raise BadInput(f"{path}: found a checkpoint with {name} {stored[name]}, expected {value}; resume with the same settings")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":.")
