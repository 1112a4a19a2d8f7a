"""From prepared parts to a stored model: trains both branches, calibrates, and writes the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
import msgspec

from mdss.method import model_store, signed_distance, student_teacher
from mdss.method.calibration import Calibration
from mdss.method.fusion import fuse
from mdss.method.golden import GoldenScan, Scored, choose_golden, read_golden, write_golden
from mdss.method.model_store import ModelCard, ModelFolder
from mdss.method.point_cloud import Prepared
from mdss.method.signed_distance import ShapeBranch
from mdss.method.student_teacher import ColourBranch
from mdss.method.torch_device import device_of
from mdss.method.weights import write_weights
from trainer.branch_inputs import BRANCHES
from trainer.branch_training import networks_of, training_of
from trainer.calibrate import calibration_of, maps_of
from trainer.champion import Champion
from trainer.dataset import LoadedScan
from trainer.generalisation import gap_sentences, generalisation_gap
from trainer.model_card import StepTimes, card_metrics, completed_card
from trainer.side_by_side import train_both
from trainer.training_report import write_training_report

REPORT = "report"


@dataclass(frozen=True)
class Parts:
    """The good parts that a model is made from; `recorded` returns the scan of a validation part by its number."""

    training: Sequence[Prepared]
    validation: Sequence[Prepared]
    recorded: Callable[[int], LoadedScan]
    names: Sequence[str] = ()
    found: Sequence[str] = ()  # sentences on what was taken for the part


def make_model(store: Path, card: ModelCard, parts: Parts, work: Path, device_name: str) -> ModelFolder:
    """Train on the training parts, calibrate on the others, and store the new version, not promoted; `work` keeps the checkpoints."""
    device, recipe = device_of(device_name), card.recipe
    train_both(parts.training, recipe, device, work)
    networks, network = networks_of(recipe, work)
    colour, shape = (training_of(branch, work) for branch in BRANCHES)
    times = StepTimes({"rgb": colour.seconds, "sdf": shape.seconds})
    with times.of("calibration"):
        branches = ColourBranch(networks, recipe.rgb, device), ShapeBranch(network, recipe.sdf, device)
        gap = generalisation_gap(branches[0], parts.training, parts.validation)
        maps = maps_of(parts.validation, branches[0].map_of, branches[1].map_of)
        calibration = calibration_of(maps, recipe, parts.validation, parts.names)
        precise = ColourBranch(networks, recipe.rgb, "cpu", "float32"), ShapeBranch(network, recipe.sdf, "cpu", "float32")
        golden = golden_of(parts, precise, calibration)
    found = gap_sentences(gap, recipe.rgb)
    for sentence in found:
        click.echo(f"{card.name}: {sentence}", err=True)
    training = {"rgb": colour.figures | {"generalisation_gap": gap}, "sdf": shape.figures, "device": device}
    finished = completed_card(card, {"rgb": networks, "sdf": network}, training, calibration, times)

    def write_files(folder: Path) -> None:
        write_weights(networks, folder / student_teacher.WEIGHTS)
        write_weights(network, folder / signed_distance.WEIGHTS)
        write_training_report(folder / REPORT, (colour.losses, shape.losses), calibration, (parts.validation, maps), [*parts.found, *found])
        write_golden(folder, golden)

    return model_store.save(store, finished, calibration, write_files)


def golden_of(parts: Parts, branches: tuple[ColourBranch, ShapeBranch], calibration: Calibration) -> list[GoldenScan]:
    """Return the validation parts that become golden, as recorded, with the scores of these branches."""
    found = []
    for number in choose_golden(calibration.validation_scores):
        part, recorded = parts.validation[number], parts.recorded(number)
        rgb, sdf = branches[0].map_of(part), branches[1].map_of(part)
        scores: dict[Scored, float] = {"rgb": float(rgb.max()), "sdf": float(sdf.max()), "fused": fuse(rgb, sdf, calibration).score}
        found.append(GoldenScan(recorded.scan.name, recorded.rgb, recorded.xyz_mm, scores))
    return found


def store_recalibrated(model: ModelFolder, card: ModelCard, calibration: Calibration, store: Path) -> ModelFolder:
    """Store a copy of a model with another card and calibration as a new version, with its report and golden scans."""
    golden = read_golden(model.path)
    if golden and scoring_of(calibration) != scoring_of(model.calibration):
        golden = rescored_golden(golden, model, calibration)

    def write_files(folder: Path) -> None:
        for name in (student_teacher.WEIGHTS, signed_distance.WEIGHTS):
            shutil.copy2(model.path / name, folder / name)
        if (model.path / REPORT).is_dir():
            shutil.copytree(model.path / REPORT, folder / REPORT)
        write_golden(folder, golden)

    derived = msgspec.structs.replace(card, derived_from=model.version, imported_from="", metrics=card_metrics(calibration))
    return model_store.save(store, derived, calibration, write_files)


def scoring_of(calibration: Calibration) -> tuple[object, ...]:
    """Return what a part's score depends on besides its maps."""
    return calibration.fusion, calibration.rgb, calibration.sdf, calibration.score_floor, calibration.colour_limit


def rescored_golden(golden: Sequence[GoldenScan], model: ModelFolder, calibration: Calibration) -> tuple[GoldenScan, ...]:
    """Return golden scans with fused scores by another calibration; the branches' scores stay."""
    champion = replace(Champion.of(model, "cpu", "float32"), fuse=partial(fuse, calibration=calibration))
    parts = [champion.prepare(scan.rgb, scan.xyz_mm) for scan in golden]
    fused = [champion.golden_scores(part)["fused"] for part in parts]
    return tuple(replace(scan, scores={**scan.scores, "fused": score}) for scan, score in zip(golden, fused, strict=True))
