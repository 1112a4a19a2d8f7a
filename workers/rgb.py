"""Process `rgb`: the colour branch; one or more processes share its queue."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from mdss.method.grid import Grid
from mdss.method.model_store import ModelFolder
from mdss.method.student_teacher import ColourBranch
from mdss.method.torch_device import Precision
from mdss.verb_options import config_option
from mdss.wire.messages import ColourTask
from workers.score import BranchWork, Map
from workers.start import index_option, main


def load(folder: ModelFolder, device: str, precision: Precision) -> ColourBranch:
    """Return a model's colour branch, warmed up with an empty image."""
    branch = ColourBranch.load(folder.path, folder.recipe, device, precision)
    size = folder.recipe.point_cloud.size_px
    branch.score_map(np.zeros((size, size, 3), np.uint8), np.ones((size, size), np.bool_))
    return branch


def score(branch: ColourBranch, task: ColourTask) -> Map:
    """Return the colour map (S, S) of a task."""
    return branch.score_map(task.rgb, task.mask, Grid(task.height, task.width, len(task.rgb)))


COLOUR = BranchWork("rgb", ColourTask, load, score)


@click.command("rgb")
@config_option
@index_option
def command(config: Path, index: int) -> None:
    """Run one process of the colour branch."""
    COLOUR.run(config, index)


if __name__ == "__main__":
    main(command)
