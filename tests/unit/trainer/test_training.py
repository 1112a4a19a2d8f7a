"""The training loop, step by step: how far weights move, what ends it, and what is kept of its losses and its time."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor, nn

from mdss.errors import MdssError
from mdss.method.presets import preset
from mdss.method.recipe import Optimiser
from trainer.training import Schedule, Training, recent_mean

OPTIMISERS: tuple[Optimiser, ...] = ("adam", "muon")


def weights_of(schedule: Schedule, path: Path, loss_of: Callable[[Tensor, int], Tensor]) -> list[float]:
    """Train one weight, which begins at 1, and return it before each step and at the end."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    seen = list[float]()

    def loss_at(step: int) -> Tensor:
        seen.append(network.weight.item())
        return loss_of(network.weight.sum(), step)

    Training(network, schedule, path).run(loss_at)
    return [*seen, network.weight.item()]


def test_each_step_is_as_long_as_its_rate_which_rises_to_that_of_the_recipe_and_no_higher(tmp_path: Path) -> None:
    schedule = Schedule("test", 6, 0.1, 3, decay="constant")
    weights = torch.tensor(
        weights_of(schedule, tmp_path / "checkpoint", lambda weight, _: weight)
    )  # Adam's step along an even slope is the rate
    assert (-weights.diff()).tolist() == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1, 0.1, 0.1], rel=1e-4)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_steep_step_counts_no_more_than_one_of_slope_one(tmp_path: Path, optimiser: Optimiser) -> None:
    schedule = Schedule("test", 5, 0.1, 1, optimiser=optimiser)
    even = weights_of(schedule, tmp_path / "even.checkpoint", lambda weight, step: weight * (-1) ** step)
    steep = weights_of(schedule, tmp_path / "steep.checkpoint", lambda weight, step: weight * (-1) ** step * (1e6 if step == 1 else 1))
    assert steep == pytest.approx(even, rel=1e-4)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_weights_that_nothing_pulls_at_decay_if_the_recipe_says_so(tmp_path: Path, optimiser: Optimiser) -> None:
    branch = msgspec.structs.replace(preset("edge").rgb, steps=3, warmup_steps=1, learning_rate=0.1, optimiser=optimiser)
    for decay in (0.0, 0.5):
        schedule = Schedule.of("colour branch", msgspec.structs.replace(branch, weight_decay=decay))
        last = weights_of(schedule, tmp_path / f"{decay}.checkpoint", lambda weight, _: 0 * weight)[-1]
        assert last < 0.99 if decay else last == 1.0


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_the_training_before_it_spoils_the_checkpoint(tmp_path: Path, loss: float) -> None:
    with pytest.raises(MdssError, match=rf"^test, step 2: found a loss of {loss}, expected a finite one"):
        weights_of(Schedule("test", 4, 0.1, 1), tmp_path / "checkpoint", lambda weight, step: weight * (loss if step == 2 else 1))
    assert not (tmp_path / "checkpoint").exists()


def test_the_time_of_a_training_that_goes_on_counts_from_its_first_run(tmp_path: Path) -> None:
    first = Training(nn.Linear(1, 1), Schedule("test", 4, 0.1, 1), tmp_path / "checkpoint")
    first.seconds = 120.0
    first._save()
    assert Training(nn.Linear(1, 1), Schedule("test", 4, 0.1, 1), tmp_path / "checkpoint").minutes == 2.0


def test_the_error_of_a_training_is_that_of_its_last_steps() -> None:
    assert recent_mean([9.0] * 50 + [1.0] * 99 + [2.0]) == 1.01
    assert recent_mean([3.0, 1.0]) == 2.0 and recent_mean([]) is None
