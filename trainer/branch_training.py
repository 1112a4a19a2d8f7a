"""Trains one branch: from good parts to weights in the folder of an unfinished training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from torch import nn

from mdss.method.distance_network import SignedDistanceNetwork
from mdss.method.recipe import Recipe
from mdss.method.student_teacher import StudentTeacher
from mdss.method.weights import read_weights, write_weights
from mdss.whole_files import write_whole
from trainer.branch_inputs import BRANCHES, Branch, Part
from trainer.checkpoint import steps_in
from trainer.train_rgb import train_colour
from trainer.train_sdf import train_shape
from trainer.training import Training, recent_mean
from trainer.training_plan import CHECKPOINT

TITLES: dict[Branch, str] = {"rgb": "colour branch", "sdf": "shape branch"}
TRAIN: dict[Branch, Callable[[Sequence[Part], Recipe, str, Path], tuple[nn.Module, Training]]] = {"rgb": train_colour, "sdf": train_shape}


class BranchTraining(msgspec.Struct, frozen=True):
    """The losses and the duration of a finished training."""

    losses: list[float]
    seconds: float

    @property
    def figures(self) -> dict[str, float | None]:
        """Return what the model's card keeps of it; `last_loss` is the mean of the last steps."""
        return {"steps": len(self.losses), "seconds": round(self.seconds, 1), "last_loss": recent_mean(self.losses)}


def train_branch(branch: Branch, parts: Sequence[Part], recipe: Recipe, device: str, work: Path) -> None:
    """Train one branch, from its checkpoint in `work` if there is one, and leave its weights there; nothing to do if they are there."""
    if is_trained(branch, work):
        return
    network, training = TRAIN[branch](parts, recipe, device, _checkpoint_path(branch, work))
    write_weights(network, _weights_path(branch, work))
    write_whole(_record_path(branch, work), msgspec.json.encode(BranchTraining(training.losses, training.seconds)))


def is_trained(branch: Branch, work: Path) -> bool:
    """Return whether the branch's training is finished."""
    return _record_path(branch, work).exists()


def networks_of(recipe: Recipe, work: Path) -> tuple[StudentTeacher, SignedDistanceNetwork]:
    """Return the networks of both finished trainings, on the CPU."""
    networks, network = StudentTeacher(recipe.rgb), SignedDistanceNetwork(recipe.sdf)
    read_weights(networks, _weights_path("rgb", work))
    read_weights(network, _weights_path("sdf", work))
    return networks.eval(), network.eval()


def training_of(branch: Branch, work: Path) -> BranchTraining:
    """Return the losses and the duration of a finished training."""
    return msgspec.json.decode(_record_path(branch, work).read_bytes(), type=BranchTraining)


def how_far(work: Path, recipe: Recipe) -> str:
    """Return how many of its steps each branch has kept of a training that is not finished, as words for a sentence."""
    steps = {"rgb": recipe.rgb.steps, "sdf": recipe.sdf.steps}
    return ", ".join(f"{TITLES[each]} {steps_in(_checkpoint_path(each, work))} of {steps[each]} steps" for each in BRANCHES)


def _checkpoint_path(branch: Branch, work: Path) -> Path:
    return work / f"{branch}{CHECKPOINT}"


def _weights_path(branch: Branch, work: Path) -> Path:
    return work / f"{branch}.safetensors"


def _record_path(branch: Branch, work: Path) -> Path:
    return work / f"{branch}.learned.json"
