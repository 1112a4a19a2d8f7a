"""Process `sdf`: the shape branch, one or more processes on one queue."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch

from mdss.method import model_store
from mdss.method.signed_distance import ShapeBranch
from mdss.method.torch_device import device_of
from mdss.settings import BranchSettings
from mdss.wire.messages import BranchScore, ColourTask, Fault, ShapeTask
from workers.score import LoadedBranch, Map, Scorer
from workers.start import Opened, Place, config_option, index_option, main, work


def make(opened: Opened) -> Scorer:
    """Load the shape branch of every recipe and score a flat plate once, so that the first part waits for nothing."""
    settings = opened.settings
    torch.set_num_threads(settings.branches.sdf.threads)
    models = {name: load(Path(settings.models.store), name, settings.branches.sdf) for name in settings.models.recipes}
    return Scorer("sdf", models, opened.tally)


def load(store: Path, recipe_name: str, settings: BranchSettings) -> LoadedBranch:
    """Return one recipe's shape branch, warmed up."""
    folder = model_store.open_champion(store, recipe_name)
    branch = ShapeBranch.load(folder.path, folder.recipe, device_of(settings.device), settings.precision)

    def score_map(task: ColourTask | ShapeTask) -> Map:
        if not isinstance(task, ShapeTask):
            raise TypeError(f"{type(task).__name__} came to sdf: expected a ShapeTask")
        return branch.score_map(task.xyz)

    branch.score_map(plate(folder.recipe.point_cloud.size_px))
    return LoadedBranch(folder.version, score_map)


def plate(size_px: int) -> Map:
    """Return a flat square cloud (S, S, 3) in the middle of nothing, one point per mm."""
    rows, columns = np.indices((size_px, size_px), dtype=np.float32)
    cloud = np.stack([columns, rows, np.full_like(rows, 500.0)], axis=-1)
    quarter = size_px // 4
    inside = np.zeros((size_px, size_px, 1), np.bool_)
    inside[quarter:-quarter, quarter:-quarter] = True
    return np.where(inside, cloud, np.float32(np.nan)).astype(np.float32)


@click.command("sdf")
@config_option
@index_option
def command(config: Path, index: int) -> None:
    """Run one process of the shape branch."""
    work(Place(f"sdf-{index}", "sdf", {BranchScore: "fusion", Fault: "fusion"}), config, make)


if __name__ == "__main__":
    main(command)
