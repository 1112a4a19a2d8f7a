"""Process `rgb`: the colour branch, one or more processes on one queue."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch

from mdss.method import model_store
from mdss.method.student_teacher import ColourBranch
from mdss.method.torch_device import device_of
from mdss.settings import BranchSettings
from mdss.wire.messages import BranchScore, ColourTask, Fault, ShapeTask
from workers.score import LoadedBranch, Map, Scorer
from workers.start import Opened, Place, config_option, index_option, main, work


def make(opened: Opened) -> Scorer:
    """Load the colour branch of every recipe and score an empty image once, so that the first part waits for nothing."""
    settings = opened.settings
    torch.set_num_threads(settings.branches.rgb.threads)
    models = {name: load(Path(settings.models.store), name, settings.branches.rgb) for name in settings.models.recipes}
    return Scorer("rgb", models, opened.tally)


def load(store: Path, recipe_name: str, settings: BranchSettings) -> LoadedBranch:
    """Return one recipe's colour branch, warmed up."""
    folder = model_store.open_champion(store, recipe_name)
    branch = ColourBranch.load(folder.path, folder.recipe, device_of(settings.device), settings.precision)

    def score_map(task: ColourTask | ShapeTask) -> Map:
        if not isinstance(task, ColourTask):
            raise TypeError(f"{type(task).__name__} came to rgb: expected a ColourTask")
        return branch.score_map(task.rgb, task.mask)

    size = folder.recipe.point_cloud.size_px
    branch.score_map(np.zeros((size, size, 3), np.uint8), np.ones((size, size), np.bool_))
    return LoadedBranch(folder.version, score_map)


@click.command("rgb")
@config_option
@index_option
def command(config: Path, index: int) -> None:
    """Run one process of the colour branch."""
    work(Place(f"rgb-{index}", "rgb", {BranchScore: "fusion", Fault: "fusion"}), config, make)


if __name__ == "__main__":
    main(command)
