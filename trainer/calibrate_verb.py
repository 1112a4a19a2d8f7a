"""Verb `mdss calibrate`: sets a champion's threshold anew from good parts, without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from mdss.method import model_store
from trainer.dataset import Dataset, Unit
from trainer.train import prepare_all, summary

EXAMPLE = "Example: mdss calibrate --data data/cable_gland --recipe cable_gland --store models --false-reject-rate 0.02"


@click.command("calibrate", epilog=EXAMPLE)
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Dataset with validation/good/{rgb,xyz}.")
@click.option("--recipe", required=True, help="Whose champion to calibrate.")
@click.option("--store", required=True, type=click.Path(path_type=Path), help="The model store.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option("--false-reject-rate", "rate", type=click.FloatRange(0, 0.5, min_open=True, max_open=True), help="Asked share of good parts.")
@click.option("--method", type=click.Choice(["conformal", "lognormal"]), help="How the limit is found; the recipe's own when left out.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
def command(**options: Any) -> None:
    """Score good parts that no training saw, and store the champion with the threshold that follows as a new version.

    The new version becomes the champion; `mdss model rollback` takes it back.
    """
    click.echo(summary(calibrate(Request(**options))))


@dataclass(frozen=True)
class Request:
    """Which champion to calibrate on what; None keeps the recipe's own."""

    data: Path
    recipe: str
    store: Path
    unit: Unit = "m"
    rate: float | None = None
    method: str | None = None
    device: str = "auto"


def calibrate(request: Request) -> model_store.ModelFolder:
    """Return the recalibrated champion."""
    from trainer.calibrate import calibration_of, maps_of  # here, for `--help` must not wait for torch
    from trainer.champion import Champion
    from trainer.model_maker import recalibrated

    champion = Champion.load(request.store, request.recipe, request.device)
    model = champion.folder
    changes = {"false_reject_rate": request.rate, "method": request.method}
    threshold = msgspec.structs.replace(model.recipe.threshold, **{name: value for name, value in changes.items() if value is not None})
    settings = msgspec.structs.replace(model.recipe, threshold=threshold)
    dataset = Dataset.open(request.data, request.unit, needs=("validation",))
    parts = prepare_all(dataset, dataset.validation, settings)
    calibration = calibration_of(maps_of(parts, champion.colour_map, champion.shape_map), settings, parts)
    finished = recalibrated(model, msgspec.structs.replace(model.card, recipe=settings), calibration, request.store)
    return model_store.promote(request.store, request.recipe, finished.version)
