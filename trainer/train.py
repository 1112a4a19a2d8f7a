"""Verb `mdss train`: from a folder of good parts to a champion in the model store."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import msgspec

from mdss.errors import BadInput, BadPart
from mdss.interrupts import signals_ignored
from mdss.method import model_store
from mdss.method.calibration import MIN_PARTS, now
from mdss.method.model_store import ModelFolder
from mdss.method.point_cloud import Prepared, prepare
from mdss.method.presets import PRESETS, preset, with_assignments
from mdss.method.recipe import GENERATED, Recipe
from mdss.method.store_lock import training_lock
from trainer.branch_inputs import mean_brightness
from trainer.dataset import Dataset, Scan, Unit
from trainer.gathering import SCANS
from trainer.ignored_content import ignored_content_sentences
from trainer.parts_found import advice, other_training_sentences, pointless, sentences_on
from trainer.progress import tracked
from trainer.training_plan import WORK, TrainingPlan, prepare_work_folder, stop_sentence

EXAMPLE = "Example: mdss train --data data/cable_gland --recipe cable_gland --preset edge --out models"
MIN_TRAINING_PARTS = 3
SPLITS = ("train", "validation")


@click.command(epilog=EXAMPLE)
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Dataset with train/good and validation/good, each {rgb,xyz}.")
@click.option("--recipe", required=True, help="The product's name; frames ask for it by this name.")
@click.option(
    "--preset",
    "preset_name",
    type=click.Choice(list(PRESETS)),
    default="edge",
    show_default=True,
    help="Settings to begin with: edge for CPUs, paper for a GPU, demo for a first look.",
)
@click.option("--out", "store", required=True, type=click.Path(path_type=Path, file_okay=False), help="The model store.")
@click.option("--unit", type=click.Choice(["m", "mm"]), default="m", show_default=True, help="What the xyz tiffs hold.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of everything random.")
@click.option(
    "--set", "assignments", multiple=True, metavar="SECTION.FIELD=VALUE", help="Change one setting of the preset; may be repeated."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted training of this recipe, which is discarded otherwise.")
def command(**options: Any) -> None:
    """Train both branches on good parts, set the threshold on good validation parts, and make the result the champion.

    Both branches train side by side, each with half of the threads; with OMP_NUM_THREADS=1 one after the other. The champion before stays
    as `previous`. Ctrl-C ends the running steps and keeps their checkpoints; --resume goes on from there.
    """
    preset_name, assignments, seed = options.pop("preset_name"), options.pop("assignments"), options.pop("seed")
    recipe = with_absolute_paths(with_assignments(preset(preset_name, seed), assignments))
    name, resume = options.pop("recipe"), options.pop("resume")
    try:
        model = train_alone_or_together(TrainingOrder(name=name, recipe=recipe, **options), resume=resume)
    except KeyboardInterrupt:
        click.echo(stop_sentence(options["store"] / name / WORK), err=True)
        raise
    if model is not None:
        click.echo(summary(model))


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """Return the recipe with absolute paths for a teacher file of one's own and for photographs.

    The model keeps the recipe, and a retraining starts in another folder.
    """
    from mdss.method.teacher import path_of  # imported here, so that `--help` does not wait for torch

    rgb = recipe.rgb
    teacher, photographs = Path(rgb.teacher), rgb.penalty_photographs and Path(rgb.penalty_photographs)
    if path_of(rgb.teacher) == teacher and teacher.is_file():
        rgb = msgspec.structs.replace(rgb, teacher=str(teacher.absolute()))
    if photographs and rgb.penalty_photographs != GENERATED and photographs.is_dir():
        rgb = msgspec.structs.replace(rgb, penalty_photographs=str(photographs.absolute()))
    return msgspec.structs.replace(recipe, rgb=rgb)


@dataclass(frozen=True)
class TrainingOrder:
    """What to train, and on which data."""

    data: Path
    store: Path
    name: str
    recipe: Recipe
    unit: Unit = "m"
    device: str = "auto"


def train_alone_or_together(order: TrainingOrder, *, resume: bool) -> ModelFolder | None:
    """Train alone, or together with the other processes that torchrun started; the first returns the champion, the others None."""
    from trainer.distributed import is_first, process_group

    with process_group(order.device) as device:
        own = replace(order, device=device)
        if is_first():
            return train(own, resume=resume)
        train_along(own)
    return None


def train_along(order: TrainingOrder) -> None:
    """Train along with the first process, which keeps the result."""
    from trainer.distributed import check_same
    from trainer.side_by_side import train_both

    dataset = open_training_data(order)
    check_same(order.recipe, (order.unit, dataset.digest))
    training = prepare_all(dataset, dataset.train, order.recipe)
    prepare_all(dataset, dataset.validation, order.recipe)  # the first process reads them, too: both reach step 1 together
    with TemporaryDirectory(prefix="mdss-train-") as work:
        train_both(training, order.recipe, order.device, Path(work))


def train(order: TrainingOrder, resume: bool = False) -> ModelFolder:
    """Train, calibrate, store and promote a model. BadInput names the file or setting that is wrong."""
    from trainer.distributed import check_same

    dataset = open_training_data(order)
    check_same(order.recipe, (order.unit, dataset.digest))
    for sentence in dataset.unread_folder_sentences():
        click.echo(f"{order.name}: {sentence}", err=True)
    folder = model_store.recipe_folder(order.store, order.name)
    folder.mkdir(parents=True, exist_ok=True)
    model_store.refuse_champion_folder(folder)
    work = folder / WORK
    plan = TrainingPlan(order.recipe, order.unit, dataset.relative_names((*dataset.train, *dataset.validation)), dataset.digest)
    with training_lock(folder, "mdss train"):
        prepare_work_folder(work, plan, resume=resume)
        model = train_and_store(order, [dataset], work, {"folder": str(order.data.resolve()), "unit": order.unit, "digest": dataset.digest})
        model_store.promote(order.store, order.name, model.version, model_store.Change("train"))
        with signals_ignored():  # what was learned is in the champion, and there is nothing left to go on with
            shutil.rmtree(work)
    return model


def open_training_data(order: TrainingOrder) -> Dataset:
    """Return the dataset to train on. BadInput for too few scans, or for a device, teacher or photographs that cannot be used."""
    check_usable(order.recipe, order.device)
    dataset = Dataset.open(order.data, order.unit)
    for split, scans, fewest in (("train", dataset.train, MIN_TRAINING_PARTS), ("validation", dataset.validation, MIN_PARTS)):
        if len(scans) < fewest:
            raise BadInput(f"{order.data / split}: found {len(scans)} scans, expected at least {fewest}")
    return dataset


def check_usable(recipe: Recipe, device: str) -> None:
    """Refuse a device, teacher or photographs that cannot be used, before scans are read and an unfinished training is discarded."""
    # Imported here, so that `--help` and the refusal of bad settings do not wait for torch.
    from mdss.method.teacher import load_teacher
    from mdss.method.torch_device import device_of
    from trainer.photographs import photographs_in

    device_of(device)
    load_teacher(recipe.rgb.teacher)
    photographs = recipe.rgb.penalty_photographs
    if photographs and photographs != GENERATED:
        photographs_in(Path(photographs))


def train_and_store(order: TrainingOrder, datasets: Sequence[Dataset], work: Path, data: dict[str, Any]) -> ModelFolder:
    """Train and calibrate on the scans of one or more datasets, and store the new version; continues from the checkpoints in `work`."""
    # Imported here, so that `--help` does not wait for torch.
    from trainer.model_card import StepTimes
    from trainer.model_maker import Parts, make_model

    times = StepTimes()
    with times.of("reading"):
        training, validation = (
            [part for dataset in datasets for part in prepare_all(dataset, getattr(dataset, split), order.recipe)] for split in SPLITS
        )
    sources = [(dataset, scan) for split in SPLITS for dataset in datasets for scan in getattr(dataset, split)]
    paths, names = [scan.xyz_path for _, scan in sources], [scan.name for _, scan in sources]
    differing = other_training_sentences(training, validation, paths[len(training) :])
    found = [*sentences_on([*training, *validation], paths), *differing, *ignored_content_sentences(sources, order.recipe.point_cloud)]
    for sentence in found:
        click.echo(f"{order.name}: {sentence}", err=True)
    card = model_store.ModelCard(
        name=order.name,
        recipe=order.recipe,
        made_at=now(),
        code_version=version("mdss"),
        data={
            **data,
            "training_scans": len(training),
            "validation_scans": len(validation),
            "object_brightness": mean_brightness(training),
            SCANS: names,
        },
        seconds=times.seconds,
    )
    recorded = sources[len(training) :]
    parts = Parts(training, validation, lambda number: recorded[number][0].load(recorded[number][1]), names[len(training) :], found)
    return make_model(order.store, card, parts, work, order.device)


def prepare_all(dataset: Dataset, scans: list[Scan], recipe: Recipe) -> list[Prepared]:
    """Read and prepare every scan. BadInput names a scan that holds no part."""
    parts: list[Prepared] = []
    for scan in tracked(scans, f"reading {scans[0].split}" if scans else "reading"):
        loaded = dataset.load(scan)
        try:
            parts.append(prepare(loaded.rgb, loaded.xyz_mm, recipe.point_cloud))
        except BadPart as bad:
            raise BadInput(f"{scan.xyz_path}: {bad}{pointless(loaded) or advice(loaded, recipe.point_cloud)}") from bad
    return parts


def summary(model: ModelFolder) -> str:
    """Return the lines that tell a person about a new champion."""
    limit = model.calibration.threshold
    lines = [
        f"{model.name} {model.version} is the champion: {model.path}",
        f"threshold {limit.value:.4g} ({limit.method}, {limit.parts} good parts): {limit.promise}",
        limit.note,
    ]
    return "\n".join(filter(None, lines))
