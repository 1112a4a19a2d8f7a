"""Process `sdf`: the shape branch; one or more processes share its queue."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from mdss.method.grid import Grid
from mdss.method.model_store import ModelFolder
from mdss.method.signed_distance import ShapeBranch
from mdss.method.torch_device import Precision
from mdss.verb_options import config_option
from mdss.wire.messages import ShapeTask
from workers.score import BranchWork, Map
from workers.start import index_option, main


def load(folder: ModelFolder, device: str, precision: Precision) -> ShapeBranch:
    """Return a model's shape branch, warmed up with a flat plate."""
    branch = ShapeBranch.load(folder.path, folder.recipe, device, precision)
    branch.score_map(plate(folder.recipe.point_cloud.size_px))
    return branch


def score(branch: ShapeBranch, task: ShapeTask) -> Map:
    """Return the shape map (S, S) of a task."""
    return branch.score_map(task.xyz, Grid(task.height, task.width, len(task.xyz)))


def plate(size_px: int) -> Map:
    """Return a flat square cloud (S, S, 3) without surroundings, one point per mm."""
    rows, columns = np.indices((size_px, size_px), dtype=np.float32)
    cloud = np.stack([columns, rows, np.full_like(rows, 500.0)], axis=-1)
    quarter = size_px // 4
    inside = np.zeros((size_px, size_px, 1), np.bool_)
    inside[quarter:-quarter, quarter:-quarter] = True
    return np.where(inside, cloud, np.float32(np.nan)).astype(np.float32)


SHAPE = BranchWork("sdf", ShapeTask, load, score)


@click.command("sdf")
@config_option
@index_option
def command(config: Path, index: int) -> None:
    """Run one process of the shape branch."""
    SHAPE.run(config, index)


if __name__ == "__main__":
    main(command)
