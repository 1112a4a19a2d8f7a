"""Process `sdf`: the shape branch; one or more processes share its queue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import torch

from mdss.method.golden import Scored, reproduce
from mdss.method.grid import Grid
from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared
from mdss.method.signed_distance import ShapeBranch
from mdss.method.torch_device import Precision, device_of
from mdss.verb_options import config_option
from mdss.wire.messages import BranchScore, ColourTask, Fault, ShapeTask
from workers.held_models import ModelUse
from workers.score import Map, ScoreMap, Scorer, golden_task
from workers.start import ProcessContext, Role, Wiring, index_option, main, work


def model_use(process: ProcessContext) -> ModelUse[ScoreMap]:
    """Return how this process uses a model: it loads the shape branch and scores a flat plate, so that the first part need not wait."""
    settings = process.settings.branches.sdf
    torch.set_num_threads(settings.threads)
    device = device_of(settings.device)
    return ModelUse(lambda folder: load(folder, device, settings.precision), prove)


def worker(process: ProcessContext, models: Mapping[str, ScoreMap]) -> Scorer:
    """Return the worker that scores the tasks."""
    return Scorer("sdf", models, process.tally)


def load(folder: ModelFolder, device: str, precision: Precision) -> ScoreMap:
    """Return a model's shape branch, warmed up."""
    branch = ShapeBranch.load(folder.path, folder.recipe, device, precision)
    size = folder.recipe.point_cloud.size_px

    def score_map(task: ColourTask | ShapeTask) -> Map:
        if not isinstance(task, ShapeTask):
            raise TypeError(f"{type(task).__name__} came to sdf: expected a ShapeTask")
        return branch.score_map(task.xyz, Grid(task.height, task.width, size))

    branch.score_map(plate(size))
    return score_map


def prove(folder: ModelFolder, score_map: ScoreMap) -> None:
    """Score the model's golden scans; ModelRefused if the scores differ from those the model was made with."""

    def scores(part: Prepared) -> dict[Scored, float]:
        return {"sdf": float(score_map(ShapeTask(**golden_task(folder, part), xyz=part.xyz)).max())}

    reproduce(folder, scores)


def plate(size_px: int) -> Map:
    """Return a flat square cloud (S, S, 3) without surroundings, one point per mm."""
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
    work(Wiring(f"sdf-{index}", "sdf", {BranchScore: "fusion", Fault: "fusion"}), config, Role(model_use, worker))


if __name__ == "__main__":
    main(command)
