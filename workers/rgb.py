"""Process `rgb`: the colour branch; one or more processes share its queue."""

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
from mdss.method.student_teacher import ColourBranch
from mdss.method.torch_device import Precision, device_of
from mdss.verb_options import config_option
from mdss.wire.messages import BranchScore, ColourTask, Fault, ShapeTask
from workers.held_models import ModelUse
from workers.score import Map, ScoreMap, Scorer, golden_task
from workers.start import ProcessContext, Role, Wiring, index_option, main, work


def model_use(process: ProcessContext) -> ModelUse[ScoreMap]:
    """Return how this process uses a model: it loads the colour branch and scores an empty image, so that the first part need not wait."""
    settings = process.settings.branches.rgb
    torch.set_num_threads(settings.threads)
    device = device_of(settings.device)
    return ModelUse(lambda folder: load(folder, device, settings.precision), prove)


def worker(process: ProcessContext, models: Mapping[str, ScoreMap]) -> Scorer:
    """Return the worker that scores the tasks."""
    return Scorer("rgb", models, process.tally)


def load(folder: ModelFolder, device: str, precision: Precision) -> ScoreMap:
    """Return a model's colour branch, warmed up."""
    branch = ColourBranch.load(folder.path, folder.recipe, device, precision)
    size = folder.recipe.point_cloud.size_px

    def score_map(task: ColourTask | ShapeTask) -> Map:
        if not isinstance(task, ColourTask):
            raise TypeError(f"{type(task).__name__} came to rgb: expected a ColourTask")
        return branch.score_map(task.rgb, task.mask, Grid(task.height, task.width, size))

    branch.score_map(np.zeros((size, size, 3), np.uint8), np.ones((size, size), np.bool_))
    return score_map


def prove(folder: ModelFolder, score_map: ScoreMap) -> None:
    """Score the model's golden scans; ModelRefused if the scores differ from those the model was made with."""

    def scores(part: Prepared) -> dict[Scored, float]:
        return {"rgb": float(score_map(ColourTask(**golden_task(folder, part), rgb=part.rgb, mask=part.mask)).max())}

    reproduce(folder, scores)


@click.command("rgb")
@config_option
@index_option
def command(config: Path, index: int) -> None:
    """Run one process of the colour branch."""
    work(Wiring(f"rgb-{index}", "rgb", {BranchScore: "fusion", Fault: "fusion"}), config, Role(model_use, worker))


if __name__ == "__main__":
    main(command)
