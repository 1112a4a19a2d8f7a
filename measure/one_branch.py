"""The process of one branch on one core: it computes a part for each number that it reads from standard input."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import cv2
import msgspec
import numpy as np
import torch

from mdss.method import model_store, point_cloud
from mdss.method.signed_distance import ShapeBranch
from mdss.method.student_teacher import ColourBranch
from mdss.method.torch_device import device_of
from mdss.wire.verdict import Branch

SCANS = "{}.npz"


class RunnerOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which branch of which model, on which core, and the folder of the scans 0.npz, 1.npz and so on."""

    branch: Branch
    model: str
    core: int
    folder: str
    scans: int


def main(order: RunnerOrder) -> None:
    """Print a line when all scans were computed once, and another after each part that is asked for."""
    os.sched_setaffinity(0, {order.core})
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = model_store.open_version(Path(order.model))
    kind = ColourBranch if order.branch == "rgb" else ShapeBranch
    branch = kind.load(model.path, model.recipe, device_of("auto"))
    scans = [np.load(Path(order.folder) / SCANS.format(number)) for number in range(order.scans)]
    parts = [point_cloud.prepare(scan["rgb"], scan["xyz_mm"], model.recipe.point_cloud) for scan in scans]
    for part in parts:  # the first call also chooses kernels
        branch.map_of(part)
    click.echo("ready")
    for line in sys.stdin:
        branch.map_of(parts[int(line)])
        click.echo("done")


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=RunnerOrder))
